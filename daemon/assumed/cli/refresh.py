"""`assumed refresh`: one pass now."""

from __future__ import annotations

import os

import click

from assumed.cli.completion import complete_profile
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Options, common_options
from assumed.cli.output import outcome_line, utc_now
from assumed.cli.progress import progress


@click.command("refresh")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@click.option("--force", is_flag=True, help="Also refresh what is still fresh.")
@common_options
@click.pass_context
def command(
    context: click.Context, options: Options, profiles: tuple[str, ...], *, force: bool
) -> None:
    """Refresh profiles now, all of them where none is named; what is still fresh is left alone.

    The running daemon does it; where none runs, this command does.

    Example: assumed refresh deploy --force
    """
    options.configure_log(level="error")
    daemon = connect_to_daemon(options)
    if daemon is not None:
        with progress(len(profiles or daemon.status().profiles)) as told:
            outcomes = daemon.refresh(profiles, force=force, on_outcome=told)
    else:
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is paid for where it is used

        once = Standalone(options.config_path(), os.environ)
        with progress(len(profiles or once.enabled)) as told:
            outcomes = once.refresh(profiles, force=force, on_outcome=told)
    now = utc_now()
    for outcome in outcomes:
        click.echo(outcome_line(outcome, now=now), err=not outcome.ok)
    context.exit(0 if all(outcome.ok for outcome in outcomes) else 1)
