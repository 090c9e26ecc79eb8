"""Commands that root runs for another user: as that user, never in their home as root."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from assumed.app.program import this_program
from assumed.paths import user_name
from assumed.platform.systemd.installation import instances, require_root
from assumed.platform.systemd.target_user import TargetUser
from assumed.text import printable_lines


def system_option(text: str) -> Callable[[Callable[..., Any]], Any]:
    """Add `--system USER` to a command, which receives it as `user`."""
    return click.option("--system", "user", metavar="USER", help=text)


def run_as(user: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of this program as another user.

    Raises:
        UsageError: this process is not root, or there is no such user.
        ServiceManagerError: it timed out.
    """
    require_root()
    return TargetUser(user).run([*this_program(sys.argv[0]), *arguments])


def show_as(user: str, arguments: Sequence[str]) -> int:
    """Run a command as `run_as` does and print its output; return its exit status."""
    done = run_as(user, arguments)
    # The other user's process must not control root's terminal.
    for text, is_error in ((done.stdout, False), (done.stderr, True)):
        if text:
            click.echo(printable_lines(text), err=is_error)
    return done.returncode


def typed_arguments(context: click.Context, *, without: str) -> list[str]:
    """Return the arguments of a command as they were typed, without one option.

    Args:
        context: of the command, whose options are texts, paths, durations, flags and counts.
        without: the parameter to leave out.
    """
    options: list[str] = []
    values: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name == without or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Argument):
            values += value if parameter.nargs == -1 else [value]
        elif isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
            options += [parameter.opts[0]] * int(value)
        else:
            options += [parameter.opts[0], _typed(value)]
    return [*options, "--", *values] if values else options


def _typed(value: object) -> str:
    if isinstance(value, Path):
        return str(value.absolute())  # the command runs in another directory
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.0f}s"
    return str(value)


def note_about_instances() -> str | None:
    """Return the command that root may have meant, if system units run for other users."""
    if not (users := [user for user in instances() if user != user_name()]):
        return None
    return (
        f"note: on this machine, assumed runs as {', '.join(users)}: "
        f"`assumed status --system {users[0]}`"
    )
