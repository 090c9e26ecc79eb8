"""The line of status that the service manager shows for the daemon."""

from __future__ import annotations

from collections.abc import Callable

from assumed.engine.status import Summary
from assumed.platform.base import Notifier


class StatusNotifier:
    """Sends the line when it has changed, and again if it could not be sent.

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

    def notify(self) -> None:
        """Send the line if it has changed; from any thread."""
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
        text += "; the configuration on disk was rejected"
    return text
