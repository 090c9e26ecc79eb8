"""What systemd is told of the daemon: ready, reloading, stopping, a line of status, a heartbeat.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

_BEATS_IN_A_WATCHDOG_INTERVAL = 3
# libsystemd's own waits for as long as nobody reads, and its binding holds up every thread.
_PATIENCE_SECONDS = 0.1


class Notifier:
    """Tells systemd, where it listens; a message that can't be sent in a moment is dropped."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # `@` stands for the NUL that an abstract address begins with.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @property
    def is_heard(self) -> bool:
        """Whether systemd listens."""
        return bool(self._address)

    def ready(self) -> None:
        """Say that start-up, or a reload, is done."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` has to follow, or the unit stays "reloading"."""
        self._tell("RELOADING=1")

    def stopping(self) -> None:
        """Say that the stop begins."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> bool:
        """Say what `systemctl status` shows; return whether it was said."""
        return self._tell(f"STATUS={text}")

    def watchdog(self) -> None:
        """Say that the daemon lives."""
        self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> bool:
        if not self._address:
            return False
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_PATIENCE_SECONDS)
            # To wait for room takes a connected socket: unix(7) knows of no other's queue.
            sender.connect(self._address)
            sender.send(message.encode())
            return True
        return False


def watchdog_interval(environ: Mapping[str, str], pid: int) -> timedelta | None:
    """Return how often systemd's watchdog is to be fed by this process; None where there is none.

    That is three times in the time after which it would end us; it asks for twice at least.
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    within = timedelta(microseconds=int(microseconds))
    return within / _BEATS_IN_A_WATCHDOG_INTERVAL or None
