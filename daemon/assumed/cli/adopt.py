"""`assumed adopt`: let a role profile of the AWS files keep its name."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Options, common_options
from assumed.cli.output import outcome_line, print_error, printable_lines, utc_now
from assumed.errors import UsageError

if TYPE_CHECKING:
    from assumed.app.adopt import AdoptionPlan


@click.command("adopt")
@click.argument("profiles", nargs=-1, required=True, metavar="PROFILE...")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@common_options
@click.pass_context
def command(
    context: click.Context, options: Options, profiles: tuple[str, ...], *, yes: bool
) -> None:
    """Refresh a role profile of the AWS config file under its own name.

    Writes a definition, refreshes the session, and comments out the keys that take precedence over
    it, such as role_arn. Shows the changes first. `assumed release` reverts them.

    Example: assumed adopt deploy
    """
    from assumed.app.adopt import Adoption  # noqa: PLC0415 - boto3 is slow to import
    from assumed.app.init.command import default_path  # noqa: PLC0415 - likewise

    options.configure_log(level="error")
    path = options.config_path_or_none() or default_path(options.config, os.environ)
    daemon = connect_to_daemon(options)
    adoption = Adoption(path, os.environ)
    plan = adoption.plan(profiles)
    for name in profiles:
        if name not in plan.profiles:
            click.echo(printable_lines(f"{name}: adopted already"))
    confirm_changes(context, plan, yes=yes)
    outcomes, failures = adoption.adopt(plan, daemon)
    now = utc_now()
    for outcome in outcomes:
        click.echo(outcome_line(outcome, now=now), err=not outcome.ok)
        if outcome.profile in failures:
            print_error(failures[outcome.profile])
        if outcome.profile in failures or not outcome.ok:
            click.echo(
                f"{outcome.profile}: its role keys stay active; run `assumed adopt "
                f"{outcome.profile}` again, or `assumed release {outcome.profile}`",
                err=True,
            )
        else:
            click.echo(f"{outcome.profile}: adopted; `--profile {outcome.profile}` stays its name")
    if outcomes and daemon is None:
        click.echo(
            "no daemon is running, so the sessions expire: start it with `assumed service install`",
            err=True,
        )
    context.exit(1 if failures or not all(outcome.ok for outcome in outcomes) else 0)


def confirm_changes(context: click.Context, plan: AdoptionPlan, *, yes: bool) -> None:
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
        context.exit(1)
