"""`assumed status --watch`: the table that stays, and the stream of changes for programs."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import click
from rich.console import Console
from rich.live import Live

from assumed.cli.output import utc_now
from assumed.cli.status_table import screen
from assumed.errors import DaemonUnreachableError
from assumed.models import ProfileStatus, Status
from assumed.server.serialization import status_to_json

_LOOK_SECONDS = 1.0
_TERMINATED = 128 + signal.SIGTERM


def draw(look: Callable[[], Status]) -> None:
    """Draw the status anew each second, until somebody types q.

    Args:
        look: returns what to draw; where the daemon does not answer for once, what was drawn
            before stays.
    """
    console = Console()
    status = look()
    # The terminal gets its screen and its cursor back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    with _keys() as typed, Live(console=console, screen=True, auto_refresh=False) as live:
        notes: tuple[str, ...] = ()
        while True:
            view = screen(status, console, now=utc_now(), notes=notes)
            live.update(view, refresh=True)
            if typed(_LOOK_SECONDS) in {b"q", b"Q", b""}:
                return
            try:
                status, notes = look(), ()
            except DaemonUnreachableError as error:
                notes = (f"not up to date: {error.message}",)


def stream(look: Callable[[], Status]) -> None:
    """Print the status as a line of JSON, and again with each change of more than the time."""
    shown = None
    while True:
        try:
            status = look()
        except DaemonUnreachableError:
            if shown is None:
                raise
        else:
            if (told := _without_times_left(status)) != shown:
                shown = told
                click.echo(json.dumps(status_to_json(status)))
        select.select([], [], [], _LOOK_SECONDS)


def _without_times_left(status: Status) -> tuple[object, ...]:
    def lasting(profile: ProfileStatus) -> ProfileStatus:
        return replace(profile, seconds_left=None, next_attempt_at=None)

    return (status.daemon, *map(lasting, status.profiles))


@contextmanager
def _keys() -> Iterator[Callable[[float], bytes | None]]:
    """Give a function that waits for a key so long: None where none came, empty at the end."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def typed(seconds: float) -> bytes | None:
        # Anew each time: a shell that had stopped this process has set the terminal its own way.
        # At once: by default it throws away what was typed while the status was looked up.
        tty.setcbreak(terminal, termios.TCSANOW)
        ready, _, _ = select.select([terminal], [], [], seconds)
        return os.read(terminal, 1) if ready else None

    try:
        yield typed
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _no_key(seconds: float) -> None:
    select.select([], [], [], seconds)
