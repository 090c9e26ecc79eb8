"""`assumed login`: the MFA code that no refresh in the background can ask for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from assumed.cli.completion import complete_profile
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Options, common_options
from assumed.cli.output import login_line, utc_now
from assumed.errors import UsageError
from assumed.models import LOGIN_EXPIRY_WARNING, ProfileState, ProfileStatus, Status

if TYPE_CHECKING:
    from assumed.app.standalone import Standalone
    from assumed.client.api_client import DaemonClient


@click.command("login")
@click.argument("profile", required=False, shell_complete=complete_profile)
@common_options
def command(options: Options, profile: str | None) -> None:
    """Give an MFA code: it starts a session from which roles are assumed for the day.

    With no PROFILE, asks for each device whose session is missing or ends within two hours. The
    code is typed unseen, or read from standard input where that is no terminal. The running daemon
    takes it and goes on at once; where none runs, the session waits for the next refresh.

    Example: assumed login deploy
    """
    options.configure_log(level="error")
    place: DaemonClient | Standalone | None = connect_to_daemon(options)
    if place is None:
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is paid for where it is used

        place = Standalone(options.config_path(), os.environ)
    names = () if profile is None else (profile,)
    started: set[datetime] = set()
    # Looked at anew after each code: many profiles hang on one session.
    while due := _due(place.status(names), is_named=profile is not None, started=started):
        login = place.log_in(due[0].profile, _ask(due))
        started.add(login.expires_at)
        click.echo(login_line(login, now=utc_now()))
    if not started:
        click.echo("nothing to do: every MFA session lasts for over two hours; name a PROFILE to")
        click.echo("start its next one now")


def _due(status: Status, *, is_named: bool, started: set[datetime]) -> Sequence[ProfileStatus]:
    """Return the profiles whose MFA session has to be started, all of one device.

    Raises:
        UsageError: there is nothing that a code could be for.
    """
    with_mfa = [
        profile
        for profile in status.profiles
        if profile.mfa_serial is not None and profile.state is not ProfileState.DISABLED
    ]
    if not with_mfa:
        raise UsageError(
            f"profile {status.profiles[0].profile} needs no MFA code: its source is "
            f"{status.profiles[0].source}"
            if is_named
            else "no profile has an mfa_serial",
            hint=next(
                (
                    profile.last_error.hint
                    for profile in status.profiles
                    if profile.state is ProfileState.NEEDS_LOGIN and profile.last_error
                ),
                "`assumed status` shows what each profile needs",
            ),
        )
    due = [
        profile
        for profile in with_mfa
        if profile.login_expires_at not in started and (is_named or _ends_soon(profile))
    ]
    return [profile for profile in due if profile.mfa_serial == due[0].mfa_serial]


def _ends_soon(profile: ProfileStatus) -> bool:
    ends_at = profile.login_expires_at
    return ends_at is None or ends_at - utc_now() <= LOGIN_EXPIRY_WARNING


def _ask(due: Sequence[ProfileStatus]) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    names = ", ".join(profile.profile for profile in due)
    code: str = click.prompt(
        f"MFA code of {due[0].mfa_serial} (for {names})", hide_input=True, err=True
    )
    return code.strip()
