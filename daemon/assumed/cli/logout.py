"""`assumed logout`: no credential of ours stays in the file."""

from __future__ import annotations

import os

import click

from assumed.cli.completion import complete_profile
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Options, common_options
from assumed.cli.output import printable_lines


@click.command("logout")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@common_options
def command(options: Options, profiles: tuple[str, ...]) -> None:
    """Remove from the credentials file what assumed wrote, of all profiles where none is named.

    Nothing else in the file changes. A program that has read the credentials already may use them
    until they expire: STS has no end of a session before that.

    Example: assumed logout deploy
    """
    from assumed.app.logout import log_out  # noqa: PLC0415 - boto3 is paid for where it is used

    options.configure_log(level="warning")
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
            click.echo(f"{profile}: nothing of assumed's is there")
    if not removed and not profiles:
        click.echo("nothing of assumed's is in the credentials file")
