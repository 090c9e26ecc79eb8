"""`assumed init`: a first configuration, from the role profiles that are there already."""

from __future__ import annotations

import os
from pathlib import Path

import click

from assumed.aws_files.shadowing import FRESH_SUFFIX
from assumed.cli.options import Options, common_options
from assumed.cli.output import printable_lines


@click.command("init")
@click.option(
    "--output",
    metavar="FILE",
    help="Where to write it; - prints it. The first place where a configuration is looked for.",
)
@click.option(
    "--suffix",
    metavar="TEXT",
    default=FRESH_SUFFIX,
    show_default=True,
    help="What stands behind a profile's name in the name that is kept fresh.",
)
@common_options
def command(options: Options, output: str | None, suffix: str) -> None:
    """Write a first configuration from the role profiles of the AWS files; overwrite nothing.

    Example: assumed init
    """
    from assumed.app.init.command import (  # noqa: PLC0415 - botocore is paid for where it is used
        default_path,
        generate_from_aws_files,
        write_new_config,
    )

    options.configure_log(level="error")
    generated = generate_from_aws_files(os.environ, suffix=suffix)
    for each in generated.skipped:
        text = f"{each.place}: profile {each.profile} is skipped: {each.reason}"
        click.echo(printable_lines(text), err=True)
    if output == "-":
        click.echo(generated.text, nl=False)
        return
    named = Path(output) if output is not None else options.config
    path = default_path(named, os.environ)
    distrusted = write_new_config(path, generated.text)
    for name, profile in generated.profiles.items():
        click.echo(printable_lines(f"profile {profile}: from now on --profile {name}"))
    if distrusted is not None:
        click.echo(f"{path} will not be read as it is: {distrusted}", err=True)
    chosen = f" --config {path}" if path != default_path(None, os.environ) else ""
    click.echo(
        f"{path}: written; read it, and see whether it works: `assumed check --live{chosen}`"
    )
