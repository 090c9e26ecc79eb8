"""Observers of what happens to the profiles: hooks, and metrics for Prometheus."""
