"""`assumed status`: what is fresh, until when, and what is wrong."""

from __future__ import annotations

import json
import os
import sys

import click

from assumed.cli.completion import complete_profile
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Options, common_options
from assumed.cli.output import utc_now
from assumed.cli.status_table import TROUBLE, print_status
from assumed.fastpath.main import STATUS_FIELDS
from assumed.models import Status
from assumed.server.serialization import status_to_json


@click.command("status")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.option(
    "--watch",
    is_flag=True,
    help="Draw it anew each second, until q or Ctrl-C; with --json, print a line at each change.",
)
@click.option(
    "--format",
    "template",
    metavar="TEXT",
    help="Print a line for each, such as '{profile} {minutes_left}m', for a prompt; "
    f"fields: {', '.join(STATUS_FIELDS)}.",
)
@common_options
def command(
    options: Options,
    profiles: tuple[str, ...],
    *,
    as_json: bool,
    watch: bool,
    template: str | None,
) -> int:
    """Show each profile's state; exit with 1 if one is failing, expired or needs a login.

    The running daemon tells it; where none runs, the credentials file does.

    Example: assumed status --json
    """
    if template is not None:
        # What is well-formed is answered before click is imported.
        raise click.UsageError("--format takes a text, and can't go with --json or --watch")
    options.configure_log(level="error")

    def look() -> Status:
        return _look(options, profiles)

    if watch:
        from assumed.cli import status_watch  # noqa: PLC0415 - rich is paid for where it is used

        if as_json:
            status_watch.stream(look)
        elif not sys.stdout.isatty():
            raise click.UsageError("--watch draws on a terminal; elsewhere: --watch --json")
        else:
            status_watch.draw(look)
        return 0
    status = look()
    if as_json:
        click.echo(json.dumps(status_to_json(status), indent=2))
    else:
        print_status(status, now=utc_now(), is_whole=bool(profiles))
    return int(any(profile.state in TROUBLE for profile in status.profiles))


def _look(options: Options, profiles: tuple[str, ...]) -> Status:
    daemon = connect_to_daemon(options)
    if daemon is not None:
        return daemon.status(profiles)
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is paid for where it is used

    return Standalone(options.config_path(), os.environ).status(profiles)
