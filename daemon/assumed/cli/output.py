"""What commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from assumed.errors import AssumedError, ConfigurationError
from assumed.models import Failure, Login, Outcome
from assumed.text import printable

if TYPE_CHECKING:
    from assumed.app.live_check import LiveCheck
    from assumed.aws_files.shadowing import Finding


def print_error(error: AssumedError) -> None:
    """Print what is wrong, and what to do next, to standard error."""
    if isinstance(error, ConfigurationError):
        lines = [*error.problems, error.hint]
    else:
        lines = [f"assumed: {error.message}", f"  {error.hint}"]
    click.echo(printable_lines("\n".join(lines)), err=True)


def outcome_line(outcome: Outcome, *, now: datetime) -> str:
    """Return what one refresh came to, in a line."""
    return _came_to(outcome, "still fresh" if outcome.was_fresh else "refreshed", now)


def waited_line(outcome: Outcome, *, now: datetime) -> str:
    """Return what waiting for one profile came to, in a line."""
    return _came_to(outcome, "valid", now)


def _came_to(outcome: Outcome, good: str, now: datetime) -> str:
    if outcome.failure is not None:
        return format_failure(outcome.profile, outcome.failure)
    left = outcome.expires_at - now if outcome.expires_at else timedelta(0)
    return f"{outcome.profile}: {good}, expires in {duration(left)}"


def finding_lines(finding: Finding) -> str:
    """Return what was found, whose credentials the AWS tools use today, and what to do."""
    where = f"note: {finding.where}" if finding.is_note else finding.where
    return printable_lines(f"{where}: {finding.problem}\n  today {finding.used}\n  {finding.fix}")


def live_check_lines(check: LiveCheck) -> str:
    """Return who asked, who a profile became and for how long, or why not and what to do."""
    definition, failure = check.definition, check.outcome.failure
    caller = f": {check.trace.caller_arn}" if check.trace.caller_arn is not None else ""
    took = f", in {check.trace.took / timedelta(milliseconds=1):.0f} ms" if check.trace.took else ""
    source = f"  from {definition.source}{caller}"
    if failure is None:
        assert check.session is not None  # noqa: S101 - where there is no failure there is a session
        became = check.session.credentials.principal_arn
        lifetime = duration(check.session.lifetime)
        asked = duration(timedelta(seconds=definition.duration_seconds))
        is_less = definition.role_arn is not None and lifetime != asked
        less = f" and not the {asked} asked for" if is_less else ""
        line = f"{definition.profile}: {became}, for {lifetime}{less}{took}"
        return printable_lines(f"{line}\n{source}")
    lines = [f"{definition.profile}: {failure.code}: {failure.message}", f"{source}{took}"]
    lines += [f"  {check.hint}", *(f"  - {cause}" for cause in check.causes)]
    if check.statement is not None:
        lines += [f"  for the trust policy of {definition.role_arn}:", check.statement]
    return printable_lines("\n".join(lines))


def format_failure(profile: str | None, failure: Failure) -> str:
    """Return a failure with its hint below it, and nothing in it that steers a terminal."""
    whose = "" if profile is None else f"{profile}: "
    return printable_lines(f"{whose}{failure.code}: {failure.message}\n  {failure.hint}")


def printable_lines(text: str) -> str:
    """Return a text of any number of lines with nothing in it that steers a terminal.

    A message can hold what a `credential_process` or a server has said, and the name of a profile
    of the AWS files whatever somebody wrote.
    """
    return "\n".join(printable(line) for line in text.splitlines())


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
