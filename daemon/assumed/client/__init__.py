"""The client for the API socket."""
