"""A first configuration, generated from the AWS files."""
