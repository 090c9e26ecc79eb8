"""`assumed init`: a first configuration from the role profiles of the AWS files."""

from __future__ import annotations

import os
from pathlib import Path

import click

from assumed.aws_files.shadowing import FRESH_SUFFIX
from assumed.cli.options import Command, Options, common_options
from assumed.text import printable_lines


@click.command(
    "init",
    cls=Command,
    examples=("assumed init", "assumed init --output -"),
)
@click.option(
    "--output",
    metavar="FILE",
    help='Output file, or "-" for standard output. [default: ~/.config/assumed/config.yaml]',
)
@click.option(
    "--suffix",
    metavar="TEXT",
    default=FRESH_SUFFIX,
    show_default=True,
    help="Suffix for the names of the new profiles.",
)
@common_options()
def command(options: Options, output: str | None, suffix: str) -> None:
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
