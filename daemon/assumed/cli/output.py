"""What commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from assumed.errors import AssumedError, ConfigurationError
from assumed.log import printable
from assumed.model import Failure, Login, Outcome, ProfileState, ProfileStatus, Status, StoredIn

if TYPE_CHECKING:
    from assumed.daemon.live import LiveCheck
    from assumed.daemon.precedence import Finding

LOGIN_ENDS_SOON = timedelta(hours=2)
TROUBLE = frozenset({ProfileState.FAILING, ProfileState.EXPIRED, ProfileState.NEEDS_LOGIN})

_COLOURS = {
    ProfileState.VALID: "green",
    ProfileState.FAILING: "yellow",
    ProfileState.EXPIRED: "red",
    ProfileState.NEEDS_LOGIN: "red",
}
_HEADERS = ("PROFILE", "ROLE", "SOURCE", "STATE", "EXPIRES IN", "NEXT REFRESH", "LAST ERROR")


def print_error(error: AssumedError) -> None:
    """Print what is wrong, and what to do next, to standard error."""
    if isinstance(error, ConfigurationError):
        lines = [*error.problems, error.hint]
    else:
        lines = [f"assumed: {error.message}", f"  {error.hint}"]
    click.echo("\n".join(_lines(lines)), err=True)


def print_status(status: Status, *, now: datetime) -> None:
    """Print a table, coloured on a terminal, and under it each error with its hint."""
    rows = [_cells(profile, now) for profile in status.profiles]
    if sys.stdout.isatty():
        _print_rich(status.profiles, rows)
    else:
        widths = [max(map(len, column)) for column in zip(_HEADERS, *rows, strict=True)]
        for row in (_HEADERS, *rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            click.echo(line.rstrip())
    for profile in status.profiles:
        if profile.last_error is not None:
            click.echo(f"\n{_explained(profile.profile, profile.last_error)}")
    for line in _logins_that_end(status.profiles, now):
        click.echo(f"\n{line}")
    if status.daemon is None:
        click.echo("no daemon runs: this is what the credentials file tells", err=True)
        if any(profile.store == StoredIn.MEMORY for profile in status.profiles):
            click.echo("what is kept in memory, a daemon alone has", err=True)
        return
    if status.daemon.config_error is not None:
        click.echo(
            f"the configuration on disk is wrong and not used:\n{status.daemon.config_error}",
            err=True,
        )
    if status.daemon.clock_skew_seconds:
        ahead = timedelta(seconds=abs(status.daemon.clock_skew_seconds))
        click.echo(
            f"this machine's clock is {duration(ahead)} "
            f"{'ahead of' if status.daemon.clock_skew_seconds > 0 else 'behind'} STS's: set it; "
            "refreshes go on by STS's time",
            err=True,
        )


def outcome_line(outcome: Outcome, *, now: datetime) -> str:
    """Return what one refresh came to, in a line."""
    if outcome.failure is not None:
        return _explained(outcome.profile, outcome.failure)
    left = outcome.expires_at - now if outcome.expires_at else timedelta(0)
    did = "still fresh" if outcome.was_fresh else "refreshed"
    return f"{outcome.profile}: {did}, expires in {duration(left)}"


def waited_line(outcome: Outcome, *, now: datetime) -> str:
    """Return what waiting for one profile came to, in a line."""
    if outcome.failure is not None:
        return _explained(outcome.profile, outcome.failure)
    left = outcome.expires_at - now if outcome.expires_at else timedelta(0)
    return f"{outcome.profile}: valid, expires in {duration(left)}"


def finding_lines(finding: Finding) -> str:
    """Return what was found, whose credentials the AWS tools use today, and what to do."""
    where = f"note: {finding.where}" if finding.is_note else finding.where
    return f"{where}: {finding.problem}\n  today {finding.used}\n  {finding.mend}"


def live_check_lines(check: LiveCheck) -> str:
    """Return who asked, who a profile became and for how long, or why not and what to do."""
    definition, failure = check.definition, check.outcome.failure
    caller = f": {check.seen.caller_arn}" if check.seen.caller_arn is not None else ""
    took = f", in {check.seen.took / timedelta(milliseconds=1):.0f} ms" if check.seen.took else ""
    source = f"  from {definition.source}{caller}"
    if failure is None:
        assert check.session is not None  # noqa: S101 - where there is no failure there is a session
        became = check.session.credentials.principal_arn
        lifetime = duration(check.session.lifetime)
        asked = duration(timedelta(seconds=definition.duration_seconds))
        less = f" and not the {asked} asked for" if lifetime != asked else ""
        return f"{definition.profile}: {became}, for {lifetime}{less}{took}\n{source}"
    lines = [f"{definition.profile}: {failure.code}: {failure.message}", f"{source}{took}"]
    lines += [f"  {check.hint}", *(f"  - {cause}" for cause in check.causes)]
    if check.statement is not None:
        lines += [f"  for the trust policy of {definition.role_arn}:", check.statement]
    return "\n".join(lines)


def duration(left: timedelta) -> str:
    """Return a length of time for people: `2h05m`, `44m`, `37s`."""
    seconds = max(0, int(left.total_seconds()))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m" if minutes else f"{seconds}s"


def utc_now() -> datetime:
    """Return the wall clock's time, to tell people how long it is until something."""
    return datetime.now(UTC)


def login_line(login: Login, *, now: datetime) -> str:
    """Return what a code has started, in a line."""
    until = login.expires_at.astimezone().strftime("%H:%M on %d %B")
    left = duration(login.expires_at - now)
    return f"{login.profile}: the MFA session of {login.mfa_serial} lasts {left}, until {until}"


def _logins_that_end(profiles: Sequence[ProfileStatus], now: datetime) -> Iterator[str]:
    """Return a line for each MFA session that somebody should renew before it is missed."""
    ending = {
        (profile.mfa_serial, profile.login_expires_at): profile.profile
        for profile in reversed(profiles)
        if profile.login_expires_at is not None
        and timedelta(0) < profile.login_expires_at - now <= LOGIN_ENDS_SOON
    }
    for (serial, expires_at), profile in ending.items():
        assert expires_at is not None  # noqa: S101 - by the filter above
        yield (
            f"the MFA session of {serial} ends in {duration(expires_at - now)}: "
            f"`assumed login {profile}`"
        )


def _explained(profile: str, failure: Failure) -> str:
    shown = f"{profile}: {failure.code}: {failure.message}\n  {failure.hint}"
    return "\n".join(_lines([shown]))


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Return the lines of texts, with nothing in them that steers a terminal.

    A message can hold what a `credential_process` or a server has said.
    """
    for text in texts:
        yield from (printable(line) for line in text.splitlines())


def _cells(status: ProfileStatus, now: datetime) -> tuple[str, ...]:
    left = None if status.seconds_left is None else timedelta(seconds=status.seconds_left)
    next_in = status.next_attempt_at - now if status.next_attempt_at else None
    return (
        status.profile,
        status.role_arn.split(":", 4)[4] if status.role_arn else "-",
        status.source,
        f"{status.state}, in memory" if status.store == StoredIn.MEMORY else str(status.state),
        duration(left) if left else "-",
        f"in {duration(next_in)}" if next_in is not None else "-",
        status.last_error.code if status.last_error else "-",
    )


def _print_rich(profiles: Sequence[ProfileStatus], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal pays for it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in _HEADERS:
        table.add_column(header, overflow="fold")
    for profile, row in zip(profiles, rows, strict=True):
        colour = _COLOURS.get(profile.state, "")
        table.add_row(
            *(
                Text(cell, style=colour if header == "STATE" else "")
                for header, cell in zip(_HEADERS, row, strict=True)
            )
        )
    Console(no_color="NO_COLOR" in os.environ).print(table)
