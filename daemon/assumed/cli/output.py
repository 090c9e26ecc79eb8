"""What commands print: results to standard output, errors to standard error.

An error is two lines: `SUBJECT: CODE: message` and, indented, the hint. The subject of a failed
refresh is its profile, and its message does not name it again. The subject of all other errors is
`assumed`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from assumed.errors import AssumedError, ConfigurationError
from assumed.models import Failure, Login, Outcome
from assumed.text import describe_clock_skew, format_duration, printable_lines

if TYPE_CHECKING:
    from assumed.app.live_check import LiveCheck
    from assumed.aws_files.shadowing import Finding

_MILLISECOND = timedelta(milliseconds=1)


def print_error(error: AssumedError) -> None:
    """Print an error and its hint to standard error; of a configuration, every problem."""
    problems = error.problems if isinstance(error, ConfigurationError) else (error.message,)
    if len(problems) == 1:
        text = _error_text("assumed", error.code, *problems, error.hint)
    else:
        count = f"{len(problems)} problems"
        text = _error_text("assumed", error.code, "\n".join([count, *problems]), error.hint)
    click.echo(text, err=True)


def format_failure(profile: str, failure: Failure, *, below_profile: bool = False) -> str:
    """Return a failure and its hint.

    Args:
        profile: the one that failed.
        failure: of its last refresh.
        below_profile: leave the profile out, since the line above shows it.
    """
    message = _without_repetition(profile, failure.code, failure.message)
    return _error_text("" if below_profile else profile, failure.code, message, failure.hint)


def format_outcome(outcome: Outcome, *, now: datetime) -> str:
    """Return the result of a refresh."""
    return _outcome_text(outcome, "still fresh" if outcome.was_fresh else "refreshed", now)


def format_wait_outcome(outcome: Outcome, *, now: datetime) -> str:
    """Return the result of waiting for a profile."""
    return _outcome_text(outcome, "valid", now)


def format_finding(finding: Finding) -> str:
    """Return a finding of `check`: where, the problem, what AWS tools use now, and a fix."""
    where = f"note: {finding.where}" if finding.is_note else finding.where
    return printable_lines(
        f"{where}: {finding.problem}\n  currently: {finding.used}\n  {finding.fix}"
    )


def format_live_check(check: LiveCheck) -> str:
    """Return the result of a live check: the role session and its caller, or why it failed."""
    definition, failure = check.definition, check.outcome.failure
    caller = f": {check.trace.caller_arn}" if check.trace.caller_arn is not None else ""
    verb = "answered in" if failure is None else "failed after"
    took = f", {verb} {check.trace.took / _MILLISECOND:.0f} ms" if check.trace.took else ""
    source = f"  from {definition.source}{caller}"
    if failure is None:
        assert check.session is not None  # noqa: S101 - a check that succeeded has a session
        session_arn = check.session.credentials.principal_arn
        lifetime = format_duration(check.session.lifetime)
        requested = format_duration(timedelta(seconds=definition.duration_seconds))
        is_shorter = definition.role_arn is not None and lifetime != requested
        instead = f" instead of {requested}" if is_shorter else ""
        line = f"{definition.profile}: {session_arn}, valid for {lifetime}{instead}{took}"
        return printable_lines(f"{line}\n{source}")
    message = _without_repetition(definition.profile, failure.code, failure.message)
    lines = [f"{definition.profile}: {failure.code}: {message}", f"{source}{took}"]
    lines += [f"  {check.hint}", *(f"  - {cause}" for cause in check.causes)]
    if check.statement is not None:
        lines += [f"  for the trust policy of {definition.role_arn}:", check.statement]
    return printable_lines("\n".join(lines))


def format_login(login: Login, *, now: datetime) -> str:
    """Return the session that an MFA code has started."""
    until = login.expires_at.astimezone().strftime("%H:%M on %d %B")
    remaining = format_duration(login.expires_at - now)
    return (
        f"{login.profile}: the MFA session of {login.mfa_serial} is valid for {remaining}, until "
        f"{until}"
    )


def report_clock_skew(ahead: timedelta) -> None:
    """Print to standard error that this machine's clock is wrong; nothing if it is right."""
    if ahead:
        click.echo(f"{describe_clock_skew(ahead)}: set it (`timedatectl set-ntp true`)", err=True)


def utc_now() -> datetime:
    """Return the time of the wall clock, for durations that people read."""
    return datetime.now(UTC)


def _outcome_text(outcome: Outcome, success: str, now: datetime) -> str:
    if outcome.failure is not None:
        return format_failure(outcome.profile, outcome.failure)
    remaining = outcome.expires_at - now if outcome.expires_at else timedelta(0)
    return f"{outcome.profile}: {success}, expires in {format_duration(remaining)}"


def _without_repetition(profile: str, code: str, message: str) -> str:
    """Return a message without the profile and the code in front of it, which the line has already.

    A daemon of another version may put them there.
    """
    return message.removeprefix(f"profile {profile}: ").removeprefix(f"{code}: ")


def _error_text(subject: str, code: str, message: str, hint: str) -> str:
    before = f"{subject}: " if subject else ""
    return printable_lines(f"{before}{code}: {message}\n  {hint}")
