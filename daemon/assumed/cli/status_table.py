"""The table of `assumed status`: one line for each profile, fitted to the terminal.

A pipe gets every profile and every column. A narrow terminal gets fewer columns. If there are more
profiles than lines, the unhealthy ones come first, and the last line summarizes the rest.
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
from assumed.cli.output import format_failure
from assumed.models import LOGIN_EXPIRY_WARNING, ProfileState, ProfileStatus, Status, StorageMode
from assumed.text import describe_clock_skew, format_duration, printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

UNHEALTHY = frozenset({ProfileState.FAILING, ProfileState.EXPIRED, ProfileState.NEEDS_LOGIN})

_COLUMNS = ("PROFILE", "ROLE", "SOURCE", "STATE", "EXPIRES IN", "NEXT REFRESH", "LAST ERROR")
_BAR, _REMAINING = "EXPIRES IN", "LEFT"
_TERMINAL_COLUMNS = (
    "PROFILE",
    "ROLE",
    "SOURCE",
    "STATE",
    _BAR,
    _REMAINING,
    "NEXT REFRESH",
    "LAST ERROR",
)
_OPTIONAL_COLUMNS = ("SOURCE", "ROLE", "NEXT REFRESH", "LAST ERROR", _BAR)
_GAP = 2
_BAR_WIDTH = 10
_MIN_NAME_WIDTH = 8
_MIN_LINES = 5
_MIN_WAIT_SECONDS = 3
_MAX_WAITS = 10

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


def print_status(
    status: Status, *, now: datetime, show_all: bool = False, notes: Sequence[str] = ()
) -> None:
    """Print the table to standard output, with colours and bars if that is a terminal.

    Args:
        status: of the profiles to show.
        now: aware.
        show_all: show every profile, even if the terminal has fewer lines.
        notes: lines about profiles, below the table.
    """
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it

        print_table(status, Console(), now=now, show_all=show_all)
    else:
        _print_plain(status, now=now)
    for note in notes:
        click.echo(printable(note))


def render_screen(status: Status, console: Console, *, now: datetime, notes: Sequence[str]) -> Text:
    """Return the screen of `--watch`: a line for each profile, then the errors that fit."""
    from rich.text import Text  # noqa: PLC0415 - only a terminal pays for it

    top = _one_line(f"assumed status, {now.astimezone():%H:%M:%S}; q to quit", console, "dim")
    waits = _waits(status.profiles)
    texts = (*notes, *_notes(status), *_login_warnings(status.profiles, now), *waits)
    above = [top, *(_one_line(line, console) for text in texts for line in text.splitlines())]
    max_rows = max(console.height - len(above) - 2, 1)
    table = _table(status, console, now=now, max_rows=max_rows, with_errors=True)
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
    for line in (*_login_warnings(status.profiles, now), *_waits(status.profiles)):
        click.echo(f"\n{line}")
    for line in _notes(status):
        click.echo(line, err=True)


def print_table(status: Status, console: Console, *, now: datetime, show_all: bool = False) -> None:
    """Print the table with each error below its row."""
    max_rows = len(status.profiles) if show_all else max(console.height - 2, _MIN_LINES)
    table = _table(status, console, now=now, max_rows=max_rows)
    console.print(table.header)
    for profile, line in table.rows:
        console.print(line)
        if profile.last_error is not None:
            text = format_failure(profile.profile, profile.last_error, below_profile=True)
            console.print(*_wrapped(text, console, "  "), sep="\n")
    warnings = (*_login_warnings(status.profiles, now), *_waits(status.profiles))
    for text in (*table.rest, *warnings):
        console.print(text, markup=False, highlight=False)
    for text in _notes(status):
        click.echo(text, err=True)


@dataclass(frozen=True, slots=True)
class _Table:
    header: Text
    rows: Sequence[tuple[ProfileStatus, Text]]
    rest: Sequence[str]


def _table(
    status: Status, console: Console, *, now: datetime, max_rows: int, with_errors: bool = False
) -> _Table:
    profiles, others = _most_urgent(status.profiles, max_rows)
    full, empty = ("#", "-") if console.options.ascii_only else ("█", "░")
    rows = [
        {**_cells(profile, now), _BAR: _bar(profile, full, empty), _REMAINING: _remaining(profile)}
        for profile in profiles
    ]
    with_errors = with_errors and any(profile.last_error for profile in profiles)
    columns = [name for name in _TERMINAL_COLUMNS if with_errors or name != "LAST ERROR"]
    widths = _widths(columns, rows, console.width)
    headers = {name: name for name in widths}
    if _BAR in widths:
        headers[_REMAINING] = ""
    return _Table(
        header=_line(headers, widths, style="bold"),
        rows=[
            (profile, _line(row, widths, state=_COLOURS.get(profile.state, "")))
            for profile, row in zip(profiles, rows, strict=True)
        ],
        rest=_summary(others, now),
    )


def _most_urgent(
    profiles: Sequence[ProfileStatus], max_rows: int
) -> tuple[Sequence[ProfileStatus], Sequence[ProfileStatus]]:
    """Return the profiles to show, and the rest; in their own order if all of them fit."""
    if len(profiles) <= max_rows:
        return profiles, ()
    ordered = sorted(
        profiles,
        key=lambda status: (_MOST_URGENT_FIRST.index(status.state), status.seconds_left or 0),
    )
    return ordered[:max_rows], ordered[max_rows:]


def _widths(columns: Sequence[str], rows: Sequence[Mapping[str, str]], room: int) -> dict[str, int]:
    """Return the width of each column that fits, in the order of the columns."""
    from rich.cells import cell_len  # noqa: PLC0415 - only a terminal pays for it

    widths = {
        name: max([cell_len(name), *(cell_len(row[name]) for row in rows)]) for name in columns
    }

    def excess() -> int:
        return sum(widths.values()) + _GAP * (len(widths) - 1) - room

    for name in _OPTIONAL_COLUMNS:
        if excess() > 0:
            widths.pop(name, None)
    widths["PROFILE"] -= max(0, min(excess(), widths["PROFILE"] - _MIN_NAME_WIDTH))
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


def _summary(others: Sequence[ProfileStatus], now: datetime) -> Sequence[str]:
    if not others:
        return ()
    counts = Counter(status.state for status in others)
    states = ", ".join(f"{counts[state]} {state}" for state in _MOST_URGENT_FIRST if counts[state])
    attempts = [status.next_attempt_at for status in others if status.next_attempt_at]
    following = f"; next refresh in {format_duration(min(attempts) - now)}" if attempts else ""
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
        "EXPIRES IN": _remaining(status),
        "NEXT REFRESH": f"in {format_duration(next_in)}" if next_in is not None else "-",
        "LAST ERROR": status.last_error.code if status.last_error else "-",
    }
    return {name: printable(text) for name, text in cells.items()}


def _remaining(status: ProfileStatus) -> str:
    return format_duration(timedelta(seconds=status.seconds_left)) if status.seconds_left else "-"


def _bar(status: ProfileStatus, full: str, empty: str) -> str:
    """Return a bar of the remaining lifetime, which is empty only after the expiration."""
    if status.seconds_left is None or not status.lifetime_seconds:
        return ""
    share = min(1.0, status.seconds_left / status.lifetime_seconds)
    filled = math.ceil(share * _BAR_WIDTH)
    return full * filled + empty * (_BAR_WIDTH - filled)


def _login_warnings(profiles: Sequence[ProfileStatus], now: datetime) -> Iterator[str]:
    """Yield a line for each MFA session that expires soon."""
    expiring = {
        (profile.mfa_serial, profile.login_expires_at): profile.profile
        for profile in reversed(profiles)
        if profile.login_expires_at is not None
        and timedelta(0) < profile.login_expires_at - now <= LOGIN_EXPIRY_WARNING
    }
    for (serial, expires_at), profile in expiring.items():
        assert expires_at is not None  # noqa: S101 - by the filter above
        yield (
            f"the MFA session of {serial} expires in {format_duration(expires_at - now)}: "
            f"run `assumed login {profile}`"
        )


def _waits(profiles: Sequence[ProfileStatus]) -> Iterator[str]:
    """Yield a line for each thing that refreshes have waited for longer than usual."""
    by_reason: dict[str, list[ProfileStatus]] = {}
    for profile in profiles:
        if profile.waiting_for is not None and (profile.waiting_seconds or 0) >= _MIN_WAIT_SECONDS:
            by_reason.setdefault(profile.waiting_for, []).append(profile)
    for reason, waiting in list(by_reason.items())[:_MAX_WAITS]:
        seconds = max(profile.waiting_seconds or 0 for profile in waiting)
        others = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        yield (
            f"{printable(waiting[0].profile)}{others}: waiting for {printable(reason)} since "
            f"{format_duration(timedelta(seconds=seconds))}"
        )
    if len(by_reason) > _MAX_WAITS:
        yield f"waiting for {len(by_reason) - _MAX_WAITS} more: see `assumed status --json`"


def _notes(status: Status) -> Iterator[str]:
    """Yield the notes about the daemon itself."""
    if status.daemon is None:
        yield "no daemon is running: this status is from the credentials file"
        if any(profile.state is ProfileState.PENDING for profile in status.profiles):
            yield "pending: no session yet, and no daemon to get one: run `assumed refresh`"
        if any(profile.store == StorageMode.MEMORY for profile in status.profiles):
            yield "only a daemon has the sessions of profiles with `store: memory`"
        return
    if status.daemon.config_error is not None:
        error = printable_lines(status.daemon.config_error)
        yield (
            "the configuration file cannot be used, so the previous configuration is used:\n"
            f"{error}"
        )
    if status.daemon.log_error is not None:
        yield f"the log of the daemon is not complete: {printable(status.daemon.log_error)}"
    if status.daemon.local_fault is not None:
        yield f"trouble on this machine: {printable(status.daemon.local_fault)}"
    if status.daemon.clock_skew_seconds:
        skew = timedelta(seconds=status.daemon.clock_skew_seconds)
        yield f"{describe_clock_skew(skew)}: set it; refreshes use the time of STS"
    for url, seconds in status.daemon.endpoint_clock_skew_seconds.items():
        skew = timedelta(seconds=seconds)
        text = describe_clock_skew(skew).removesuffix("STS")
        yield f"{text}{printable(url)}: set the clock of that server"
