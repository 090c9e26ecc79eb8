"""Where events go: the systemd journal, a private file, or standard error."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from assumed.logs.background import BackgroundHandler
from assumed.logs.destinations import (
    CurrentStandardErrorHandler,
    FailoverHandler,
    PrivateFileHandler,
    StandardErrorHandler,
)
from assumed.logs.events import is_event, set_event_level
from assumed.logs.formatters import FORMATTERS, LogFormat
from assumed.logs.journald import JournalHandler


def configure(
    *,
    level: str = "info",
    log_format: LogFormat = LogFormat.TEXT,
    log_file: Path | None = None,
    journal: logging.Handler | None = None,
    background: bool = False,
) -> None:
    """Send events to one place: the journal, a file, or standard error.

    If that place fails, events go to standard error or the journal meanwhile.

    Records of libraries are shown from WARNING on, and not at all at level `error`. Below WARNING,
    botocore and urllib3 log requests and responses, and the response to AssumeRole is the secret
    itself.

    Args:
        level: `debug`, `info`, `warning` or `error`, for the events of this program.
        log_format: the format of a line; the journal has fields instead.
        log_file: the file to append to; it is reopened after log rotation.
        journal: a handler for the systemd journal, used if there is no `log_file`.
        background: write on a thread, so that logging never blocks: for the daemon.

    Raises:
        OSError: `log_file` cannot be opened for writing.
    """
    target = _failover(log_format, log_file, journal, background=background)
    handler = BackgroundHandler(target) if background else target
    handler.addFilter(_remove_library_traceback)
    # It logs the output of a failing credential_process with a traceback, at every attempt. The
    # failure itself is an event of this program.
    logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
    # It warns when it closes a connection that does not fit into the pool. That is expected after
    # more calls than usual ran at once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # A command that logs only its own errors prints no line of a library.
    root.setLevel(logging.CRITICAL + 1 if level == "error" else logging.WARNING)
    set_event_level(level)


def log_error() -> str | None:
    """Return why events are not written where they should be; None if they are."""
    handlers = logging.getLogger().handlers
    return next((each.error for each in handlers if isinstance(each, _REPORTING)), None)


def retry_failed_log() -> None:
    """Use a log that failed again if it works, a minute after the last time; from any thread."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _REPORTING):
            handler.retry()


_REPORTING = (BackgroundHandler, FailoverHandler)


def _failover(
    log_format: LogFormat,
    log_file: Path | None,
    journal: logging.Handler | None,
    *,
    background: bool,
) -> FailoverHandler:
    formatter = FORMATTERS[log_format]()
    stderr = StandardErrorHandler() if background else CurrentStandardErrorHandler(sys.stderr)
    stderr.setFormatter(formatter)
    if log_file is not None:
        file = PrivateFileHandler(log_file)
        file.setFormatter(formatter)
        return FailoverHandler(file, journal or stderr, name=f"--log-file {log_file}")
    if journal is not None:
        return FailoverHandler(journal, None, name="the systemd journal")
    return FailoverHandler(stderr, JournalHandler(), name="standard error")


def _remove_library_traceback(record: logging.LogRecord) -> bool:
    """Replace the traceback of a library's warning by the name of the exception.

    A traceback means an error in this program, and a failure outside it is none.
    """
    if not is_event(record) and record.levelno < logging.ERROR and record.exc_info:
        kind = record.exc_info[0]
        record.msg = f"{record.getMessage()} {kind.__name__ if kind else ''}".rstrip()
        record.args = record.exc_info = record.exc_text = None
    return True
