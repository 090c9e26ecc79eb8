"""`assumed demo`: an AWS on this machine, and the story that it takes part in."""
