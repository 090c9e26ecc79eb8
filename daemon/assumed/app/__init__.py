"""Use cases: the daemon, and what each command does without a daemon."""
