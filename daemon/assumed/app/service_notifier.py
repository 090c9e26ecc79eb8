"""The state of the daemon as the service manager shows it, with a line of status."""

from __future__ import annotations

from collections.abc import Callable

from assumed.engine.status import Summary
from assumed.platform.base import Notifier


class ServiceNotifier:
    """Reports the state of the daemon, and the line of status when it has changed.

    Args:
        notifier: the service manager.
        summary: returns the summary of all profiles.
        config_error: returns why the configuration on disk was rejected.
    """

    def __init__(
        self,
        notifier: Notifier,
        *,
        summary: Callable[[], Summary],
        config_error: Callable[[], str | None],
    ) -> None:
        self._notifier = notifier
        self._summary = summary
        self._config_error = config_error
        self._sent: tuple[Summary, str | None] | None = None

    def ready(self) -> None:
        """Report that start-up or a reload is complete, with the line of status."""
        self._notifier.ready()
        self.update_status()

    def reloading(self) -> None:
        """Report that a reload begins; `ready` has to follow."""
        self._notifier.reloading()

    def stopping(self) -> None:
        """Report that the daemon is stopping."""
        self._notifier.stopping()

    def keep_alive(self) -> None:
        """Report that the daemon is not stuck."""
        self._notifier.keep_alive()

    def update_status(self) -> None:
        """Send the line if it has changed or could not be sent before; from any thread."""
        if not self._notifier.is_enabled:
            return
        summary, config_error = self._summary(), self._config_error()
        if (summary, config_error) == self._sent:
            return
        if self._notifier.status(status_text(summary, config_error)):
            self._sent = summary, config_error


def status_text(summary: Summary, config_error: str | None) -> str:
    """Return the line, such as `3 of 4 profiles valid, next refresh 14:05`."""
    text = f"{summary.valid} of {summary.enabled} profiles valid"
    if summary.next_attempt_at is not None:
        text += f", next refresh {summary.next_attempt_at.astimezone():%H:%M}"
    if config_error is not None:
        text += "; the configuration on disk is not used"
    return text
