"""`assumed export-credentials`, when `assumed.fastpath` cannot answer by itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path

import click

from assumed.cli.options import Command, Options, common_options
from assumed.cli.output import format_failure
from assumed.cli.profile_completion import complete_profile
from assumed.fastpath.checked_sessions import records_path, with_record
from assumed.fastpath.credentials_reader import read_configuration
from assumed.fastpath.formats import FORMATS, format_credentials
from assumed.fastpath.main import FRESH_SECONDS, CommandFailedError, export_credentials
from assumed.fsutil import create_directory, replace_file
from assumed.paths import configuration_files

_STDERR = 2


@click.command(
    "export-credentials",
    cls=Command,
    examples=(
        "assumed export-credentials --profile deploy",
        'eval "$(assumed export-credentials --profile deploy --format env)"',
    ),
)
@click.option(
    "--profile",
    metavar="NAME",
    required=True,
    shell_complete=complete_profile,
    help="Profile whose credentials to print.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(list(FORMATS)),
    default="process",
    show_default=True,
    help="Output for a credential_process of an AWS SDK, or for a shell.",
)
@common_options()
@click.pass_context
def command(context: click.Context, options: Options, profile: str, output_format: str) -> None:
    """Print credentials for a credential_process or a shell.

    Prints them from the file or the daemon. Refreshes credentials that are about to expire; if no
    daemon is running, this command assumes the role itself. Options and formats are those of
    `aws configure export-credentials`.
    """
    with _silent_on_success() if output_format == "process" else nullcontext():
        options.configure_log()
        text = _text(context, options, profile, output_format)
    click.echo(text, nl=False)


def _text(context: click.Context, options: Options, profile: str, output_format: str) -> str:
    config = str(options.config) if options.config else None
    try:
        text = export_credentials(profile, output_format, config=config)
    except CommandFailedError as error:
        click.echo(error.text, err=True)
        context.exit(error.status)
    if text is not None:
        return text
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is slow to import
    from assumed.server.serialization import credentials_to_json  # noqa: PLC0415

    files = configuration_files(os.environ, config)
    # Before it is read: a change in the meantime makes the record void.
    changed_at, _ = read_configuration(files)
    credentials, failure = Standalone(options.config_path(), os.environ).credentials(
        profile, min_left=timedelta(seconds=FRESH_SECONDS)
    )
    records = with_record(os.environ, files, changed_at, profile, credentials.principal_arn)
    if records is not None:
        with suppress(OSError):  # The next command is as slow as this one.
            path = Path(records_path(os.environ))
            create_directory(path.parent)
            replace_file(path, records.encode("utf-8", "surrogateescape"), unique=True)
    if failure is not None:
        click.echo(
            f"{format_failure(profile, failure)}\n"
            "  the previous session is still valid, and its credentials are printed",
            err=True,
        )
    return format_credentials(credentials_to_json(credentials), output_format)


@contextmanager
def _silent_on_success() -> Iterator[None]:
    """Hold back standard error, and drop it unless the block raises; a terminal gets it at once.

    The C++ SDK reads both outputs of a `credential_process` as one JSON document. The descriptor is
    replaced, because warnings of Python and of processes that this one starts go there too.
    """
    if os.isatty(_STDERR):
        yield
        return
    before = os.dup(_STDERR)
    held = os.memfd_create("stderr")
    os.dup2(held, _STDERR)
    try:
        yield
    except BaseException:
        sys.stderr.flush()
        os.dup2(before, _STDERR)
        with suppress(OSError):  # its reader has gone
            _copy_to_stderr(held)
        raise
    finally:
        sys.stderr.flush()
        os.dup2(before, _STDERR)
        os.close(before)
        os.close(held)


def _copy_to_stderr(source: int) -> None:
    os.lseek(source, 0, os.SEEK_SET)
    while text := os.read(source, 1 << 16):
        os.write(_STDERR, text)
