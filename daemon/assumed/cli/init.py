"""`assumed init`: a first configuration from the role profiles of the AWS files."""

from __future__ import annotations

import os
from pathlib import Path

import click

from assumed.aws_files.shadowing import FRESH_SUFFIX
from assumed.cli.adopt import carry_out, confirm_changes
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.errors import NoRoleProfilesError, UsageError
from assumed.text import printable_lines


@click.command(
    "init",
    cls=Command,
    examples=("assumed init", "assumed init --adopt", "assumed init --output -"),
)
@click.option(
    "--output",
    metavar="FILE",
    help='Output file, or "-" for standard output. [default: the file of --config or '
    "$ASSUMED_CONFIG, or else ~/.config/assumed/config.yaml]",
)
@click.option(
    "--suffix",
    metavar="TEXT",
    default=FRESH_SUFFIX,
    show_default=True,
    help="Suffix for the names of the new profiles.",
)
@click.option("--adopt", is_flag=True, help="Keep the names: adopt every role profile.")
@click.option("--yes", is_flag=True, help="With --adopt: do not ask for confirmation.")
@common_options(config_help="Same as --output, which takes precedence.")
def command(options: Options, output: str | None, suffix: str, *, adopt: bool, yes: bool) -> None:
    """Write a first configuration from the AWS files.

    Finds the role profiles of the AWS config file and defines a profile for each. Never
    overwrites a file.
    """
    from assumed.app.init.command import (  # noqa: PLC0415 - botocore is slow to import
        default_path,
        generate_from_aws_files,
        write_new_config,
    )

    options.configure_log()
    if adopt:
        if output == "-":
            raise UsageError(
                "--adopt changes files, and --output - prints the configuration",
                hint="leave one of the two options out",
            )
        path = default_path(Path(output) if output is not None else options.config, os.environ)
        click.get_current_context().exit(_adopt_all(options, path, yes=yes))
    generated = generate_from_aws_files(os.environ, suffix=suffix)
    for skipped in generated.skipped:
        text = f"{skipped.place}: profile {skipped.profile} is skipped: {skipped.reason}"
        click.echo(printable_lines(text), err=True)
    if output == "-":
        click.echo(generated.text, nl=False)
        return
    path = default_path(Path(output) if output is not None else options.config, os.environ)
    insecure = write_new_config(path, generated.text)
    for name, profile in generated.profiles.items():
        click.echo(printable_lines(f"profile {profile}: use --profile {name} instead"))
    if insecure is not None:
        click.echo(f"{path}: not safe to read: {insecure}", err=True)
    chosen = f" --config {path}" if path != default_path(None, os.environ) else ""
    click.echo(f"{path}: written; review it, then test it with `assumed check --live{chosen}`")


def _adopt_all(options: Options, path: Path, *, yes: bool) -> int:
    from assumed.app.adopt import Adoption  # noqa: PLC0415 - botocore is slow to import

    if path.exists():
        raise UsageError(
            f"{path} already exists; `init` does not overwrite it",
            hint="`assumed adopt PROFILE` adds profiles to it",
        )
    adoption = Adoption(path, os.environ)
    names, skipped = adoption.candidates()
    for name, reason in skipped.items():
        click.echo(printable_lines(f"profile {name} is skipped: {reason}"), err=True)
    if not names:
        raise NoRoleProfilesError(
            "there is no role profile to adopt in the AWS files",
            hint="`assumed init` gives role profiles a second name",
        )
    plan = adoption.plan(names)
    confirm_changes(plan, yes=yes)
    return carry_out(adoption, plan, connect_to_daemon(options))
