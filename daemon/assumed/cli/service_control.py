"""`assumed service status`, `restart` and `logs`: the daily commands of the service."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from assumed import __version__
from assumed.app.program import this_program
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.other_user import run_as, show_as, system_option
from assumed.cli.output import utc_now
from assumed.cli.profile_completion import complete_profile
from assumed.cli.status_table import UNHEALTHY, print_status
from assumed.client.api_client import find_daemon
from assumed.errors import InvalidConfigurationError, ServiceManagerError, UsageError
from assumed.models import Status
from assumed.paths import user_name
from assumed.platform.systemd.installation import SystemdService, system_service, user_service
from assumed.platform.systemd.linger import is_lingering
from assumed.platform.systemd.target_user import TargetUser
from assumed.platform.systemd.unit_state import UnitState
from assumed.server.serialization import status_to_json
from assumed.text import printable

_system_option = system_option("As root: act on the system unit that runs as USER.")
_VERSION = 1


@click.command(
    "status",
    cls=Command,
    examples=("assumed service status", "sudo assumed service status --system jenkins"),
)
@_system_option
@common_options(config_help=None, has_json=True)
@click.pass_context
def status(context: click.Context, options: Options, user: str | None) -> None:
    """Show the service and its profiles.

    Shows the unit as systemd knows it, then the state of each profile. Exits with 1 if the service
    does not run, or if a profile is failing, expired or needs a login.
    """
    options.configure_log()
    service = _service(user)
    state = service.state()
    is_running = state.active in {"active", "reloading"}
    if options.as_json:
        profiles = _status_json(user, options) if is_running else None
        click.echo(json.dumps(_to_json(service, state, profiles), indent=2))
        context.exit(0 if profiles is not None and _is_healthy(profiles) else 1)
    for line in _describe(service, state, user):
        click.echo(line)
    if not is_running:
        click.echo(f"  {_how_to_start(service, state, user)}", err=True)
        context.exit(1)
    click.echo()
    if user is not None:
        context.exit(show_as(user, ["status"]))
    found = _status(options)
    if found is None:
        raise ServiceManagerError(
            f"{service.unit} runs, but its daemon does not listen where this command looks for it",
            hint=f"`{logs_command(user)}` shows the socket in the event daemon_started",
        )
    print_status(found, now=utc_now())
    context.exit(int(any(profile.state in UNHEALTHY for profile in found.profiles)))


@click.command(
    "restart",
    cls=Command,
    examples=("assumed service restart", "sudo assumed service restart --system jenkins"),
)
@_system_option
@common_options(config_help=None)
def restart(options: Options, user: str | None) -> None:
    """Restart the service, as after an upgrade.

    Checks the configuration first. The daemon keeps the sessions that are still valid.
    """
    options.configure_log()
    service = _service(user)
    if not service.state().is_installed:
        raise UsageError(
            f"{service.unit} is not installed", hint=f"run `assumed service install{_suffix(user)}`"
        )
    if user is not None:
        TargetUser(user).require_configuration(this_program(sys.argv[0]))
    else:
        _require_configuration()
    service.restart()
    options.echo(f"{service.unit}: restarted, version {__version__}")


@click.command(
    "logs",
    cls=Command,
    examples=("assumed service logs -f", "assumed service logs deploy"),
)
@click.argument("profile", required=False, shell_complete=complete_profile)
@click.option("-f", "--follow", is_flag=True, help="Print new events as they are logged.")
@_system_option
@common_options(config_help=None)
def logs(options: Options, profile: str | None, user: str | None, *, follow: bool) -> None:
    """Show the log of the service, of one profile if named.

    The log is in the systemd journal: this runs journalctl with the unit and the profile.
    """
    options.configure_log()
    service = _service(user)
    command = ["journalctl", f"--{'user-unit' if user is None else 'unit'}={service.unit}"]
    if follow:
        command.append("--follow")
    elif sys.stdout.isatty():
        command.append("--pager-end")
    if profile is not None:
        command.append(f"PROFILE={profile}")
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell
    except OSError as error:
        raise ServiceManagerError(
            f"journalctl: {error.strerror}", hint="journalctl is part of systemd"
        ) from error


def logs_command(user: str | None) -> str:
    """Return the command that shows the log of the service of this user, or of another one."""
    return f"assumed service logs{_suffix(user)}"


def _service(user: str | None) -> SystemdService:
    return user_service(os.environ) if user is None else system_service(TargetUser(user).name)


def _suffix(user: str | None) -> str:
    return "" if user is None else f" --system {user}"


def _status(options: Options) -> Status | None:
    daemon = connect_to_daemon(options)
    return None if daemon is None else daemon.status()


def _status_json(user: str | None, options: Options) -> dict[str, Any] | None:
    """Return what `assumed status --json` prints; None if the daemon does not answer."""
    if user is None:
        found = _status(options)
        return None if found is None else status_to_json(found)
    try:
        content = json.loads(run_as(user, ["status", "--json"]).stdout)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _is_healthy(status: dict[str, Any]) -> bool:
    try:
        return all(profile["state"] not in UNHEALTHY for profile in status["profiles"])
    except (LookupError, TypeError):  # root does not trust the output of another user
        return False


def _to_json(
    service: SystemdService, state: UnitState, status: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "unit": service.unit,
        "file": state.file or None,
        "load_state": state.load,
        "active_state": state.active,
        "sub_state": state.sub,
        "enabled": state.enabled == "enabled",
        "result": state.result,
        "pid": state.pid or None,
        "restarts": state.restarts,
        "status": status,
    }


def _describe(service: SystemdService, state: UnitState, user: str | None) -> list[str]:
    since = f" since {state.since}" if state.since else ""
    process = f", process {state.pid}" if state.pid else ""
    lines = [f"{service.unit}: {state.active} ({state.sub}){since}{process}"]
    if not state.is_installed:
        return [*lines, "  not installed"]
    lines.append(f"  unit file: {state.file}, {state.enabled or 'not enabled'}")
    if user is None and state.enabled == "enabled":
        lines.append(
            "  starts at boot"
            if is_lingering(user_name())
            else "  stops at logout; `assumed service install --linger` keeps it running"
        )
    if state.restarts:
        lines.append(f"  restarts after failures: {state.restarts}")
    if state.active == "failed":
        lines.append(f"  failed: {state.result}")
    return [printable(line) for line in lines]


def _how_to_start(service: SystemdService, state: UnitState, user: str | None) -> str:
    if not state.is_installed:
        return f"`assumed service install{_suffix(user)}` installs and starts it"
    return f"`{logs_command(user)}` shows why; `assumed service restart{_suffix(user)}` starts it"


def _require_configuration() -> None:
    """Check the configuration of the running daemon: with a wrong one, it would not start again.

    Raises:
        InvalidConfigurationError: it has errors.
    """
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

    client = find_daemon(os.environ, user_name())
    daemon = None if client is None else client.status().daemon
    if daemon is None:
        return
    try:
        Standalone(Path(daemon.config), os.environ)
    except InvalidConfigurationError as error:
        raise InvalidConfigurationError(
            error.problems, hint="fix the file, then run this command again; nothing was restarted"
        ) from None
