"""A progress bar on a terminal while many profiles are refreshed, or a few are retried."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assumed.models import Outcome

if TYPE_CHECKING:
    from assumed.engine.events import ProfileEvent

_MIN_PROFILES = 5


class ProgressCounter:
    """Counts the outcomes of profiles, and those whose failure is retried.

    Args:
        count: the number of profiles; a few are shown only once one of them is retried.
        show: called with how many are done, and a text about the others.
    """

    def __init__(self, count: int, show: Callable[[int, str], None]) -> None:
        self._count = count
        self._show = show
        self._lock = threading.Lock()
        self._done = 0
        self._failed = 0
        self._retried: dict[str, str] = {}
        """The code of the last failure, by profile."""

    def on_outcome(self, outcome: Outcome) -> None:
        """Count the outcome of a profile."""
        with self._lock:
            self._done += 1
            self._failed += not outcome.ok
            self._retried.pop(outcome.profile, None)
            self._update()

    def on_event(self, event: ProfileEvent) -> None:
        """Count a failure as one that is retried, until the outcome of the profile is known."""
        if event.failure is not None:
            with self._lock:
                self._retried[event.profile] = event.failure.code
                self._update()

    def _update(self) -> None:
        if self._count < _MIN_PROFILES and not self._retried:
            return
        codes = ", ".join(sorted(set(self._retried.values())))
        retried = f"{len(self._retried)} to retry ({codes})" if self._retried else ""
        failed = f"{self._failed} failed" if self._failed else ""
        self._show(self._done, ", ".join(part for part in (retried, failed) if part))


@contextmanager
def progress(count: int) -> Iterator[ProgressCounter]:
    """Yield a counter that draws a bar if standard error is a terminal.

    Args:
        count: the number of profiles.
    """
    if not sys.stderr.isatty():
        yield ProgressCounter(count, lambda _done, _text: None)
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count, text="", visible=count >= _MIN_PROFILES)
        yield ProgressCounter(
            count,
            lambda done, text: bar.update(task, completed=done, text=escape(text), visible=True),
        )
