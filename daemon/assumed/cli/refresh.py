"""`assumed refresh`: refresh profiles now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options, retry_timeout_option
from assumed.cli.output import format_outcome, report_clock_skew, utc_now
from assumed.cli.profile_completion import complete_profile
from assumed.cli.progress import progress
from assumed.models import Outcome

_HARD_LINKS = """\
note: the credentials file has hard links
  its other names keep the old credentials; `write: in-place` updates all of them"""


@click.command(
    "refresh", cls=Command, examples=("assumed refresh", "assumed refresh deploy --force")
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@click.option("--force", is_flag=True, help="Also refresh profiles that are not due.")
@retry_timeout_option
@common_options()
@click.pass_context
def command(
    context: click.Context,
    options: Options,
    profiles: tuple[str, ...],
    *,
    force: bool,
    timeout: timedelta,
) -> None:
    """Refresh profiles now, all of them by default.

    Skips profiles that are not due yet. The daemon does the refresh, or this command does if no
    daemon is running. Without a daemon, it retries what STS throttles and what cannot reach STS,
    until the time is up. Exits with 1 if a refresh fails.
    """
    options.configure_log()
    daemon = connect_to_daemon(options)
    skew = timedelta(0)
    if daemon is not None:
        with progress(len(profiles or daemon.status().profiles)) as counter:
            outcomes: Sequence[Outcome] = daemon.refresh(
                profiles, force=force, on_outcome=counter.on_outcome
            )
    else:
        outcomes, skew = _refresh_standalone(options, profiles, force=force, timeout=timeout)
    _print(outcomes, skew)
    context.exit(0 if all(outcome.ok for outcome in outcomes) else 1)


def _refresh_standalone(
    options: Options, profiles: tuple[str, ...], *, force: bool, timeout: timedelta
) -> tuple[Sequence[Outcome], timedelta]:
    """Return the outcomes, and how far this machine's clock is ahead of STS's."""
    from assumed.app.standalone import (  # noqa: PLC0415 - boto3 is slow to import
        RefreshInterrupted,
        Standalone,
    )

    standalone = Standalone(options.config_path(), os.environ)
    if standalone.loses_hard_links:
        click.echo(_HARD_LINKS, err=True)
    count = len(profiles or standalone.enabled)
    try:
        with progress(count) as counter:
            outcomes = standalone.refresh(profiles, force=force, timeout=timeout, progress=counter)
    except RefreshInterrupted as interrupted:
        _print(interrupted.outcomes, standalone.clock_skew)
        done = sum(outcome.ok for outcome in interrupted.outcomes)
        click.echo(f"interrupted: {done} of {count} profiles are fresh", err=True)
        raise
    return outcomes, standalone.clock_skew


def _print(outcomes: Sequence[Outcome], skew: timedelta) -> None:
    from assumed.app.shadowing import notes_about  # noqa: PLC0415 - not for the help

    report_clock_skew(skew)
    now = utc_now() - skew
    notes = notes_about([outcome.profile for outcome in outcomes if outcome.ok], os.environ)
    for outcome in outcomes:
        click.echo(format_outcome(outcome, now=now), err=not outcome.ok)
        if (note := notes.get(outcome.profile)) is not None:
            click.echo(f"  {note}", err=True)
