"""Log files and streams whose failures reach the caller, and a handler that survives them."""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from assumed.fsutil import open_private_log
from assumed.logs.events import EVENT_LOGGER

_RETRY_SECONDS = 60.0
_CLOSED = -1
_STANDARD_ERROR = 2


class PrivateFileHandler(logging.Handler):
    """Appends to a file that only its owner can read; reopens it after log rotation.

    Raises:
        OSError: the file cannot be opened, belongs to another user, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        # A relative path stays valid if the working directory changes.
        self._path = path.absolute()
        self._descriptor = open_private_log(self._path)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event.

        Raises:
            OSError: the file cannot be opened or written; the next event tries again.
        """
        line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        try:
            if self._is_rotated():
                self.close_file()
                self._descriptor = open_private_log(self._path)
            _write(self._descriptor, line)
        except OSError:
            self.close_file()
            raise

    def close(self) -> None:
        """Close the file; an event after that opens it again."""
        self.close_file()
        super().close()

    def close_file(self) -> None:
        """Close the file only."""
        descriptor, self._descriptor = self._descriptor, _CLOSED
        if descriptor != _CLOSED:
            with suppress(OSError):
                os.close(descriptor)

    def _is_rotated(self) -> bool:
        if self._descriptor == _CLOSED:
            return True
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(found, os.fstat(self._descriptor))


class StandardErrorHandler(logging.Handler):
    """Writes to standard error without a buffer, which would keep what could not be written."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event.

        Raises:
            OSError: standard error is closed, or its other end is.
        """
        line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        _write(_STANDARD_ERROR, line)


class StreamHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream, and raises what goes wrong."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of logging
        """Raise the exception that is being handled."""
        raise  # noqa: PLE0704 - logging calls this in its `except`


class CurrentStandardErrorHandler(StreamHandler):
    """Writes to what `sys.stderr` is at the time: a progress bar replaces it while it draws."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


class FailoverHandler(logging.Handler):
    """Sends events to one handler, and to another one while the first fails.

    The first is tried again each minute. It and the second are used by one thread at a time.

    Args:
        primary: raises an exception if it cannot write an event.
        fallback: used meanwhile; None if there is nothing else.
        name: of the first, for the log and the status, such as `--log-file /var/log/assumed.log`.
        monotonic: returns seconds that never jump.
    """

    def __init__(
        self,
        primary: logging.Handler,
        fallback: logging.Handler | None,
        *,
        name: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._primary = primary
        self._fallback = fallback
        self.destination = name
        self._monotonic = monotonic
        self._retry_at = 0.0
        self._failed_events = 0
        self.error: str | None = None
        """Why the first handler does not get events; None if it does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one event; never raise."""
        if self.error is not None:
            self.retry()
        if self.error is None:
            try:
                self._primary.emit(record)
            except Exception as error:  # noqa: BLE001 - whatever it is, refreshing goes on
                self._fail(error)
            else:
                return
        self._failed_events += 1
        self._emit_to_fallback(record)

    def retry(self) -> None:
        """Try the first handler again if it has failed and a minute has passed; never raise."""
        if self.error is None or self._monotonic() < self._retry_at:
            return
        recovered = _record(
            logging.INFO,
            "log_recovered",
            log=self.destination,
            events_elsewhere=self._failed_events,
        )
        try:
            self._primary.emit(recovered)
        except Exception as error:  # noqa: BLE001 - whatever it is, refreshing goes on
            self.error = f"{self.destination}: {_reason(error)}"
            self._retry_at = self._monotonic() + _RETRY_SECONDS
        else:
            self.error = None
            self._failed_events = 0

    def dropped(self, count: int) -> None:
        """Log how many events were lost; never raise."""
        self.emit(_record(logging.WARNING, "events_dropped", count=count))

    def close(self) -> None:
        """Close both handlers."""
        for handler in (self._primary, self._fallback):
            if handler is not None:
                with suppress(Exception):
                    handler.close()
        super().close()

    def _fail(self, error: Exception) -> None:
        self.error = f"{self.destination}: {_reason(error)}"
        self._retry_at = self._monotonic() + _RETRY_SECONDS
        self._emit_to_fallback(
            _record(
                logging.WARNING,
                "log_failed",
                log=self.destination,
                error=_reason(error),
                hint="events are logged here meanwhile; it is tried again each minute",
            )
        )

    def _emit_to_fallback(self, record: logging.LogRecord) -> None:
        if self._fallback is not None:
            with suppress(Exception):
                self._fallback.emit(record)


def _record(level: int, name: str, **fields: object) -> logging.LogRecord:
    """Return the record of an event that goes to one handler only."""
    return EVENT_LOGGER.makeRecord(
        EVENT_LOGGER.name, level, "", 0, name, (), None, extra={"fields": fields}
    )


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            # Another process that shares it has made it non-blocking.
            select.select([], [descriptor], [])
