"""`assumed logout`: removes what assumed wrote to the credentials file."""

from __future__ import annotations

import os

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.profile_completion import complete_profile
from assumed.text import printable_lines


@click.command("logout", cls=Command, examples=("assumed logout", "assumed logout deploy"))
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@common_options(log_level="warning")
def command(options: Options, profiles: tuple[str, ...]) -> None:
    """Remove the credentials that assumed wrote.

    Removes those of all profiles by default, and the MFA sessions too. Nothing else in the
    credentials file changes. STS sessions cannot be revoked early: a program that has read the
    credentials can use them until they expire.
    """
    from assumed.app.logout import log_out  # noqa: PLC0415 - boto3 is slow to import

    options.configure_log()
    daemon = connect_to_daemon(options)
    removed = log_out(
        options.config_path_or_none(),
        os.environ,
        profiles,
        daemon_status=daemon.status() if daemon else None,
    )
    for profile in removed:
        click.echo(printable_lines(f"{profile}: removed"))
    for profile in profiles:
        if profile not in removed:
            click.echo(f"{profile}: nothing to remove")
    if not removed and not profiles:
        click.echo("nothing to remove from the credentials file")
