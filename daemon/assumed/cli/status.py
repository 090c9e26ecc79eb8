"""`assumed status`: the state of each profile, and its last error."""

from __future__ import annotations

import json
import os
import sys

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.output import utc_now
from assumed.cli.profile_completion import complete_profile
from assumed.cli.status_table import UNHEALTHY, print_status
from assumed.fastpath.main import STATUS_FIELDS
from assumed.models import ProfileState, Status, StorageMode
from assumed.server.serialization import status_to_json


@click.command(
    "status",
    cls=Command,
    examples=(
        "assumed status",
        "assumed status deploy --json",
        "assumed status deploy --format '{profile} {minutes_left}m'",
    ),
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--watch",
    is_flag=True,
    help="Update every second until q or Ctrl-C; with --json, print a line for each change.",
)
@click.option(
    "--format",
    "template",
    metavar="TEXT",
    help="Print a line for each profile, such as '{profile} {minutes_left}m'. "
    f"Fields: {', '.join(STATUS_FIELDS)}.",
)
@common_options()
def command(
    options: Options,
    profiles: tuple[str, ...],
    *,
    as_json: bool,
    watch: bool,
    template: str | None,
) -> int:
    """Show the state of each profile.

    Reads from the daemon, or from the credentials file if no daemon is running. Exits with 1 if a
    profile is failing, expired or needs a login; without a daemon, also if it has no session.
    """
    if template is not None:
        # The fast path has answered every valid use of --format.
        raise click.UsageError("--format takes a text, and excludes --json and --watch")
    options.configure_log()

    def read_status() -> Status:
        return _status(options, profiles)

    if watch:
        from assumed.cli import status_watch  # noqa: PLC0415 - rich is slow to import

        if as_json:
            status_watch.stream(read_status)
        elif not sys.stdout.isatty():
            raise click.UsageError("--watch needs a terminal; without one, use --watch --json")
        else:
            status_watch.watch(read_status)
        return 0
    status = read_status()
    if as_json:
        click.echo(json.dumps(status_to_json(status), indent=2))
    else:
        print_status(
            status,
            now=utc_now(),
            show_all=bool(profiles),
            notes=_shadowing_notes(status),
        )
    # Without a daemon, no one gets the session of a pending profile.
    unhealthy = UNHEALTHY if status.daemon is not None else UNHEALTHY | {ProfileState.PENDING}
    return int(any(profile.state in unhealthy for profile in status.profiles))


def _status(options: Options, profiles: tuple[str, ...]) -> Status:
    daemon = connect_to_daemon(options)
    if daemon is not None:
        return daemon.status(profiles)
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

    return Standalone(options.config_path(), os.environ).status(profiles)


def _shadowing_notes(status: Status) -> list[str]:
    from assumed.app.shadowing import notes_about  # noqa: PLC0415 - reads and parses the AWS files

    valid = [
        profile.profile
        for profile in status.profiles
        if profile.state is ProfileState.VALID and profile.store == StorageMode.FILE
    ]
    notes = notes_about(valid, os.environ)
    return [f"{profile}: {note}" for profile, note in notes.items()]
