"""`assumed wait`: before a long job, until its credentials are there."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta

import click

from assumed.app.wait import wait
from assumed.cli.completion import complete_profile
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Options, common_options, duration
from assumed.cli.output import utc_now, waited_line
from assumed.clock import SystemClock
from assumed.models import Outcome


@click.command("wait")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@click.option(
    "--min-left",
    metavar="DURATION",
    callback=duration,
    help="How much has to be left of each session; where none is given, it is not to be due.",
)
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=duration,
    default="60s",
    show_default=True,
    help="When to give up.",
)
@common_options
@click.pass_context
def command(
    context: click.Context,
    options: Options,
    profiles: tuple[str, ...],
    *,
    min_left: timedelta | None,
    timeout: timedelta,
) -> None:
    """Return when profiles are valid, all of them where none is named; refresh those that are not.

    The running daemon does it; where none runs, this command does. It exits with 1 where a profile
    is not valid for long enough in time.

    Example: assumed wait deploy --min-left 45m && ./nightly-build
    """
    options.configure_log(level="error")

    def ask(within: timedelta) -> Sequence[Outcome]:
        daemon = connect_to_daemon(options)
        if daemon is not None:
            return daemon.refresh(profiles, force=False, min_left=min_left, timeout=within)
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is paid for where it is used

        once = Standalone(options.config_path(), os.environ)
        chosen = profiles or once.enabled
        return once.refresh(chosen, force=False, min_left=min_left, timeout=within)

    waited = wait(ask, clock=SystemClock(), sleep=time.sleep, min_left=min_left, timeout=timeout)
    now = utc_now()
    for outcome in waited.outcomes:
        click.echo(waited_line(outcome, now=now), err=not outcome.ok)
    context.exit(0 if waited.is_done else 1)
