"""`assumed release`: give an adopted profile back to the AWS files."""

from __future__ import annotations

import os

import click

from assumed.cli.adopt import confirm_changes
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.profile_completion import complete_profile
from assumed.text import printable_lines


@click.command("release", cls=Command, examples=("assumed release deploy",))
@click.argument(
    "profiles", nargs=-1, required=True, metavar="PROFILE...", shell_complete=complete_profile
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@common_options()
def command(options: Options, profiles: tuple[str, ...], *, yes: bool) -> None:
    """Give adopted profiles back to the AWS files.

    Activates the keys that `assumed adopt` commented out, byte for byte, and removes the definition
    and the refreshed keys. Shows the changes first.
    """
    from assumed.app.init.command import default_path  # noqa: PLC0415 - boto3 is slow to import
    from assumed.app.release import Release  # noqa: PLC0415 - likewise

    options.configure_log()
    path = options.config_path_or_none() or default_path(options.config, os.environ)
    daemon = connect_to_daemon(options)
    release = Release(path, os.environ)
    plan = release.plan(profiles)
    confirm_changes(plan, yes=yes)
    kept = release.release(plan, daemon)
    for name in plan.profiles:
        rest = f"; its definition in {path} stays, since `adopt` did not write it"
        click.echo(printable_lines(f"{name}: released{rest if name in kept else ''}"))
