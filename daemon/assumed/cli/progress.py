"""A progress bar on a terminal while many profiles are refreshed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assumed.models import Outcome

_MIN_PROFILES = 5


@contextmanager
def progress(count: int) -> Iterator[Callable[[Outcome], None]]:
    """Yield a function to call with each outcome; it draws if standard error is a terminal.

    Args:
        count: the number of profiles; a few need no bar.
    """
    if count < _MIN_PROFILES or not sys.stderr.isatty():
        yield _draw_nothing
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}"))
    failed = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count, failed="")

        def draw(outcome: Outcome) -> None:
            nonlocal failed
            failed += not outcome.ok
            bar.update(task, advance=1, failed=f"{failed} failed" if failed else "")

        yield draw


def _draw_nothing(_: Outcome) -> None:
    pass
