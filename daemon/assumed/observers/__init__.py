"""Observers of profile events: hooks and metrics."""
