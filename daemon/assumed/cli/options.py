"""The options that commands have in common, and the class of the commands."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from assumed import logs as log
from assumed.config import loader
from assumed.config.fields import parse_duration
from assumed.errors import ConfigurationError, UsageError
from assumed.paths import is_home_known
from assumed.platform.hardening import disable_core_dumps

_Decorator = Callable[[Callable[..., Any]], Any]

_CONFIG_HELP = (
    "Configuration file. [default: the first of $ASSUMED_CONFIG, ~/.config/assumed/config.yaml and "
    "/etc/assumed/config.yaml]"
)


class Command(click.Command):
    """A command with examples at the end of its help.

    The first line of its help describes it in the list of commands, where click would shorten it.
    """

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the first line of the help, whatever its length."""
        return (self.help or "").partition("\n")[0].removesuffix(".")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class CommandGroup(Command, click.Group):
    """A command that has commands of its own, such as `assumed service`."""

    command_class = Command


@dataclass(frozen=True, slots=True)
class Options:
    """The values of the common options."""

    config: Path | None
    log_level: str
    log_format: log.LogFormat
    log_file: Path | None

    def config_path(self) -> Path:
        """Return the absolute path of the configuration file.

        Raises:
            ConfigurationError: there is no configuration file.
        """
        return loader.find(self.config, os.environ).absolute()

    def config_path_or_none(self) -> Path | None:
        """Return the path of the configuration file, or None if there is none."""
        try:
            return self.config_path()
        except ConfigurationError:
            return None

    def configure_log(
        self, *, journal: logging.Handler | None = None, background: bool = False
    ) -> None:
        """Configure the log as the options say.

        Args:
            journal: a handler for the systemd journal, used unless `--log-file` is given.
            background: log on a thread, for a process that must not wait for its log.

        Raises:
            UsageError: the log file cannot be opened.
        """
        try:
            log.configure(
                level=self.log_level,
                log_format=self.log_format,
                log_file=self.log_file,
                journal=journal,
                background=background,
            )
        except OSError as error:
            raise UsageError(
                f"--log-file {self.log_file}: {error.strerror}",
                hint="name a file in a directory that this user can write to",
            ) from error


def parse_duration_option(
    _: click.Context, param: click.Parameter, value: str | None
) -> timedelta | None:
    """Parse a duration as the configuration does; for the `callback` of an option."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from None


retry_timeout_option = click.option(
    "--timeout",
    metavar="DURATION",
    callback=parse_duration_option,
    default="60s",
    show_default=True,
    help="How long to retry if no daemon is running.",
)
"""How long a standalone command retries what STS throttles, and what cannot reach it."""


def common_options(
    *,
    log_level: str = "error",
    log_destination: str = "standard error",
    is_interruptible: bool = True,
    config_help: str | None = _CONFIG_HELP,
) -> _Decorator:
    """Add the common options to a command, which receives them as an `Options` argument.

    Args:
        log_level: the default of `--log-level` for this command.
        log_destination: where it logs without `--log-file`, for the help.
        is_interruptible: whether Ctrl-C raises KeyboardInterrupt in it; else it ends the process.
        config_help: the help of `--config`; None for a command that uses no configuration.
    """
    added = _log_options(log_level, log_destination)
    if config_help is not None:
        added.insert(0, _file_option("--config", config_help))

    def decorate(command: Callable[..., Any]) -> Any:
        @functools.wraps(command)
        def with_options(
            log_level: str,
            log_format: str,
            log_file: Path | None,
            config: Path | None = None,
            **rest: Any,
        ) -> Any:
            _prepare_process(is_interruptible=is_interruptible)
            options = Options(config, log_level, log.LogFormat(log_format), log_file)
            return command(options, **rest)

        decorated: Any = with_options
        for add_option in reversed(added):  # the help lists the option that is added last first
            decorated = add_option(decorated)
        return decorated

    return decorate


def _prepare_process(*, is_interruptible: bool) -> None:
    """Prepare this process for a command that handles credentials.

    Raises:
        UsageError: the home directory is unknown.
    """
    disable_core_dumps()
    if is_interruptible and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not is_home_known():
        raise UsageError(
            f"the home directory is unknown: HOME is not set, and user ID {os.geteuid()} "
            "is not in the user database",
            hint="set HOME to a directory of this user",
        )


def _log_options(level: str, destination: str) -> list[_Decorator]:
    return [
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            default=level,
            show_default=True,
            help="Minimum level of log messages.",
        ),
        click.option(
            "--log-format",
            type=click.Choice([str(choice) for choice in log.LogFormat]),
            default=str(log.LogFormat.TEXT),
            show_default=True,
            help="Format of log messages.",
        ),
        _file_option("--log-file", f"Log file, which may be rotated. [default: {destination}]"),
    ]


def _file_option(name: str, text: str) -> _Decorator:
    return click.option(name, metavar="FILE", type=click.Path(path_type=Path), help=text)
