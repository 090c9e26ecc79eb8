"""`assumed exec`: a command whose credentials stay fresh for as long as it runs."""

from __future__ import annotations

import os
import sys

import click

from assumed.app.program import this_program
from assumed.cli.completion import complete_profile
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Options, common_options


@click.command("exec")
@click.argument("profile", shell_complete=complete_profile)
@click.argument("command_line", nargs=-1, required=True, metavar="-- CMD [ARGUMENT]...")
@click.option(
    "--env", "static", is_flag=True, help="Plain variables, good for one session: never refreshed."
)
@common_options
def command(options: Options, profile: str, command_line: tuple[str, ...], *, static: bool) -> None:
    """Run CMD with credentials of PROFILE that its AWS SDKs refresh by themselves.

    It finds the settings of that profile and no other, and no other credentials. The running
    daemon serves it; where none runs, a process beside it does until it ends. The exit status is
    that of CMD; 127 where there is no such command, 126 where it can't be executed.

    Example: assumed exec deploy -- aws s3 ls
    """
    from assumed.app.exec import ExecEnvironment  # noqa: PLC0415 - boto3 is slow

    options.configure_log(level="warning")
    daemon = connect_to_daemon(options)
    ExecEnvironment(profile, os.environ, static=static).exec(
        command_line,
        daemon=daemon,
        config_path=options.config_path() if daemon is None else None,
        program=this_program(sys.argv[0]),
        options=() if options.config is None else ("--config", str(options.config_path())),
    )
