"""Where events go: the systemd journal, a private file, or standard error."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from io import TextIOWrapper
from pathlib import Path

from assumed.fsutil import open_private_log
from assumed.logs.events import is_event, set_event_level
from assumed.logs.formatters import FORMATTERS, LogFormat


def configure(
    *,
    level: str = "info",
    log_format: LogFormat = LogFormat.TEXT,
    log_file: Path | None = None,
    journal: logging.Handler | None = None,
) -> None:
    """Send events to one place: the journal, a file, or standard error.

    Records of libraries are shown from WARNING on, at every `level`: below that, botocore and
    urllib3 log requests and responses, and the response to AssumeRole is the secret itself.

    Args:
        level: `debug`, `info`, `warning` or `error`, for the events of this program.
        log_format: the format of a line; the journal has fields instead.
        log_file: the file to append to; it is reopened after log rotation.
        journal: a handler for the systemd journal, used if there is no `log_file`.

    Raises:
        OSError: `log_file` cannot be opened for writing.
    """
    handler: logging.Handler
    if log_file is not None:
        handler = _PrivateFileHandler(log_file, encoding="utf-8", errors="backslashreplace")
    elif journal is not None:
        handler = journal
    else:
        handler = logging.StreamHandler(sys.stderr)
    if handler is not journal:
        handler.setFormatter(FORMATTERS[log_format]())
    handler.addFilter(_remove_library_traceback)
    # It logs the output of a failing credential_process with a traceback, at every attempt. The
    # failure itself is an event of this program.
    logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)
    # It warns when it closes a connection that does not fit into the pool. That is expected after
    # more calls than usual ran at once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    set_event_level(level)


class _PrivateFileHandler(logging.handlers.WatchedFileHandler):
    """A log file that only its owner can read, also after log rotation."""

    def _open(self) -> TextIOWrapper:
        descriptor = open_private_log(Path(self.baseFilename))
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)  # noqa: PTH123


def _remove_library_traceback(record: logging.LogRecord) -> bool:
    """Replace the traceback of a library's warning by the name of the exception.

    A traceback means an error in this program, and a failure outside it is none.
    """
    if not is_event(record) and record.levelno < logging.ERROR and record.exc_info:
        kind = record.exc_info[0]
        record.msg = f"{record.getMessage()} {kind.__name__ if kind else ''}".rstrip()
        record.args = record.exc_info = record.exc_text = None
    return True
