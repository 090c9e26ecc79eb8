"""How other processes reach the daemon: the local socket, its routes and its client."""
