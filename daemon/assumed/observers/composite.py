"""The observers that a configuration enables, as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from assumed.engine.events import ProfileEvent
from assumed.models import Configuration
from assumed.observers.hooks import Hooks
from assumed.observers.metrics import Metrics
from assumed.observers.metrics_textfile import MetricsTextfile


class MetricsListener(Protocol):
    """A server that publishes the metrics on a port."""

    def open(self, port: int | None) -> None:
        """Listen on this port and on no other; on none with None."""
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class CompositeObserver:
    """The metrics and the hooks, and what publishes the metrics.

    Args:
        metrics: counts the events.
        hooks: runs commands on the events.
        listener: publishes the metrics on a port.
        textfile: publishes the metrics in a file.
    """

    def __init__(
        self, metrics: Metrics, hooks: Hooks, listener: MetricsListener, textfile: MetricsTextfile
    ) -> None:
        self._metrics = metrics
        self._hooks = hooks
        self._listener = listener
        self._textfile = textfile

    def configure(self, configuration: Configuration) -> None:
        """Apply `hooks` and `metrics` of a configuration."""
        self._hooks.configure(configuration.hooks)
        self._listener.open(configuration.metrics_port)
        self._textfile.configure(configuration.metrics_textfile)

    @property
    def of_events(self) -> Sequence[Callable[[ProfileEvent], None]]:
        """What has to be called with every event; each returns at once."""
        return self._metrics.on_event, self._hooks.on_event

    def stop(self) -> None:
        """Stop the hooks and close the port."""
        self._hooks.stop()
        self._listener.close()
