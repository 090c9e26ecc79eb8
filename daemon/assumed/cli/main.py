"""The command `assumed`: its table of commands, and what becomes of an error."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

import click

from assumed import __version__
from assumed.cli.options import CommandGroup
from assumed.cli.output import print_error
from assumed.errors import AssumedError

_COMMANDS = (
    "run", "refresh", "status", "wait", "export-credentials", "exec", "init", "adopt", "release",
    "check", "login", "logout", "service", "demo", "completion",
)  # fmt: skip
_FAILED, _WRONG_USAGE, _INTERRUPTED = 1, 2, 130


class _Commands(CommandGroup):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], _COMMANDS, 1)
            meant = f" Did you mean {nearest[0]}?" if nearest else ""
            raise click.UsageError(f"No such command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"assumed.cli.{cmd_name.replace('-', '_')}"
        ).command
        return command


@click.command(
    cls=_Commands,
    subcommand_metavar="COMMAND [ARGUMENTS]",
    examples=(
        "assumed init",
        "assumed service install",
        "assumed status",
        "assumed exec deploy -- aws s3 ls",
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="assumed %(version)s")
def _assumed() -> None:
    """Keep AWS profile credentials refreshed.

    Exit status: 0 success, 1 a profile failed, 2 wrong usage, 78 invalid configuration,
    130 interrupted.
    """


def main(arguments: Sequence[str]) -> int:
    """Run one command; return the exit status, and print expected errors without a traceback."""
    if any(name.startswith("ASSUMED_OUTER_") for name in os.environ):
        from assumed.app.exec_variables import original_environ  # noqa: PLC0415 - rarely needed

        # A command within `assumed exec` uses the AWS files of the user, not those of that exec.
        for name, value in original_environ(os.environ).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    try:
        status = _assumed.main(list(arguments), prog_name="assumed", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return _WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe; do not let the interpreter fail at its final flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except AssumedError as error:
        print_error(error)
        return error.exit_status
    return status if isinstance(status, int) else 0
