"""The boundary for errors of this program itself: caught, counted, logged."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum, unique

from assumed.logs.events import event


@unique
class Part(StrEnum):
    """A part of the daemon that errors are kept in; the values are those of the metric."""

    SCHEDULER = "scheduler"
    """A pass over the jobs, and the answers to requests."""
    REFRESH = "refresh"
    """An attempt to refresh one profile, and its result."""
    SCHEDULE = "schedule"
    """A profile had lost its next attempt."""
    HEARTBEAT = "heartbeat"
    """A check of the heartbeat."""
    OBSERVER = "observer"
    """The metrics and the hooks."""
    MAIN_LOOP = "main loop"
    """The API socket, notifications of systemd."""
    FILES = "files"
    """Reloads, looking for changed files, the file of metrics."""


class InternalErrors:
    """Keeps an error in one part of the daemon away from all other parts; thread-safe.

    A part that fails at each heartbeat must not fill the log: of the same error in the same part,
    the 1st, 2nd, 4th, 8th… is logged.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_part: Counter[Part] = Counter()
        self._by_kind: Counter[tuple[Part, str]] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many errors each part has had."""
        with self._lock:
            return {str(part): self._by_part[part] for part in Part}

    @contextmanager
    def caught(self, part: Part, **fields: object) -> Iterator[None]:
        """Catch any error of the `with` block.

        Args:
            part: where the error is kept in.
            fields: of the event.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - this is the place for it
            self.record(part, type(error).__name__, error, **fields)

    def record(
        self, part: Part, kind: str, error: BaseException | None = None, **fields: object
    ) -> None:
        """Count an error, and log it unless it repeats.

        Args:
            part: where the error was.
            kind: the same for the same error.
            error: to be logged with its traceback.
            fields: of the event.
        """
        with self._lock:
            self._by_part[part] += 1
            self._by_kind[part, kind] += 1
            times = self._by_kind[part, kind]
        if times & (times - 1) == 0:
            event(
                logging.ERROR,
                "internal_error",
                part=str(part),
                times=times if times > 1 else None,
                exc_info=error,
                **fields,
            )
