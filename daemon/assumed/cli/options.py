"""The options that every command takes, and what they stand for."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from assumed import logs as log
from assumed.config import loader
from assumed.config.fields import parse_duration
from assumed.errors import ConfigurationError, UsageError
from assumed.platform.hardening import disable_core_dumps


@dataclass(frozen=True, slots=True)
class Options:
    """What the common options say."""

    config: Path | None
    log_level: str | None
    log_format: log.LogFormat
    log_file: Path | None

    def config_path(self) -> Path:
        """Return the configuration file to use, absolute.

        Raises:
            ConfigurationError: there is none.
        """
        return loader.find(self.config, os.environ).absolute()

    def config_path_or_none(self) -> Path | None:
        """Return the configuration file to use, None where there is none and none is named."""
        try:
            return self.config_path()
        except ConfigurationError:
            return None

    def configure_log(self, *, level: str, journal: logging.Handler | None = None) -> None:
        """Send events where the options say; `level` is the default of the command.

        Raises:
            UsageError: the log file can't be opened.
        """
        try:
            log.configure(
                level=self.log_level or level,
                log_format=self.log_format,
                log_file=self.log_file,
                journal=journal,
            )
        except OSError as error:
            raise UsageError(
                f"--log-file {self.log_file}: {error.strerror}",
                hint="name a file in a folder that this user may write to",
            ) from error


def duration(_: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """Read an option that is a duration, written as in the configuration; for its `callback`."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from None


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the common options to a command, which takes them as one `Options` first."""

    @click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="The configuration, in place of the first one found.",
    )
    @click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="How much is logged.",
    )
    @click.option(
        "--log-format",
        type=click.Choice([str(choice) for choice in log.LogFormat]),
        default=str(log.LogFormat.TEXT),
        help="How a logged event looks.",
    )
    @click.option(
        "--log-file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Log to this file; it is opened anew after it was rotated away.",
    )
    @functools.wraps(command)
    def with_options(
        config: Path | None,
        log_level: str | None,
        log_format: str,
        log_file: Path | None,
        **rest: Any,
    ) -> Any:
        disable_core_dumps()
        options = Options(config, log_level, log.LogFormat(log_format), log_file)
        return command(options, **rest)

    return with_options
