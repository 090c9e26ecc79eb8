"""Refreshing: scheduler, policy, retries, rate limits, status."""
