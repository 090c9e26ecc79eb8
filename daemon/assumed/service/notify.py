"""What systemd is told of the daemon: ready, reloading, stopping, a line of status, a heartbeat.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

_BEATS_IN_A_WATCHDOG_INTERVAL = 3


class Notifier:
    """Tells systemd, where it listens; a message that can't be sent is dropped."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._send = _sender() if environ.get("NOTIFY_SOCKET") else None

    @property
    def is_heard(self) -> bool:
        """Whether systemd listens."""
        return self._send is not None

    def ready(self) -> None:
        """Say that start-up, or a reload, is done."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` has to follow, or the unit stays "reloading"."""
        self._tell("RELOADING=1")

    def stopping(self) -> None:
        """Say that the stop begins."""
        self._tell("STOPPING=1")

    def status(self, text: str) -> None:
        """Say what `systemctl status` shows."""
        self._tell(f"STATUS={text}")

    def watchdog(self) -> None:
        """Say that the daemon lives."""
        self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if self._send is not None:
            self._send(message)


def _sender() -> Callable[[str], None] | None:
    try:
        from cysystemd.daemon import Notification, notify  # noqa: PLC0415 - Linux only
    except ImportError:
        return None

    def send(message: str) -> None:
        name, _, value = message.partition("=")
        notification = Notification[name]
        if notification.value.constant is None:
            notify(notification, value)
        else:
            notify(notification)

    return send


def watchdog_interval(environ: Mapping[str, str], pid: int) -> timedelta | None:
    """Return how often systemd's watchdog is to be fed by this process; None where there is none.

    That is three times in the time after which it would end us; it asks for twice at least.
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    within = timedelta(microseconds=int(microseconds))
    return within / _BEATS_IN_A_WATCHDOG_INTERVAL or None
