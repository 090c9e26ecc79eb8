"""`assumed check`: every mistake, before it matters."""

from __future__ import annotations

import os

import click

from assumed.cli.options import Options, common_options
from assumed.cli.output import live_check_line


@click.command("check")
@click.option("--live", is_flag=True, help="Assume each role, and print who it became.")
@common_options
@click.pass_context
def command(context: click.Context, options: Options, *, live: bool) -> None:
    """Read everything and call nothing: print each mistake with its file, line and mend.

    Example: assumed check --live
    """
    from assumed.daemon.once import Once  # noqa: PLC0415 - boto3 is paid for where it is used

    options.configure_log(level="error")
    path = options.config_path()
    once = Once(path, os.environ)
    shadowed = once.shadowed()
    for profile, key in shadowed.items():
        click.echo(
            f"profile {profile}: the AWS config file gives it {key}, and for that AWS tools never "
            "look at the keys that are kept fresh here\n"
            f"  take {key} out there, or give the profile another name in {path}",
            err=True,
        )
    checks = once.check_live() if live else ()
    for check in checks:
        click.echo(live_check_line(check), err=not check.outcome.ok)
    count = len(once.configuration.profiles)
    click.echo(f"{path}: {count} profile{'' if count == 1 else 's'}, no mistakes in the file")
    failed = shadowed or not all(check.outcome.ok for check in checks)
    context.exit(1 if failed else 0)
