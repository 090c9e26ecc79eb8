"""`assumed login`: an MFA code, which the daemon cannot enter by itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.output import format_login, utc_now
from assumed.cli.profile_completion import complete_profile
from assumed.errors import UsageError
from assumed.models import LOGIN_EXPIRY_WARNING, ProfileState, ProfileStatus, Status

if TYPE_CHECKING:
    from assumed.app.standalone import Standalone
    from assumed.client.api_client import DaemonClient


@click.command(
    "login",
    cls=Command,
    examples=("assumed login", "assumed login deploy"),
)
@click.argument("profile", required=False, shell_complete=complete_profile)
@common_options()
def command(options: Options, profile: str | None) -> None:
    """Enter an MFA code to start an MFA session.

    Profiles with an mfa_serial need such a session. Without PROFILE, asks for a code for each
    device whose session is missing or expires within two hours. The code is not echoed; it is read
    from standard input if that is not a terminal. The daemon uses the session at once, or the next
    refresh does if no daemon is running.
    """
    options.configure_log()
    target: DaemonClient | Standalone | None = connect_to_daemon(options)
    if target is None:
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

        target = Standalone(options.config_path(), os.environ)
    names = () if profile is None else (profile,)
    started: set[datetime] = set()
    # Ask for the status after each code: one session serves all profiles of its device.
    while due := _due(target.status(names), is_named=profile is not None, started=started):
        code = _prompt_for_code(due)
        login = target.log_in(due[0].profile, code)
        started.add(login.expires_at)
        click.echo(format_login(login, now=utc_now()))
    if not started:
        click.echo("nothing to do: every MFA session is valid for more than two hours")
        click.echo("to start a new one now, name a profile: `assumed login PROFILE`")


def _due(status: Status, *, is_named: bool, started: set[datetime]) -> Sequence[ProfileStatus]:
    """Return the profiles that the next MFA code is for; empty if every MFA session is valid.

    Raises:
        UsageError: no profile needs an MFA code.
    """
    with_mfa = [
        profile
        for profile in status.profiles
        if profile.mfa_serial is not None and profile.state is not ProfileState.DISABLED
    ]
    if not with_mfa:
        raise _no_code_needed(status, is_named=is_named)
    due = [
        profile
        for profile in with_mfa
        if profile.login_expires_at not in started and (is_named or _expires_soon(profile))
    ]
    return [profile for profile in due if profile.mfa_serial == due[0].mfa_serial]


def _no_code_needed(status: Status, *, is_named: bool) -> UsageError:
    first = status.profiles[0]
    login_hints = [
        profile.last_error.hint
        for profile in status.profiles
        if profile.state is ProfileState.NEEDS_LOGIN and profile.last_error
    ]
    return UsageError(
        f"profile {first.profile} needs no MFA code: its source is {first.source}"
        if is_named
        else "no profile has an mfa_serial",
        hint=login_hints[0] if login_hints else "`assumed status` shows what each profile needs",
    )


def _expires_soon(profile: ProfileStatus) -> bool:
    expires_at = profile.login_expires_at
    return expires_at is None or expires_at - utc_now() <= LOGIN_EXPIRY_WARNING


def _prompt_for_code(due: Sequence[ProfileStatus]) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    names = ", ".join(profile.profile for profile in due)
    code: str = click.prompt(
        f"MFA code of {due[0].mfa_serial} (for {names})", hide_input=True, err=True
    )
    return code.strip()
