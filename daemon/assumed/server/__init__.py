"""Servers: API socket, container credentials endpoint, metrics endpoint."""
