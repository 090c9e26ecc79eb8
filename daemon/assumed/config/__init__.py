"""Configuration: YAML to profile definitions."""
