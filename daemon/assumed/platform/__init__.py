"""What differs between operating systems: service manager, file watching, process hardening."""
