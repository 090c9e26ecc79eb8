"""Use cases: each command's work, composed from the packages below."""
