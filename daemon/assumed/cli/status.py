"""`assumed status`: the state of each profile, and its last error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.other_user import run_as, show_as, system_option, typed_arguments
from assumed.cli.output import print_error, utc_now
from assumed.cli.profile_completion import complete_profile
from assumed.cli.status_table import UNHEALTHY, print_status
from assumed.errors import AssumedError
from assumed.fastpath.main import STATUS_FIELDS
from assumed.models import ProfileState, Status, StorageMode
from assumed.platform.systemd.installation import instances, require_root
from assumed.server.serialization import VERSION, status_to_json

# What no user is called.
_ALL = "*"


@click.command(
    "status",
    cls=Command,
    examples=(
        "assumed status",
        "assumed status deploy --json",
        "assumed status deploy --format '{profile} {minutes_left}m'",
        "sudo assumed status --system jenkins",
    ),
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
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
@system_option("As root: show the status of this user, read as this user.")
@click.option("--all", "user", flag_value=_ALL, help="As root: of every user with a system unit.")
@common_options(has_json=True)
def command(
    options: Options,
    profiles: tuple[str, ...],
    user: str | None,
    *,
    watch: bool,
    template: str | None,
) -> int:
    """Show the state of each profile.

    Reads from the daemon, or from the credentials file if no daemon is running. Exits with 1 if a
    profile is failing, expired or needs a login; without a daemon, also if it has no session.
    """
    if user is not None:
        if watch or (user == _ALL and profiles):
            raise click.UsageError("--system and --all exclude --watch; --all excludes PROFILE")
        arguments = ["status", *typed_arguments(click.get_current_context(), without="user")]
        if user != _ALL:
            return show_as(user, arguments)
        require_root()
        return _show_all_users_as_json(arguments) if options.as_json else _show_all_users(arguments)
    if template is not None:
        # The fast path has answered every valid use of --format.
        raise click.UsageError("--format takes a text, and excludes --json and --watch")
    options.configure_log()
    if watch:
        _watch(options, profiles)
        return 0
    status = _status(options, profiles)
    if options.as_json:
        click.echo(json.dumps(status_to_json(status), indent=2))
    else:
        print_status(
            status,
            now=utc_now(),
            show_all=bool(profiles),
            notes=_notes(status),
        )
    # Without a daemon, no one gets the session of a pending profile.
    unhealthy = UNHEALTHY if status.daemon is not None else UNHEALTHY | {ProfileState.PENDING}
    return int(any(profile.state in unhealthy for profile in status.profiles))


def _watch(options: Options, profiles: tuple[str, ...]) -> None:
    from assumed.cli import status_watch  # noqa: PLC0415 - rich is slow to import

    def read_status() -> Status:
        return _status(options, profiles)

    if options.as_json:
        status_watch.stream(read_status)
    elif not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; without one, use --watch --json")
    else:
        status_watch.watch(read_status)


def _show_all_users(arguments: Sequence[str]) -> int:
    """Run `status` for every user with a system unit; return 1 if one is not healthy."""
    exit_status = 0
    users = instances()
    for user in users:
        click.echo(f"{user}:")
        try:
            exit_status |= show_as(user, arguments) != 0
        except AssumedError as error:  # such as a user who was deleted
            print_error(error)
            exit_status = 1
    if not users:
        click.echo("no system unit of assumed is enabled or runs on this machine", err=True)
    return exit_status


def _show_all_users_as_json(arguments: Sequence[str]) -> int:
    found: dict[str, object] = {}
    exit_status = 0
    for user in instances():
        found[user] = None
        try:
            done = run_as(user, arguments)
            exit_status |= done.returncode != 0
            found[user] = json.loads(done.stdout)
        except (AssumedError, ValueError):  # the command failed, or printed something else
            exit_status = 1
    click.echo(json.dumps({"version": VERSION, "users": found}, indent=2))
    return exit_status


def _status(options: Options, profiles: tuple[str, ...]) -> Status:
    daemon = connect_to_daemon(options)
    if daemon is not None:
        return daemon.status(profiles)
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

    return Standalone(options.config_path(), os.environ).status(profiles)


def _notes(status: Status) -> list[str]:
    from assumed.app.shadowing import status_notes  # noqa: PLC0415 - reads and parses the AWS files

    valid = [
        profile.profile
        for profile in status.profiles
        if profile.state is ProfileState.VALID and profile.store == StorageMode.FILE
    ]
    return status_notes(valid, os.environ)
