"""Keep AWS profile credentials refreshed."""

__version__ = "0.1.0"
