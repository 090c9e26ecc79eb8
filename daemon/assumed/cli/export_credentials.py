"""`assumed export-credentials`, where `delivery.quick` leaves something to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta

import click

from assumed.cli.completion import complete_profile
from assumed.cli.options import Options, common_options
from assumed.fastpath.formats import FORMATS, format_credentials
from assumed.fastpath.main import FRESH_SECONDS, CommandFailedError, export_credentials

_STDERR = 2


@click.command("export-credentials")
@click.option(
    "--profile",
    metavar="NAME",
    required=True,
    shell_complete=complete_profile,
    help="Whose credentials.",
)
@click.option(
    "--format",
    "shape",
    type=click.Choice(list(FORMATS)),
    default="process",
    show_default=True,
    help="What is to read them: a credential_process of the AWS SDKs, or a shell.",
)
@common_options
@click.pass_context
def command(context: click.Context, options: Options, profile: str, shape: str) -> None:
    """Print a profile's credentials, refreshed first where they are about to expire.

    The credentials file has them, or else the daemon; where none runs, this command assumes the
    role. Names and formats are those of `aws configure export-credentials`.

    Example: assumed export-credentials --profile deploy --format env
    """
    with _silent_on_success() if shape == "process" else nullcontext():
        options.configure_log(level="error")
        text = _text(context, options, profile, shape)
    click.echo(text, nl=False)


def _text(context: click.Context, options: Options, profile: str, shape: str) -> str:
    try:
        config = str(options.config) if options.config else None
        text = export_credentials(profile, shape, config=config)
    except CommandFailedError as error:
        click.echo(f"assumed: {error.message}\n  {error.hint}", err=True)
        context.exit(error.status)
    if text is not None:
        return text
    from assumed.app.standalone import Standalone  # noqa: PLC0415 - boto3 is paid for where it is used
    from assumed.server.serialization import credentials_to_json  # noqa: PLC0415

    credentials, failure = Standalone(options.config_path(), os.environ).credentials(
        profile, min_left=timedelta(seconds=FRESH_SECONDS)
    )
    if failure is not None:
        click.echo(
            f"assumed: profile {profile}: {failure.message}\n  {failure.hint}\n"
            "  what is left of the session before is printed",
            err=True,
        )
    return format_credentials(credentials_to_json(credentials), shape)


@contextmanager
def _silent_on_success() -> Iterator[None]:
    """Hold back standard error, and drop it unless the block raises; a terminal gets it at once.

    The C++ SDK reads both outputs of a `credential_process` as one JSON document. Held back as a
    descriptor, since warnings of Python and processes that this one starts write there too.
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
        with suppress(OSError):  # no one reads it
            _copy(held)
        raise
    finally:
        sys.stderr.flush()
        os.dup2(before, _STDERR)
        os.close(before)
        os.close(held)


def _copy(source: int) -> None:
    """Write what a file holds to standard error."""
    os.lseek(source, 0, os.SEEK_SET)
    while text := os.read(source, 1 << 16):
        os.write(_STDERR, text)
