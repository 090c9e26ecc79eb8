"""`assumed refresh`: refresh profiles now."""

from __future__ import annotations

import os

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.output import format_outcome, print_outcomes_as_json, utc_now
from assumed.cli.profile_completion import complete_profile
from assumed.cli.progress import progress

_HARD_LINKS = """\
note: the credentials file has hard links
  its other names keep the old credentials; `write: in-place` updates all of them"""


@click.command(
    "refresh", cls=Command, examples=("assumed refresh", "assumed refresh deploy --force")
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@click.option("--force", is_flag=True, help="Also refresh profiles that are not due.")
@common_options(has_json=True)
@click.pass_context
def command(
    context: click.Context,
    options: Options,
    profiles: tuple[str, ...],
    *,
    force: bool,
) -> None:
    """Refresh profiles now, all of them by default.

    Skips profiles that are not due yet. The daemon does the refresh, or this command does if no
    daemon is running. Exits with 1 if a refresh fails.
    """
    options.configure_log()
    daemon = connect_to_daemon(options)
    if daemon is not None:
        with progress(len(profiles or daemon.status().profiles)) as on_outcome:
            outcomes = daemon.refresh(profiles, force=force, on_outcome=on_outcome)
    else:
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

        standalone = Standalone(options.config_path(), os.environ)
        if standalone.loses_hard_links:
            click.echo(_HARD_LINKS, err=True)
        with progress(len(profiles or standalone.enabled)) as on_outcome:
            outcomes = standalone.refresh(profiles, force=force, on_outcome=on_outcome)
    now = utc_now()
    if options.as_json:
        print_outcomes_as_json(outcomes)
        context.exit(0 if all(outcome.ok for outcome in outcomes) else 1)
    for outcome in outcomes:
        if outcome.ok:
            options.echo(format_outcome(outcome, now=now))
        else:
            click.echo(format_outcome(outcome, now=now), err=True)
    context.exit(0 if all(outcome.ok for outcome in outcomes) else 1)
