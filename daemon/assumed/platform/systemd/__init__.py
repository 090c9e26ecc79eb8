"""systemd: unit files, systemctl, notifications, lingering, installation."""
