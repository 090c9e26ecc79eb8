"""`assumed exec`: a command with credentials that stay fresh while it runs."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import click

from assumed.app.program import this_program
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options, retry_timeout_option
from assumed.cli.profile_completion import complete_profile


@click.command(
    "exec",
    cls=Command,
    examples=(
        "assumed exec deploy -- aws s3 ls",
        "assumed exec deploy --env -- ./upload.sh",
    ),
)
@click.argument("profile", shell_complete=complete_profile)
@click.argument("command_line", nargs=-1, required=True, metavar="-- CMD [ARGUMENT]...")
@click.option(
    "--env",
    "static",
    is_flag=True,
    help="Pass plain AWS_* keys of one session, which is not refreshed.",
)
@retry_timeout_option
@common_options(log_level="warning")
def command(
    options: Options,
    profile: str,
    command_line: tuple[str, ...],
    *,
    static: bool,
    timeout: timedelta,
) -> None:
    """Run a command with credentials that stay fresh.

    The AWS SDKs in CMD refresh the credentials of PROFILE themselves. CMD sees the settings of
    that profile only, and no other credentials. The daemon provides the credentials. Without a
    daemon, a background process provides them until CMD ends.

    Exits with the status of CMD; 127 if CMD is not found, 126 if it cannot be executed.
    """
    from assumed.app.exec import ExecEnvironment  # noqa: PLC0415 - boto3 is slow to import

    options.configure_log()
    daemon = connect_to_daemon(options)
    ExecEnvironment(profile, os.environ, static=static, timeout=timeout).exec(
        command_line,
        daemon=daemon,
        config_path=options.config_path() if daemon is None else None,
        program=this_program(sys.argv[0]),
        options=() if options.config is None else ("--config", str(options.config_path())),
    )
