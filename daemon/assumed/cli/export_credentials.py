"""`assumed export-credentials`, where `delivery.quick` leaves something to do."""

from __future__ import annotations

import os
from datetime import timedelta

import click

from assumed.cli.completion import complete_profile
from assumed.cli.options import Options, common_options
from assumed.fastpath.formats import FORMATS, format_credentials
from assumed.fastpath.main import FRESH_SECONDS, CommandFailedError, export_credentials


@click.command("export-credentials")
@click.option(
    "--profile",
    metavar="NAME",
    required=True,
    shell_complete=complete_profile,
    help="Whose credentials.",
)
@click.option(
    "--format",
    "shape",
    type=click.Choice(list(FORMATS)),
    default="process",
    show_default=True,
    help="What is to read them: a credential_process of the AWS SDKs, or a shell.",
)
@common_options
@click.pass_context
def command(context: click.Context, options: Options, profile: str, shape: str) -> None:
    """Print a profile's credentials, refreshed first where they are about to expire.

    The credentials file has them, or else the daemon; where none runs, this command assumes the
    role. Names and formats are those of `aws configure export-credentials`.

    Example: assumed export-credentials --profile deploy --format env
    """
    options.configure_log(level="error")
    try:
        config = str(options.config) if options.config else None
        text = export_credentials(profile, shape, config=config)
    except CommandFailedError as error:
        click.echo(f"assumed: {error.message}\n  {error.hint}", err=True)
        context.exit(error.status)
    if text is None:
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is paid for where it is used
        from assumed.server.serialization import credentials_to_json  # noqa: PLC0415

        credentials, failure = Standalone(options.config_path(), os.environ).credentials(
            profile, min_left=timedelta(seconds=FRESH_SECONDS)
        )
        if failure is not None:
            click.echo(
                f"assumed: profile {profile}: {failure.message}\n  {failure.hint}\n"
                "  what is left of the session before is printed",
                err=True,
            )
        text = format_credentials(credentials_to_json(credentials), shape)
    click.echo(text, nl=False)
