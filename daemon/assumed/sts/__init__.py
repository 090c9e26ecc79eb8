"""STS: the client, TLS rules, responses, errors, clock skew."""
