"""The operating system's side: service manager, hardening, file watching."""
