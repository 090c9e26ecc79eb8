"""The credentials file on disk: locks, atomic replacement, batch writes."""
