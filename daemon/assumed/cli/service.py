"""`assumed service`: the daemon as a systemd service."""

from __future__ import annotations

import os
import sys

import click

from assumed.app.program import installation, this_program
from assumed.cli import status
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import CommandGroup, Options, common_options
from assumed.config import loader
from assumed.errors import AlreadyRunningError, ConfigurationError, UsageError
from assumed.paths import user_name
from assumed.platform.systemd.installation import SystemdService, system_service, user_service
from assumed.platform.systemd.linger import disable_linger, enable_linger, is_lingering
from assumed.platform.systemd.target_user import TargetUser
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT, unit_text
from assumed.text import printable_lines

_system_option = click.option(
    "--system",
    "user",
    metavar="USER",
    help="As root: act on the system unit that runs as USER.",
)


@click.group(
    "service",
    cls=CommandGroup,
    subcommand_metavar="COMMAND [ARGUMENTS]",
    examples=("assumed service install", "assumed service uninstall"),
)
def command() -> None:
    """Run the daemon as a systemd service."""


@command.command(
    "install",
    examples=(
        "assumed service install --linger",
        "sudo assumed service install --system buildkite-agent",
    ),
)
@_system_option
@click.option(
    "--linger",
    "also_linger",
    is_flag=True,
    help="Start at boot and keep running after logout (loginctl enable-linger).",
)
@click.option("--print", "only_print", is_flag=True, help="Only print the unit.")
@common_options()
@click.pass_context
def install(
    context: click.Context,
    options: Options,
    user: str | None,
    *,
    also_linger: bool,
    only_print: bool,
) -> None:
    """Install and start the service, and show its status.

    Writes a systemd user unit, or with --system a system unit, and enables it. A second run
    restarts the daemon, which keeps the sessions that are still valid.
    """
    options.configure_log()
    if user is not None and (also_linger or options.config is not None):
        raise UsageError(
            "--system excludes --linger and --config",
            hint="a system unit runs from boot anyway, and uses the configuration of its user or "
            "/etc/assumed/config.yaml",
        )
    program = this_program(sys.argv[0])
    if only_print:
        arguments = ["run"] if user is not None else _run_arguments(options)
        unit = USER_UNIT if user is None else SYSTEM_UNIT
        click.echo(unit_text(unit, [*program, *arguments]), nl=False)
        return
    if user is None:
        _install_for_me(options, program, also_linger=also_linger)
        context.invoke(status.command, config=options.config)
        return
    service, account = system_service(user), TargetUser(user)
    account.require_program(program, installation())
    account.require_configuration(program)
    _write_unit(service, unit_text(SYSTEM_UNIT, [*program, "run"]))
    _start(service)
    status_output = account.run([*program, "status"])
    # The other user's process must not control root's terminal.
    for text, is_error in ((status_output.stdout, False), (status_output.stderr, True)):
        if text:
            click.echo(printable_lines(text), err=is_error)
    context.exit(status_output.returncode)


@command.command("uninstall", examples=("assumed service uninstall",))
@_system_option
@common_options(config_help=None)
def uninstall(options: Options, user: str | None) -> None:
    """Stop and remove the service.

    The credentials stay in the credentials file: `assumed logout` removes them.
    """
    options.configure_log()
    service = user_service(os.environ) if user is None else system_service(user)
    if service.uninstall():
        click.echo(f"{service.unit}: stopped and removed")
        if service.file.exists():
            click.echo(f"{service.file}: kept, since other users have instances of it")
        click.echo("credentials are kept; `assumed logout` removes them", err=True)
    else:
        click.echo(f"{service.file}: not installed, nothing to remove")
    if user is None and disable_linger(user_name(), os.environ):
        click.echo("lingering disabled")


def _install_for_me(options: Options, program: list[str], *, also_linger: bool) -> None:
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

    Standalone(options.config_path(), os.environ)
    service = user_service(os.environ)
    _require_no_other_daemon(options, service)
    _write_unit(service, unit_text(USER_UNIT, [*program, *_run_arguments(options)]))
    # Before the start, which one of these may prevent.
    _warn_of_missing_variables(service)
    _start(service)
    me = user_name()
    if also_linger:
        new = enable_linger(me, os.environ)
        state = "enabled" if new else "was already enabled"
        click.echo(f"lingering {state}; the service starts at boot")
    if not is_lingering(me):
        click.echo(
            "the service stops when you log out, unless you install it with --linger", err=True
        )


def _require_no_other_daemon(options: Options, service: SystemdService) -> None:
    """Check that no daemon runs but the service's: it would hold the lock that the service needs.

    Raises:
        AlreadyRunningError: one was started by hand.
    """
    client = connect_to_daemon(options)
    daemon = client.status().daemon if client is not None else None
    if daemon is not None and daemon.pid != service.main_pid():
        raise AlreadyRunningError(
            f"a daemon is running already, with process ID {daemon.pid}, but not as {service.unit}",
            hint=f"stop it (`kill {daemon.pid}`) and try again; nothing was installed",
        )


def _write_unit(service: SystemdService, text: str) -> None:
    is_new = service.install(text)
    click.echo(f"{service.file}: {'written' if is_new else 'unchanged'}")


def _warn_of_missing_variables(service: SystemdService) -> None:
    if missing := service.missing_variables(os.environ):
        click.echo(
            f"set in this shell, but not for the service: {', '.join(missing)}\n"
            f"  if the service needs them, run `{service.edit_command()}`, add lines such as\n"
            f"  [Service]\n  Environment={missing[0]}=…\n"
            f"  and run `{service.restart_command()}`",
            err=True,
        )


def _start(service: SystemdService) -> None:
    service.start()
    click.echo(f"{service.unit}: enabled and started")


def _run_arguments(options: Options) -> list[str]:
    """Return `run`, with `--config` if the service would not find the file by itself."""
    path = options.config_path_or_none()
    try:
        found = loader.find(None, {})
    except ConfigurationError:
        found = None
    return ["run"] if path in {None, found} else ["run", "--config", str(path)]
