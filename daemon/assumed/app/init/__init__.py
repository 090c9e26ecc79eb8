"""Generation of a first configuration from the AWS files."""
