"""`assumed status`: what is fresh, until when, and what is wrong."""

from __future__ import annotations

import json
import os

import click

from assumed.cli.options import Options, common_options
from assumed.cli.output import TROUBLE, print_status, utc_now
from assumed.cli.reach import daemon_of
from assumed.delivery.quick import STATUS_FIELDS
from assumed.delivery.shapes import status_to_json


@click.command("status")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.option(
    "--format",
    "template",
    metavar="TEXT",
    help="Print a line for each, such as '{profile} {minutes_left}m', for a prompt; "
    f"fields: {', '.join(STATUS_FIELDS)}.",
)
@common_options
@click.pass_context
def command(
    context: click.Context,
    options: Options,
    profiles: tuple[str, ...],
    *,
    as_json: bool,
    template: str | None,
) -> None:
    """Show each profile's state; exit with 1 if one is failing, expired or needs a login.

    The running daemon tells it; where none runs, the credentials file does.

    Example: assumed status --json
    """
    if template is not None:
        # What is well-formed is answered before click is imported.
        raise click.UsageError("--format takes a text, and can't go with --json")
    options.configure_log(level="error")
    daemon = daemon_of(options)
    if daemon is not None:
        status = daemon.status(profiles)
    else:
        from assumed.daemon.once import Once  # noqa: PLC0415 - boto3 is paid for where it is used

        status = Once(options.config_path(), os.environ).status(profiles)
    if as_json:
        click.echo(json.dumps(status_to_json(status), indent=2))
    else:
        print_status(status, now=utc_now())
    context.exit(1 if any(profile.state in TROUBLE for profile in status.profiles) else 0)
