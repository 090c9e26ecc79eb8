"""`assumed login`: whatever `needs-login` needs: an MFA code, or a login command of AWS."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.output import format_failure, format_login, format_outcome, print_error, utc_now
from assumed.cli.profile_completion import complete_profile
from assumed.errors import AssumedError, MfaCodeRejectedError, UsageError
from assumed.models import LOGIN_EXPIRY_WARNING, Login, ProfileState, ProfileStatus, Status
from assumed.text import join_words

if TYPE_CHECKING:
    from assumed.app.standalone import Standalone
    from assumed.client.api_client import DaemonClient

_TRIES = 3


@click.command(
    "login",
    cls=Command,
    examples=("assumed login", "assumed login deploy"),
)
@click.argument("profile", required=False, shell_complete=complete_profile)
@common_options()
@click.pass_context
def command(context: click.Context, options: Options, profile: str | None) -> None:
    """Log in for profiles that need it: MFA code or AWS login.

    Asks for a code for each MFA device whose session is missing or expires within two hours, and
    offers to run `aws sso login` or `aws login` for each login that is missing. With PROFILE, only
    for that profile, and also if its login is still valid. The code is not echoed; it is read from
    standard input if that is not a terminal. Then refreshes the profiles that have waited. Exits
    with 1 if a login is still missing.
    """
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

    options.configure_log()
    daemon = connect_to_daemon(options)
    names = () if profile is None else (profile,)
    status = None if daemon is None else daemon.status(names)
    is_of_daemon = status is not None and status.daemon is not None
    path = (
        Path(status.daemon.config)
        if is_of_daemon and status is not None and status.daemon is not None
        else options.config_path()
    )
    standalone = Standalone(path, os.environ)
    target = daemon or standalone
    status = status or standalone.status(names)
    _Session(target, standalone, names).run(context, status)


class _Session:
    """One run of the command.

    Args:
        target: what starts sessions and refreshes.
        standalone: knows the configuration and the AWS files.
        names: the profile that was named; none for all.
    """

    def __init__(
        self, target: DaemonClient | Standalone, standalone: Standalone, names: tuple[str, ...]
    ) -> None:
        self._target = target
        self._standalone = standalone
        self._names = names
        self._has_logged_in = False
        self._is_missing = False

    def run(self, context: click.Context, status: Status) -> None:
        """Log in wherever it is needed, refresh, and end with the exit status."""
        commands = self._commands(status)
        if self._names and not commands:
            _require_mfa(status)
        for text, waiting in commands.items():
            self._log_in_with(text, waiting)
        self._enter_codes(status)
        if self._has_logged_in:
            self._refresh()
        elif not self._is_missing:
            self._report_nothing(status)
        context.exit(1 if self._is_missing else 0)

    def _report_nothing(self, status: Status) -> None:
        waiting = [
            each
            for each in status.profiles
            if each.state is ProfileState.NEEDS_LOGIN and each.last_error is not None
        ]
        for profile in waiting:
            assert profile.last_error is not None  # noqa: S101 - by the filter above
            click.echo(format_failure(profile.profile, profile.last_error), err=True)
        self._is_missing = bool(waiting)
        if not waiting:
            click.echo("nothing to do: no profile needs a login within two hours")
            click.echo("to log in again now, name a profile: `assumed login PROFILE`")

    def _commands(self, status: Status) -> Mapping[str, tuple[str, ...]]:
        from assumed.app.check import login_commands  # noqa: PLC0415 - as Standalone

        enabled = [each for each in status.profiles if each.state is not ProfileState.DISABLED]
        waiting = {each.profile for each in enabled if each.state is ProfileState.NEEDS_LOGIN}
        return login_commands(
            self._standalone.inspect(os.environ),
            [each.profile for each in enabled],
            also=waiting | set(self._names),
        )

    def _log_in_with(self, text: str, waiting: Sequence[str]) -> None:
        """Offer to run a login command of AWS, with this terminal."""
        if not sys.stdin.isatty():
            click.echo(f"{join_words(waiting)}: run `{text}`", err=True)
            self._is_missing = True
            return
        if not click.confirm(f"{join_words(waiting)}: run `{text}` now?", default=True, err=True):
            self._is_missing = True
            return
        try:
            done = subprocess.run(shlex.split(text), check=False)  # noqa: S603 - it was confirmed
        except OSError as error:
            click.echo(f"`{text}` cannot be started: {error.strerror}", err=True)
            click.echo("  install the AWS CLI v2, and run `assumed login` again", err=True)
            self._is_missing = True
            return
        if done.returncode == 0:
            self._has_logged_in = True
        else:
            click.echo(f"`{text}` failed with exit status {done.returncode}", err=True)
            self._is_missing = True

    def _enter_codes(self, status: Status) -> None:
        started: set[datetime | str] = set()
        # Ask for the status after each code: one session serves all profiles of its device.
        while due := _due(status, is_named=bool(self._names), started=started):
            if self._standalone.needs_code_for_each_session(due[0].profile):
                due = due[:1]
            login = self._enter_code(due)
            started |= {login.expires_at, login.profile}
            self._has_logged_in = True
            click.echo(format_login(login, now=utc_now()))
            status = self._target.status(self._names)

    def _enter_code(self, due: Sequence[ProfileStatus]) -> Login:
        """Ask for a code; on a terminal up to three times."""
        tries = _TRIES if sys.stdin.isatty() else 1
        while True:
            tries -= 1
            try:
                return self._target.log_in(due[0].profile, _read_code(due))
            except AssumedError as error:
                is_wrong_code = isinstance(error, UsageError) or (
                    error.code == MfaCodeRejectedError.code
                )
                if not is_wrong_code or not tries:
                    raise
                print_error(error)

    def _refresh(self) -> None:
        """Refresh what has waited for the login, and report it; what was fresh is left out."""
        outcomes = self._target.refresh(self._names, force=False)
        for outcome in outcomes:
            if not outcome.was_fresh:
                click.echo(format_outcome(outcome, now=utc_now()), err=not outcome.ok)
        self._is_missing = self._is_missing or not all(outcome.ok for outcome in outcomes)


def _due(
    status: Status, *, is_named: bool, started: Set[datetime | str]
) -> Sequence[ProfileStatus]:
    """Return the profiles that the next MFA code is for; empty if every MFA session is valid."""
    due = [
        profile
        for profile in status.profiles
        if profile.mfa_serial is not None
        and profile.state is not ProfileState.DISABLED
        and started.isdisjoint({profile.login_expires_at, profile.profile})
        and (is_named or _expires_soon(profile))
    ]
    return [profile for profile in due if profile.mfa_serial == due[0].mfa_serial]


def _require_mfa(status: Status) -> None:
    """Require that the named profile has an MFA device; it has no login command.

    Raises:
        UsageError: it has none.
    """
    (profile,) = status.profiles
    if profile.mfa_serial is not None:
        return
    failure = profile.last_error if profile.state is ProfileState.NEEDS_LOGIN else None
    raise UsageError(
        f"profile {profile.profile} needs no login: its source is {profile.source}",
        hint=failure.hint if failure else "`assumed status` shows what each profile needs",
    )


def _expires_soon(profile: ProfileStatus) -> bool:
    expires_at = profile.login_expires_at
    return expires_at is None or expires_at - utc_now() <= LOGIN_EXPIRY_WARNING


def _read_code(due: Sequence[ProfileStatus]) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    names = ", ".join(profile.profile for profile in due)
    code: str = click.prompt(
        f"MFA code of {due[0].mfa_serial} (for {names})", hide_input=True, err=True
    )
    return code.strip()
