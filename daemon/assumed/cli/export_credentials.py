"""`assumed export-credentials`, when `assumed.fastpath` cannot answer by itself."""

from __future__ import annotations

import os
from datetime import timedelta

import click

from assumed.cli.completion import complete_profile
from assumed.cli.options import Command, Options, common_options
from assumed.cli.output import format_failure
from assumed.fastpath.formats import FORMATS, format_credentials
from assumed.fastpath.main import FRESH_SECONDS, CommandFailedError, export_credentials


@click.command(
    "export-credentials",
    cls=Command,
    examples=(
        "assumed export-credentials --profile deploy",
        'eval "$(assumed export-credentials --profile deploy --format env)"',
    ),
)
@click.option(
    "--profile",
    metavar="NAME",
    required=True,
    shell_complete=complete_profile,
    help="Profile whose credentials to print.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(list(FORMATS)),
    default="process",
    show_default=True,
    help="Output for a credential_process of an AWS SDK, or for a shell.",
)
@common_options()
@click.pass_context
def command(context: click.Context, options: Options, profile: str, output_format: str) -> None:
    """Print credentials for a credential_process or a shell.

    Prints them from the file or the daemon. Refreshes credentials that are about to expire; if no
    daemon is running, this command assumes the role itself. Options and formats are those of
    `aws configure export-credentials`.
    """
    options.configure_log()
    config = str(options.config) if options.config else None
    try:
        text = export_credentials(profile, output_format, config=config)
    except CommandFailedError as error:
        click.echo(error.text, err=True)
        context.exit(error.status)
    if text is None:
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import
        from assumed.server.serialization import credentials_to_json  # noqa: PLC0415

        credentials, failure = Standalone(options.config_path(), os.environ).credentials(
            profile, min_left=timedelta(seconds=FRESH_SECONDS)
        )
        if failure is not None:
            click.echo(
                f"{format_failure(profile, failure)}\n"
                "  the previous session is still valid, and its credentials are printed",
                err=True,
            )
        text = format_credentials(credentials_to_json(credentials), output_format)
    click.echo(text, nl=False)
