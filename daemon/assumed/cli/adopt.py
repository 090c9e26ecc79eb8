"""`assumed adopt`: let a role profile of the AWS files keep its name."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.cli.output import format_outcome, print_error, utc_now
from assumed.errors import UsageError
from assumed.text import printable_lines

if TYPE_CHECKING:
    from assumed.app.adopt import Adoption, AdoptionPlan
    from assumed.client.api_client import DaemonClient


@click.command(
    "adopt", cls=Command, examples=("assumed adopt deploy", "assumed adopt deploy audit --yes")
)
@click.argument("profiles", nargs=-1, required=True, metavar="PROFILE...")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@common_options()
@click.pass_context
def command(
    context: click.Context, options: Options, profiles: tuple[str, ...], *, yes: bool
) -> None:
    """Refresh role profiles under their own names.

    Writes a definition, refreshes the session, and comments out the keys that take precedence over
    it, such as role_arn. Shows the changes first. `assumed release` reverts them.
    """
    from assumed.app.adopt import Adoption  # noqa: PLC0415 - boto3 is slow to import
    from assumed.app.init.command import default_path  # noqa: PLC0415 - likewise

    options.configure_log()
    path = options.config_path_or_none() or default_path(options.config, os.environ)
    daemon = connect_to_daemon(options)
    adoption = Adoption(path, os.environ)
    plan = adoption.plan(profiles)
    for name in profiles:
        if name not in plan.profiles:
            click.echo(printable_lines(f"{name}: already adopted"))
    confirm_changes(plan, yes=yes)
    context.exit(carry_out(adoption, plan, daemon))


def carry_out(adoption: Adoption, plan: AdoptionPlan, daemon: DaemonClient | None) -> int:
    """Carry out a plan, print the result for each profile, and return the exit status."""
    outcomes, failures = adoption.adopt(plan, daemon)
    now = utc_now()
    for outcome in outcomes:
        name = outcome.profile
        click.echo(format_outcome(outcome, now=now), err=not outcome.ok)
        if outcome.ok and name not in failures:
            click.echo(printable_lines(f"{name}: adopted; use --profile {name} as before"))
            continue
        if name in failures:
            print_error(failures[name])
        text = (
            f"{name}: its role keys stay active; run `assumed adopt {name}` again, or "
            f"`assumed release {name}`"
        )
        click.echo(printable_lines(text), err=True)
    if outcomes and daemon is None:
        click.echo(
            "no daemon is running, so the sessions expire: start it with `assumed service install`",
            err=True,
        )
    return 1 if failures or not all(outcome.ok for outcome in outcomes) else 0


def confirm_changes(plan: AdoptionPlan, *, yes: bool) -> None:
    """Print what a plan changes, and ask for confirmation, or end the command.

    Raises:
        UsageError: there is no terminal to ask on, and no `--yes`.
    """
    for change in plan.changes:
        click.echo(printable_lines("\n".join(change.diff())))
    if yes or not plan.profiles:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "standard input is not a terminal, so these changes cannot be confirmed",
            hint="nothing was changed; run the command again with --yes",
        )
    if not click.confirm("Change these files?"):
        click.echo("nothing was changed", err=True)
        click.get_current_context().exit(1)
