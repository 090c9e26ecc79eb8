"""What the operating system and systemd offer a service: one file each."""
