"""`assumed wait`: wait for valid credentials, before a long job."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import timedelta

import click

from assumed.app.wait import wait
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options, parse_duration_option
from assumed.cli.output import format_wait_outcome, report_clock_skew, utc_now
from assumed.cli.profile_completion import complete_profile
from assumed.clock import SystemClock
from assumed.models import Outcome


@click.command(
    "wait",
    cls=Command,
    examples=("assumed wait", "assumed wait deploy --min-left 45m && ./nightly-build"),
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@click.option(
    "--min-left",
    metavar="DURATION",
    callback=parse_duration_option,
    help="Minimum remaining lifetime. [default: any session that is not due for refresh]",
)
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=parse_duration_option,
    default="60s",
    show_default=True,
    help="How long to wait.",
)
@common_options()
@click.pass_context
def command(
    context: click.Context,
    options: Options,
    profiles: tuple[str, ...],
    *,
    min_left: timedelta | None,
    timeout: timedelta,
) -> None:
    """Wait until profiles are valid, all of them by default.

    Refreshes profiles that are not valid for long enough. The daemon does the refresh, or this
    command does if no daemon is running. Exits with 1 if a profile is not valid in time.
    """
    options.configure_log()

    skew = timedelta(0)

    def refresh(time_left: timedelta) -> Sequence[Outcome]:
        nonlocal skew
        daemon = connect_to_daemon(options)
        if daemon is not None:
            return daemon.refresh(profiles, force=False, min_left=min_left, timeout=time_left)
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

        standalone = Standalone(options.config_path(), os.environ)
        chosen = profiles or standalone.enabled
        outcomes = standalone.refresh(chosen, force=False, min_left=min_left, timeout=time_left)
        skew = standalone.clock_skew
        return outcomes

    result = wait(
        refresh, clock=SystemClock(), sleep=time.sleep, min_left=min_left, timeout=timeout
    )
    report_clock_skew(skew)
    now = utc_now() - skew
    for outcome in result.outcomes:
        click.echo(format_wait_outcome(outcome, now=now), err=not outcome.ok)
    context.exit(0 if result.is_done else 1)
