"""Notifications to systemd: readiness, reload, stop, status line, watchdog, sockets to keep.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

_KEEP_ALIVES_PER_WATCHDOG_INTERVAL = 3
# libsystemd waits without a limit if systemd does not read.
_TIMEOUT_SECONDS = 0.1


class SystemdNotifier:
    """An sd_notify client; it drops messages that it cannot send within 100 ms.

    Args:
        environ: has `NOTIFY_SOCKET` if systemd listens.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # systemd writes `@` for the NUL at the start of an abstract address.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @property
    def is_enabled(self) -> bool:
        """Whether systemd listens."""
        return bool(self._address)

    def ready(self) -> None:
        """Report that start-up or a reload is complete."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Report that a reload begins; without a later `ready` the unit stays "reloading"."""
        self._send("RELOADING=1")

    def stopping(self) -> None:
        """Report that the daemon is stopping."""
        self._send("STOPPING=1")

    def status(self, text: str) -> bool:
        """Set the line that `systemctl status` shows; return whether it was sent."""
        return self._send(f"STATUS={text}")

    def keep_alive(self) -> None:
        """Reset the watchdog timer."""
        self._send("WATCHDOG=1")

    def store_descriptor(self, name: str, descriptor: int) -> bool:
        """Have a descriptor kept for the next process of the unit; return whether it was sent."""
        return self._send(f"FDSTORE=1\nFDNAME={name}", [descriptor])

    def remove_descriptor(self, name: str) -> None:
        """Have a descriptor of this name closed that is kept."""
        self._send(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def _send(self, message: str, descriptors: Sequence[int] = ()) -> bool:
        if not self._address:
            return False
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_TIMEOUT_SECONDS)
            # Connected, because a wait for room only works on a connected socket (unix(7)).
            sender.connect(self._address)
            if descriptors:
                socket.send_fds(sender, [message.encode()], descriptors)
            else:
                sender.send(message.encode())
            return True
        return False


def watchdog_interval(environ: Mapping[str, str], pid: int) -> timedelta | None:
    """Return how often this process has to reset systemd's watchdog; None without a watchdog.

    That is three times per `WatchdogSec=`; systemd recommends at least twice.
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    timeout = timedelta(microseconds=int(microseconds))
    return timeout / _KEEP_ALIVES_PER_WATCHDOG_INTERVAL or None
