"""`assumed service`: the daemon as a service of systemd."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from assumed.app.program import this_program
from assumed.cli import status
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Options, common_options
from assumed.cli.output import printable_lines
from assumed.config import loader
from assumed.errors import AlreadyRunningError, ConfigurationError, UsageError
from assumed.paths import user_name
from assumed.platform.systemd.installation import SystemdService, system_service, user_service
from assumed.platform.systemd.linger import disable_linger, enable_linger, is_lingering
from assumed.platform.systemd.target_user import TargetUser
from assumed.platform.systemd.unit_file import SYSTEM_UNIT, USER_UNIT, unit_text

_PACKAGE = Path(__file__).parents[1]
_system_option = click.option(
    "--system",
    "user",
    metavar="USER",
    help="As root: a unit of the whole machine for this user, from boot on.",
)


@click.group("service")
def command() -> None:
    """Have systemd keep the daemon running, as the user who asks for it.

    Example: assumed service install
    """


@command.command("install")
@_system_option
@click.option(
    "--linger",
    "also_linger",
    is_flag=True,
    help="Run from boot on, and on after logout (loginctl enable-linger).",
)
@click.option("--print", "only_print", is_flag=True, help="Print the unit, and do nothing.")
@common_options
@click.pass_context
def install(
    context: click.Context,
    options: Options,
    user: str | None,
    *,
    also_linger: bool,
    only_print: bool,
) -> None:
    """Write the unit of this installation, start it now and from now on, and show its status.

    What is there already, and is the same, stays; the daemon is started anew, which costs nothing.

    Example: assumed service install --linger
    """
    options.configure_log(level="error")
    if user is not None and (also_linger or options.config is not None):
        raise UsageError(
            "--system can't go with --linger or --config",
            hint="that unit runs from boot on anyway, and uses the configuration of its user, or "
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
    account.require_program(program, [Path(sys.prefix), Path(sys.base_prefix), _PACKAGE])
    account.require_configuration(program)
    _put(service, unit_text(SYSTEM_UNIT, [*program, "run"]))
    _start(service)
    shown = account.run([*program, "status"])
    # It is a process of theirs that has printed it, onto root's terminal.
    for text, is_error in ((shown.stdout, False), (shown.stderr, True)):
        if text:
            click.echo(printable_lines(text), err=is_error)
    context.exit(shown.returncode)


@command.command("uninstall")
@_system_option
@common_options
def uninstall(options: Options, user: str | None) -> None:
    """Undo what `install` did: stop the daemon, and remove the unit. Credentials stay.

    Example: assumed service uninstall
    """
    options.configure_log(level="error")
    service = user_service(os.environ) if user is None else system_service(user)
    if service.uninstall():
        click.echo(f"{service.unit}: stopped and removed")
        if service.file.exists():
            click.echo(f"{service.file}: stays, for the instances of others")
        click.echo("the credentials stay: `assumed logout` removes them", err=True)
    else:
        click.echo(f"{service.file} is not there: nothing to remove")
    if user is None and disable_linger(user_name(), os.environ):
        click.echo("lingering: off again")


def _install_for_me(options: Options, program: list[str], *, also_linger: bool) -> None:
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is paid for where it is used

    Standalone(options.config_path(), os.environ)
    service = user_service(os.environ)
    _require_no_other_daemon(options, service)
    _put(service, unit_text(USER_UNIT, [*program, *_run_arguments(options)]))
    # Before it starts: one of these may be why it can't.
    _tell_what_is_unseen(service)
    _start(service)
    me = user_name()
    if also_linger:
        new = enable_linger(me, os.environ)
        click.echo(f"lingering: {'on' if new else 'was on already'}; it runs from boot on")
    if not is_lingering(me):
        click.echo("it ends when you log out; to have it run on: --linger", err=True)


def _require_no_other_daemon(options: Options, service: SystemdService) -> None:
    """One that somebody started by hand holds the file, and the service could not start."""
    daemon = connect_to_daemon(options)
    told = daemon.status().daemon if daemon is not None else None
    if told is not None and told.pid != service.main_pid():
        raise AlreadyRunningError(
            f"a daemon runs already, with process id {told.pid}, and not as {service.unit}",
            hint=f"stop it (`kill {told.pid}`) and try again; nothing was installed",
        )


def _put(service: SystemdService, text: str) -> None:
    is_new = service.install(text)
    click.echo(f"{service.file}: {'written' if is_new else 'is there already, and the same'}")


def _tell_what_is_unseen(service: SystemdService) -> None:
    if unseen := service.missing_variables(os.environ):
        click.echo(
            f"set in this shell, and unknown to the service: {', '.join(unseen)}; where it needs "
            f"them, `{service.edit_command()}` takes lines such as\n"
            f"  [Service]\n  Environment={unseen[0]}=…\n"
            f"and `{service.restart_command()}`",
            err=True,
        )


def _start(service: SystemdService) -> None:
    service.start()
    click.echo(f"{service.unit}: started, now and from now on")


def _run_arguments(options: Options) -> list[str]:
    """Return `run`, and which configuration where the service would not find it by itself."""
    path = options.config_path_or_none()
    try:
        found = loader.find(None, {})
    except ConfigurationError:
        found = None
    return ["run"] if path in {None, found} else ["run", "--config", str(path)]
