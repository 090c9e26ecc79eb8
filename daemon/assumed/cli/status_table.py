"""What `assumed status` shows people: a line a profile, in the room that there is.

In a pipe every profile is a line with every column. On a terminal columns go where it is narrow,
and where there are more profiles than lines those in trouble come first, and the rest is summed up.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from assumed.arn import Arn
from assumed.cli.output import duration, format_failure, printable_lines
from assumed.models import LOGIN_EXPIRY_WARNING, ProfileState, ProfileStatus, Status, StorageMode
from assumed.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

TROUBLE = frozenset({ProfileState.FAILING, ProfileState.EXPIRED, ProfileState.NEEDS_LOGIN})

_COLUMNS = ("PROFILE", "ROLE", "SOURCE", "STATE", "EXPIRES IN", "NEXT REFRESH", "LAST ERROR")
_BAR, _LEFT = "EXPIRES IN", "LEFT"
_ON_TERMINAL = ("PROFILE", "ROLE", "SOURCE", "STATE", _BAR, _LEFT, "NEXT REFRESH", "LAST ERROR")
_FIRST_TO_GO = ("SOURCE", "ROLE", "NEXT REFRESH", "LAST ERROR", _BAR)
_GAP = 2
_BAR_WIDTH = 10
_LEAST_NAME_WIDTH = 8
_LEAST_LINES = 5

_COLOURS = {
    ProfileState.VALID: "green",
    ProfileState.FAILING: "yellow",
    ProfileState.EXPIRED: "red",
    ProfileState.NEEDS_LOGIN: "red",
}
_MOST_URGENT_FIRST = (
    ProfileState.EXPIRED,
    ProfileState.NEEDS_LOGIN,
    ProfileState.FAILING,
    ProfileState.PENDING,
    ProfileState.VALID,
    ProfileState.DISABLED,
)


def print_status(status: Status, *, now: datetime, is_whole: bool = False) -> None:
    """Print a table to standard output, for eyes where that is a terminal.

    Args:
        status: of the profiles to show.
        now: aware.
        is_whole: on a terminal too, show every profile, and not only as many as it has lines.
    """
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it

        show(status, Console(), now=now, is_whole=is_whole)
    else:
        _print_plain(status, now=now)


def screen(status: Status, console: Console, *, now: datetime, notes: Sequence[str]) -> Text:
    """Return a screenful for `--watch`: a line a profile, and the errors where there is room."""
    from rich.text import Text  # noqa: PLC0415 - only a terminal pays for it

    told = (*notes, *_notes(status), *_logins_that_end(status.profiles, now))
    top = _one_line(f"assumed status, {now.astimezone():%H:%M:%S}; q ends it", console, "dim")
    above = [top, *(_one_line(line, console) for note in told for line in note.splitlines())]
    most = max(console.height - len(above) - 2, 1)
    table = _table(status, console, now=now, most=most, with_errors=True)
    lines = [*above, table.header, *(line for _, line in table.rows)]
    lines += [_one_line(line, console) for line in table.rest]
    for profile, _ in table.rows:
        if profile.last_error is not None:
            text = format_failure(profile.profile, profile.last_error)
            lines += [Text(), *_wrapped(text, console)]
    return Text("\n", no_wrap=True, end="").join(lines[: console.height])


def _print_plain(status: Status, *, now: datetime) -> None:
    rows = [tuple(_cells(profile, now)[name] for name in _COLUMNS) for profile in status.profiles]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
    for profile in status.profiles:
        if profile.last_error is not None:
            click.echo(f"\n{format_failure(profile.profile, profile.last_error)}")
    for line in _logins_that_end(status.profiles, now):
        click.echo(f"\n{line}")
    for line in _notes(status):
        click.echo(line, err=True)


def show(status: Status, console: Console, *, now: datetime, is_whole: bool = False) -> None:
    """Print a table with each error under its row, of as many profiles as the console has lines."""
    most = len(status.profiles) if is_whole else max(console.height - 2, _LEAST_LINES)
    table = _table(status, console, now=now, most=most)
    console.print(table.header)
    for profile, line in table.rows:
        console.print(line)
        if profile.last_error is not None:
            text = format_failure(None, profile.last_error)
            console.print(*_wrapped(text, console, "  "), sep="\n")
    for text in (*table.rest, *_logins_that_end(status.profiles, now)):
        console.print(text, markup=False, highlight=False)
    for text in _notes(status):
        click.echo(text, err=True)


@dataclass(frozen=True, slots=True)
class _Table:
    header: Text
    rows: Sequence[tuple[ProfileStatus, Text]]
    rest: Sequence[str]


def _table(
    status: Status, console: Console, *, now: datetime, most: int, with_errors: bool = False
) -> _Table:
    profiles, others = _most_urgent(status.profiles, most)
    full, empty = ("#", "-") if console.options.ascii_only else ("█", "░")
    rows = [
        {**_cells(profile, now), _BAR: _bar(profile, full, empty), _LEFT: _left(profile)}
        for profile in profiles
    ]
    with_errors = with_errors and any(profile.last_error for profile in profiles)
    columns = [name for name in _ON_TERMINAL if with_errors or name != "LAST ERROR"]
    widths = _widths(columns, rows, console.width)
    headers = {name: name for name in widths}
    if _BAR in widths:
        headers[_LEFT] = ""
    return _Table(
        header=_line(headers, widths, style="bold"),
        rows=[
            (profile, _line(row, widths, state=_COLOURS.get(profile.state, "")))
            for profile, row in zip(profiles, rows, strict=True)
        ],
        rest=_summed_up(others, now),
    )


def _most_urgent(
    profiles: Sequence[ProfileStatus], most: int
) -> tuple[Sequence[ProfileStatus], Sequence[ProfileStatus]]:
    """Return what is shown, in the order of the configuration if that is all, and the rest."""
    if len(profiles) <= most:
        return profiles, ()
    ordered = sorted(
        profiles,
        key=lambda status: (_MOST_URGENT_FIRST.index(status.state), status.seconds_left or 0),
    )
    return ordered[:most], ordered[most:]


def _widths(columns: Sequence[str], rows: Sequence[Mapping[str, str]], room: int) -> dict[str, int]:
    """Return the width of each column that fits, in their order."""
    from rich.cells import cell_len  # noqa: PLC0415 - only a terminal pays for it

    widths = {
        name: max([cell_len(name), *(cell_len(row[name]) for row in rows)]) for name in columns
    }

    def excess() -> int:
        return sum(widths.values()) + _GAP * (len(widths) - 1) - room

    for name in _FIRST_TO_GO:
        if excess() > 0:
            widths.pop(name, None)
    widths["PROFILE"] -= max(0, min(excess(), widths["PROFILE"] - _LEAST_NAME_WIDTH))
    widths["STATE"] -= max(0, min(excess(), widths["STATE"] - 1))
    return widths


def _line(
    cells: Mapping[str, str], widths: Mapping[str, int], *, style: str = "", state: str = ""
) -> Text:
    from rich.text import Text  # noqa: PLC0415 - only a terminal pays for it

    line = Text(no_wrap=True, style=style)
    for name, width in widths.items():
        cell = Text(cells[name], style=state if name in {"STATE", _BAR} else "")
        cell.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(cell).append(" " * _GAP)
    line.rstrip()
    return line


def _one_line(text: str, console: Console, style: str = "") -> Text:
    from rich.text import Text  # noqa: PLC0415 - only a terminal pays for it

    line = Text(printable(text), style=style, no_wrap=True)
    line.truncate(console.width, overflow="ellipsis")
    return line


def _wrapped(text: str, console: Console, indent: str = "") -> list[Text]:
    from rich.text import Text  # noqa: PLC0415 - only a terminal pays for it

    lines = Text(text).wrap(console, max(console.width - len(indent), 1))
    return [Text(indent).append_text(line) for line in lines]


def _summed_up(others: Sequence[ProfileStatus], now: datetime) -> Sequence[str]:
    if not others:
        return ()
    counts = Counter(status.state for status in others)
    states = ", ".join(f"{counts[state]} {state}" for state in _MOST_URGENT_FIRST if counts[state])
    attempts = [status.next_attempt_at for status in others if status.next_attempt_at]
    following = f"; the next refresh in {duration(min(attempts) - now)}" if attempts else ""
    return (f"and {len(others)} more: {states}{following}",)


def _role(role_arn: str | None) -> str:
    if role_arn is None:
        return "-"
    arn = Arn.parse(role_arn)
    return f"{arn.account}:{arn.resource}"


def _cells(status: ProfileStatus, now: datetime) -> dict[str, str]:
    next_in = status.next_attempt_at - now if status.next_attempt_at else None
    in_memory = ", in memory" if status.store == StorageMode.MEMORY else ""
    cells = {
        "PROFILE": status.profile,
        "ROLE": _role(status.role_arn),
        "SOURCE": status.source,
        "STATE": f"{status.state}{in_memory}",
        "EXPIRES IN": _left(status),
        "NEXT REFRESH": f"in {duration(next_in)}" if next_in is not None else "-",
        "LAST ERROR": status.last_error.code if status.last_error else "-",
    }
    return {name: printable(text) for name, text in cells.items()}


def _left(status: ProfileStatus) -> str:
    return duration(timedelta(seconds=status.seconds_left)) if status.seconds_left else "-"


def _bar(status: ProfileStatus, full: str, empty: str) -> str:
    """Return how much of the session's lifetime is left; a rest of it is never nothing."""
    if status.seconds_left is None or not status.lifetime_seconds:
        return ""
    share = min(1.0, status.seconds_left / status.lifetime_seconds)
    filled = math.ceil(share * _BAR_WIDTH)
    return full * filled + empty * (_BAR_WIDTH - filled)


def _logins_that_end(profiles: Sequence[ProfileStatus], now: datetime) -> Iterator[str]:
    """Return a line for each MFA session that somebody should renew before it is missed."""
    ending = {
        (profile.mfa_serial, profile.login_expires_at): profile.profile
        for profile in reversed(profiles)
        if profile.login_expires_at is not None
        and timedelta(0) < profile.login_expires_at - now <= LOGIN_EXPIRY_WARNING
    }
    for (serial, expires_at), profile in ending.items():
        assert expires_at is not None  # noqa: S101 - by the filter above
        yield (
            f"the MFA session of {serial} ends in {duration(expires_at - now)}: "
            f"`assumed login {profile}`"
        )


def _notes(status: Status) -> Iterator[str]:
    """Return what is to be said of the daemon itself."""
    if status.daemon is None:
        yield "no daemon runs: this is what the credentials file tells"
        if any(profile.store == StorageMode.MEMORY for profile in status.profiles):
            yield "what is kept in memory, a daemon alone has"
        return
    if status.daemon.config_error is not None:
        error = printable_lines(status.daemon.config_error)
        yield f"the configuration on disk is not used:\n{error}"
    if status.daemon.clock_skew_seconds:
        ahead = timedelta(seconds=abs(status.daemon.clock_skew_seconds))
        yield (
            f"this machine's clock is {duration(ahead)} "
            f"{'ahead of' if status.daemon.clock_skew_seconds > 0 else 'behind'} STS's: set it; "
            "refreshes go on by STS's time"
        )
