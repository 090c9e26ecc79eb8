"""`assumed status --watch`: a table that updates itself, or a stream of changes as JSON."""

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
from assumed.cli.status_table import render_screen
from assumed.errors import DaemonUnreachableError
from assumed.models import ProfileStatus, Status
from assumed.server.serialization import status_to_json

_INTERVAL_SECONDS = 1.0
_TERMINATED = 128 + signal.SIGTERM


def watch(read_status: Callable[[], Status]) -> None:
    """Draw the status every second until the user types q.

    Args:
        read_status: returns the status. If the daemon does not answer, the last status stays.
    """
    console = Console()
    status = read_status()
    # Exit as usual, so that the terminal gets its screen and its cursor back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    with _keys() as read_key, Live(console=console, screen=True, auto_refresh=False) as live:
        notes: tuple[str, ...] = ()
        while True:
            view = render_screen(status, console, now=utc_now(), notes=notes)
            live.update(view, refresh=True)
            if read_key(_INTERVAL_SECONDS) in {b"q", b"Q", b""}:
                return
            try:
                status, notes = read_status(), ()
            except DaemonUnreachableError as error:
                notes = (f"not up to date: {error.message}",)


def stream(read_status: Callable[[], Status]) -> None:
    """Print the status as a line of JSON, and again whenever more than the time has changed."""
    printed = None
    while True:
        try:
            status = read_status()
        except DaemonUnreachableError:
            if printed is None:
                raise
        else:
            if (lasting := _without_countdowns(status)) != printed:
                printed = lasting
                click.echo(json.dumps(status_to_json(status)))
        select.select([], [], [], _INTERVAL_SECONDS)


def _without_countdowns(status: Status) -> tuple[object, ...]:
    def without(profile: ProfileStatus) -> ProfileStatus:
        return replace(profile, seconds_left=None, next_attempt_at=None)

    return (status.daemon, *map(without, status.profiles))


@contextmanager
def _keys() -> Iterator[Callable[[float], bytes | None]]:
    """Yield a function that waits some seconds for a key.

    It returns None if no key was typed, and an empty text at the end of the input.
    """
    if not sys.stdin.isatty():
        yield _no_key
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def read_key(seconds: float) -> bytes | None:
        # Each time, because a shell that stopped this process may have changed the mode. TCSANOW
        # keeps what was typed while the status was read; the default would discard it.
        tty.setcbreak(terminal, termios.TCSANOW)
        ready, _, _ = select.select([terminal], [], [], seconds)
        return os.read(terminal, 1) if ready else None

    try:
        yield read_key
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def _no_key(seconds: float) -> None:
    select.select([], [], [], seconds)
