"""`assumed demo`: a walkthrough with an embedded AWS."""
