"""The command line: thin commands, one file each, imported when they are asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from assumed import __version__
from assumed.cli.output import print_error
from assumed.errors import AssumedError

_COMMANDS = (
    "run", "refresh", "status", "wait", "export-credentials", "exec", "init", "check",
    "login", "logout", "service", "demo",
)  # fmt: skip
_FAILED, _WRONG_USAGE, _INTERRUPTED = 1, 2, 130


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"assumed.cli.{cmd_name.replace('-', '_')}"
        ).command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="assumed %(version)s")
def _assumed() -> None:
    """Keep AWS profile credentials refreshed.

    Example: assumed run

    Exit status: 0 done, 1 a profile failed, 2 wrong usage, 78 the configuration is wrong,
    130 interrupted.
    """


def main(arguments: Sequence[str]) -> int:
    """Run one command; return the exit status. No error of the outside world is a traceback."""
    if any(name.startswith("ASSUMED_OUTER_") for name in os.environ):
        from assumed.app.exec_variables import original_environ  # noqa: PLC0415 - rarely needed

        # Under `assumed exec`, this program still uses the user's own AWS files.
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
        # Whoever read the output has gone; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except AssumedError as error:
        print_error(error)
        return error.exit_status
    return status if isinstance(status, int) else 0
