"""systemd: units, service commands, notifications, lingering."""
