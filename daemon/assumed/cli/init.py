"""`assumed init`: a first configuration from the role profiles of the AWS files."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assumed import paths
from assumed.aws_files.process_profiles import SUFFIX
from assumed.aws_files.shadowing import FRESH_SUFFIX
from assumed.cli.adopt import carry_out, confirm_changes
from assumed.cli.daemon_client import connect_to_daemon
from assumed.cli.options import Command, Options, common_options
from assumed.errors import NoRoleProfilesError, UsageError
from assumed.text import printable_lines

if TYPE_CHECKING:
    from assumed.app.init.generator import GeneratedConfig


@click.command(
    "init",
    cls=Command,
    examples=(
        "assumed init",
        "assumed init --write-aws-config",
        "assumed init --adopt",
        "assumed init --output -",
    ),
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
@click.option(
    "--write-aws-config", is_flag=True, help="Append the settings of the new profiles to it."
)
@click.option(
    "--credential-process",
    is_flag=True,
    help="Also a profile NAME-live that SDKs refresh, for each.",
)
@click.option("--yes", is_flag=True, help="With --adopt: do not ask for confirmation.")
@common_options(config_help="Same as --output, which takes precedence.")
def command(options: Options, output: str | None, suffix: str, **flags: bool) -> None:
    """Write a first configuration from the AWS files.

    Finds the role profiles of the AWS config file and defines a profile for each. Shows the
    sections of that file that give the new profiles the region and the other settings of the old
    ones. Never overwrites a configuration.
    """
    from assumed.app.init.command import default_path  # noqa: PLC0415 - botocore is slow to import

    options.configure_log()
    path = default_path(Path(output) if output not in {None, "-"} else options.config, os.environ)
    write, live = flags["write_aws_config"], flags["credential_process"]
    if flags["adopt"]:
        if live:
            raise UsageError(
                "--adopt writes each definition by itself, without --credential-process",
                hint="add `credential_process: true` under `defaults` of the configuration later",
            )
        if output == "-":
            raise UsageError(
                "--adopt changes files, and --output - prints the configuration",
                hint="leave one of the two options out",
            )
        if write:
            raise UsageError(
                "--adopt keeps the profiles and their settings, so --write-aws-config has nothing "
                "to add",
                hint="leave one of the two options out",
            )
        click.get_current_context().exit(_adopt_all(options, path, yes=flags["yes"]))
    if output == "-":
        _print(suffix, write=write, live=live)
        return
    profiles = _write_configuration(path, suffix, or_keep=write, live=live)
    if profiles:
        again = "" if suffix == FRESH_SUFFIX else f" --suffix {shlex.quote(suffix)}"
        chosen = "" if path == default_path(None, os.environ) else f" --config {path}"
        _settle_blocks(profiles, f"{again}{chosen}", write=write)


def _print(suffix: str, *, write: bool, live: bool) -> None:
    """Print the configuration on standard output, and everything else on standard error."""
    from assumed.app.init.command import (  # noqa: PLC0415 - botocore is slow to import
        generate_from_aws_files,
        generate_skeleton,
        with_process_profiles,
    )

    try:
        generated = generate_from_aws_files(os.environ, suffix=suffix)
    except NoRoleProfilesError as error:
        click.echo(printable_lines(error.message), err=True)
        click.echo(generate_skeleton(os.environ), nl=False)
        return
    _report_skipped(generated)
    click.echo((with_process_profiles(generated) if live else generated).text, nl=False)
    _settle_blocks(generated.profiles, "", write=write, is_printed=True)


def _write_configuration(
    path: Path, suffix: str, *, or_keep: bool, live: bool
) -> Mapping[str, str]:
    """Write the configuration; return the names of its definitions, and their profiles.

    Args:
        path: of the configuration.
        suffix: of the names.
        or_keep: keep a configuration that exists, and return those of its definitions that this
            command would propose.
        live: with a profile NAME-live for each.
    """
    from assumed.app.init.command import (  # noqa: PLC0415 - botocore is slow to import
        default_path,
        defined_profiles,
        generate_from_aws_files,
        with_process_profiles,
        write_new_config,
    )

    try:
        generated = generate_from_aws_files(os.environ, suffix=suffix)
    except NoRoleProfilesError as error:
        _offer_skeleton(path, error)
        return {}
    _report_skipped(generated)
    if live:
        generated = with_process_profiles(generated)
    profiles = generated.profiles
    if or_keep and path.exists():
        defined = defined_profiles(path)
        click.echo(f"{path} already exists, and is not changed")
        return {name: profile for name, profile in profiles.items() if name in defined}
    insecure = write_new_config(path, generated.text)
    for name, profile in profiles.items():
        longer = f", or {name}{SUFFIX} for programs that run longer" if live else ""
        click.echo(printable_lines(f"profile {profile}: use --profile {name} instead{longer}"))
    if insecure is not None:
        click.echo(f"{path}: not safe to read: {insecure}", err=True)
    chosen = f" --config {path}" if path != default_path(None, os.environ) else ""
    click.echo(f"{path}: written; review it, then test it with `assumed check --live{chosen}`")
    return profiles


def _offer_skeleton(path: Path, error: NoRoleProfilesError) -> None:
    """Write a configuration to complete, if the user wants one; otherwise raise the error."""
    from assumed.app.init.command import (  # noqa: PLC0415 - botocore is slow to import
        generate_skeleton,
        write_new_config,
    )

    if not sys.stdin.isatty() or path.exists():
        raise error
    click.echo(printable_lines(error.message), err=True)
    if not click.confirm(f"Write a configuration to complete to {path}?"):
        raise error
    write_new_config(path, generate_skeleton(os.environ))
    click.echo(f"{path}: written; complete it, then test it with `assumed check --live`")


def _report_skipped(generated: GeneratedConfig) -> None:
    for skipped in generated.skipped:
        text = f"{skipped.place}: profile {skipped.profile} is skipped: {skipped.reason}"
        click.echo(printable_lines(text), err=True)
    for line in generated.ignored:
        click.echo(printable_lines(line), err=True)


def _settle_blocks(
    profiles: Mapping[str, str], options: str, *, write: bool, is_printed: bool = False
) -> None:
    """Show the missing sections of the AWS config file, and append them if the user wants that.

    Args:
        profiles: the names of the new profiles, and the profiles that they are made from.
        options: of this command, to name in a hint.
        write: append them without a question.
        is_printed: the configuration is on standard output.
    """
    from assumed.app.init.command import missing_blocks  # noqa: PLC0415 - botocore is slow
    from assumed.app.init.config_blocks import write_blocks  # noqa: PLC0415 - likewise
    from assumed.aws_files.config_text import sections_text  # noqa: PLC0415 - likewise

    aws_config = paths.aws_config_file(os.environ)
    blocks = missing_blocks(os.environ, profiles)
    if not blocks:
        if write:
            click.echo(f"{aws_config}: no section is missing", err=is_printed)
        return
    about = f"the new profiles need these sections of {aws_config} for their region and settings:"
    click.echo(printable_lines(f"{about}\n\n{sections_text(blocks)}"), err=is_printed)
    if not write and not is_printed and sys.stdin.isatty():
        write = click.confirm("Append them?")
    if write:
        path = write_blocks(blocks, os.environ)
        count = f"{len(blocks)} section{'s' if len(blocks) > 1 else ''}"
        click.echo(f"{path}: {count} appended", err=is_printed)
    else:
        command = f"assumed init --write-aws-config{options}"
        click.echo(f"append them yourself, or with `{command}`", err=is_printed)


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
