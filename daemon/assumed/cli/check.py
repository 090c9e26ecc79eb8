"""`assumed check`: every problem of the configuration and the AWS files."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from assumed.cli.options import Command, Options, common_options, retry_timeout_option
from assumed.cli.output import format_finding, format_live_check
from assumed.cli.progress import progress
from assumed.errors import ConfigurationError, InvalidConfigurationError

if TYPE_CHECKING:
    from assumed.app.live_check import LiveCheck


@click.command("check", cls=Command, examples=("assumed check", "assumed check --live"))
@click.option("--live", is_flag=True, help="Also assume each role once, and store nothing.")
@retry_timeout_option
@common_options()
@click.pass_context
def command(context: click.Context, options: Options, *, live: bool, timeout: timedelta) -> None:
    """Report every problem with its location and a fix.

    Checks the configuration, and whether AWS tools use the credentials that assumed writes. Without
    --live, sends no request to AWS. With --live, also shows for each role which identity assumes it
    and for how long the session is valid, or why the call failed.
    """
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

    options.configure_log()
    path = options.config_path()
    try:
        standalone = Standalone(path, os.environ)
    except InvalidConfigurationError as error:
        raise ConfigurationError(
            error.problems, hint="fix the file, then run this command again"
        ) from None
    findings = standalone.clashes(os.environ)
    for finding in findings:
        click.echo(format_finding(finding), err=True)
    checks: tuple[LiveCheck, ...] = ()
    if live:
        with progress(len(standalone.enabled)) as counter:
            checks = standalone.check_live(timeout=timeout, progress=counter)
    for check in checks:
        click.echo(format_live_check(check), err=not check.outcome.ok)
    count = len(standalone.configuration.profiles)
    click.echo(f"{path}: {count} profile{'' if count == 1 else 's'}, no problems in this file")
    has_problems = any(not finding.is_note for finding in findings)
    failed = has_problems or not all(check.outcome.ok for check in checks)
    context.exit(1 if failed else 0)
