"""`assumed bugreport`: what the template of a bug report asks for."""

from __future__ import annotations

import os

import click

from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.errors import AssumedError
from assumed.models import Status


@click.command("bugreport", cls=Command, examples=("assumed bugreport", "assumed bugreport --arns"))
@click.option("--arns", "with_arns", is_flag=True, help="Print ARNs and account IDs as they are.")
@common_options()
def command(options: Options, *, with_arns: bool) -> None:
    """Print what a bug report needs, without secrets.

    Prints versions, the platform, the service, the keys of the configuration, the status and the
    last 200 events of the journal. ARNs, account IDs and access key IDs are hidden. Profile names
    are not: read the report before you publish it.
    """
    from assumed.app.bug_report import bug_report  # noqa: PLC0415 - the status may need boto3

    options.configure_log()
    path = options.config_path_or_none()
    report = bug_report(os.environ, path, _status(options), with_arns=with_arns)
    click.echo(report)


def _status(options: Options) -> Status | None:
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

    try:
        daemon = connect_to_daemon(options)
        if daemon is not None:
            return daemon.status()
        return Standalone(options.config_path(), os.environ).status(())
    except AssumedError:
        return None
