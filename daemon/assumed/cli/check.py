"""`assumed check`: every problem of the configuration and the AWS files, and the verdict."""

from __future__ import annotations

import json
import os
import socket
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from assumed.cli.options import Command, Options, common_options, retry_timeout_option
from assumed.cli.other_user import show_as, system_option, typed_arguments
from assumed.cli.output import format_finding, format_live_check
from assumed.cli.profile_completion import complete_profile
from assumed.cli.progress import progress
from assumed.config import loader
from assumed.errors import ConfigurationError, InvalidConfigurationError, UsageError
from assumed.paths import user_name
from assumed.text import printable

if TYPE_CHECKING:
    from assumed.app.check import CheckReport
    from assumed.app.standalone import Standalone
    from assumed.models import Configuration


@click.command(
    "check",
    cls=Command,
    examples=("assumed check", "assumed check deploy --live", "assumed check --json"),
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profile)
@click.option("--live", is_flag=True, help="Also assume each role once, and store nothing.")
@system_option("As root: check what this user has, as this user.")
@click.option("--syntax", is_flag=True, help="Read only the configuration, not the AWS files.")
@retry_timeout_option
@common_options(has_json=True)
@click.pass_context
def command(  # noqa: PLR0913 - click passes each option
    context: click.Context,
    options: Options,
    profiles: tuple[str, ...],
    user: str | None,
    *,
    live: bool,
    syntax: bool,
    timeout: timedelta,
) -> None:
    """Report every problem with its location and a fix.

    Finds what makes a refresh certain to fail, and what makes AWS tools ignore its result. Without
    --live, sends no request to AWS. With --live, also shows for each role which identity assumes it
    and for how long the session is valid, or why the call failed. Exits with 1 if you have to act.
    With --syntax, accepts every source profile, for a file that another user or machine will use.
    """
    if user is not None:
        context.exit(show_as(user, ["check", *typed_arguments(context, without="user")]))
    if syntax and (live or options.as_json or profiles):
        raise UsageError(
            "--syntax checks the whole file, without --live, --json and PROFILE",
            hint="leave the others out",
        )
    options.configure_log()
    path = options.config_path()
    try:
        if syntax:
            _print_syntax(loader.load(path, user=user_name(), host=socket.gethostname()))
            return
        from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import

        standalone = Standalone(path, os.environ)
    except InvalidConfigurationError as error:
        if options.as_json:
            click.echo(json.dumps({"configuration": str(path), "errors": error.problems}, indent=2))
            context.exit(error.exit_status)
        raise ConfigurationError(
            error.problems, hint="fix the file, then run this command again"
        ) from None
    report = _report(standalone, profiles, timeout=timeout if live else None)
    if options.as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        _print(report)
    context.exit(1 if report.has_problems else 0)


def _print_syntax(configuration: Configuration) -> None:
    count = len(configuration.profiles)
    profiles = "1 profile" if count == 1 else f"{count} profiles"
    click.echo(f"{configuration.path}: {profiles}, no problems in this file")


def _report(
    standalone: Standalone, profiles: tuple[str, ...], *, timeout: timedelta | None
) -> CheckReport:
    """Return what was found, with live checks if they have a timeout."""
    from assumed.app.check import CheckReport, find_problems  # noqa: PLC0415 - as Standalone

    standalone.require(profiles)
    findings = find_problems(standalone.inspect(os.environ))
    if timeout is None:
        return CheckReport.of(standalone.configuration, findings, profiles)
    chosen = profiles or standalone.enabled
    with progress(len(chosen)) as counter:
        checks = standalone.check_live(chosen, timeout=timeout, progress=counter)
    return CheckReport.of(
        standalone.configuration,
        findings,
        profiles,
        live=checks,
        clock_skew=standalone.clock_skew,
    )


def _print(report: CheckReport) -> None:
    for finding in report.findings:
        symbol = _symbol("!", "yellow") if finding.is_note else _symbol("✘", "red")
        click.echo(f"{symbol}{format_finding(finding)}", err=True)
    for check in report.live:
        symbol = _symbol("✔", "green") if check.outcome.ok else _symbol("✘", "red")
        click.echo(f"{symbol}{format_live_check(check)}", err=not check.outcome.ok)
    if report.clock_warning is not None:
        click.echo(f"{_symbol('!', 'yellow')}{report.clock_warning}", err=True)
    if sys.stdout.isatty() and not report.live:
        for name in report.profiles:
            symbol = _symbol("✔", "green") if report.works(name) else _symbol("✘", "red")
            click.echo(f"{symbol}{printable(name)}")
    click.echo(f"checked {report.path}")
    click.echo(report.summary)


def _symbol(symbol: str, colour: str) -> str:
    """Return a coloured symbol for a terminal that can show it; else nothing."""
    if not sys.stdout.isatty():
        return ""
    try:
        symbol.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        symbol = {"✔": "+", "✘": "x"}.get(symbol, symbol)
    return click.style(f"{symbol} ", fg=None if os.environ.get("NO_COLOR") else colour)
