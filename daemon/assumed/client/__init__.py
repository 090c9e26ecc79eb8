"""The client of the API socket."""
