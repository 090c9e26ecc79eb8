"""`assumed check`: every mistake, before it matters."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from assumed.cli.options import Options, common_options
from assumed.cli.output import finding_lines, live_check_lines
from assumed.cli.progress import progress

if TYPE_CHECKING:
    from assumed.app.live_check import LiveCheck


@click.command("check")
@click.option("--live", is_flag=True, help="Assume each role: who asks, who it becomes.")
@common_options
@click.pass_context
def command(context: click.Context, options: Options, *, live: bool) -> None:
    """Read everything and call nothing: print each mistake with its file, line and mend.

    Example: assumed check --live
    """
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is paid for where it is used

    options.configure_log(level="error")
    path = options.config_path()
    once = Standalone(path, os.environ)
    findings = once.clashes(os.environ)
    for finding in findings:
        click.echo(finding_lines(finding), err=True)
    checks: tuple[LiveCheck, ...] = ()
    if live:
        with progress(len(once.enabled)) as told:
            checks = once.check_live(told)
    for check in checks:
        click.echo(live_check_lines(check), err=not check.outcome.ok)
    count = len(once.configuration.profiles)
    click.echo(f"{path}: {count} profile{'' if count == 1 else 's'}, no mistakes in the file")
    clashes = any(not finding.is_note for finding in findings)
    failed = clashes or not all(check.outcome.ok for check in checks)
    context.exit(1 if failed else 0)
