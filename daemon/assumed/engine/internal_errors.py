"""The boundary for errors of this program itself: caught, counted, logged."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from assumed.logs.events import event


class InternalErrors:
    """Keeps an error in one part of the daemon away from all other parts; thread-safe.

    A part that fails at each heartbeat must not fill the log: of the same error in the same part,
    the 1st, 2nd, 4th, 8th… is logged.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_part: Counter[str] = Counter()
        self._by_kind: Counter[tuple[str, str]] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many errors each part has had."""
        with self._lock:
            return dict(self._by_part)

    @contextmanager
    def caught(self, part: str, **fields: object) -> Iterator[None]:
        """Catch any error of the `with` block.

        Args:
            part: of the daemon, such as `observer`; one of a fixed few.
            fields: of the event.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - this is the place for it
            self.record(part, type(error).__name__, error, **fields)

    def record(
        self, part: str, kind: str, error: BaseException | None = None, **fields: object
    ) -> None:
        """Count an error, and log it unless it repeats.

        Args:
            part: as of `caught`.
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
                part=part,
                times=times if times > 1 else None,
                exc_info=error,
                **fields,
            )
