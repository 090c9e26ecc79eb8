"""Limits for the responses that botocore reads: 1 MiB and 15 seconds each, headers included.

The time-out of a socket applies to each read. A server that sends a byte every few seconds never
reaches it.
"""

from __future__ import annotations

import io
import logging
import socket
import time
from functools import cache
from http.client import HTTPResponse
from typing import Any

from assumed.logs.events import event

MAX_BYTES = 1 << 20
MAX_SECONDS = 15.0


class ResponseLimitError(Exception):
    """A response is too large or too slow. It is no `OSError`: botocore would try it again."""


class _LimitedReader(io.RawIOBase):
    """The read end of a socket for one response."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._timeout: float | None = sock.gettimeout()
        self._deadline = time.monotonic() + MAX_SECONDS
        self._bytes_left = MAX_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds_left = self._deadline - time.monotonic()
        if seconds_left <= 0:
            raise _too_slow()
        is_shortened = self._timeout is None or seconds_left < self._timeout
        try:
            if is_shortened:
                self._sock.settimeout(seconds_left)
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            if is_shortened:
                raise _too_slow() from None
            raise
        finally:
            if is_shortened:
                self._sock.settimeout(self._timeout)
        self._bytes_left -= count or 0
        if self._bytes_left < 0:
            raise ResponseLimitError(f"the response is larger than {MAX_BYTES >> 20} MiB")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _LimitedSocket:
    """The part of a socket that `HTTPResponse` uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_LimitedReader(self._sock))


class _LimitedResponse(HTTPResponse):
    """A response, that of a proxy to CONNECT included."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(_LimitedSocket(sock), *arguments, **options)  # type: ignore[arg-type]


def limit_client(client: Any) -> None:
    """Limit the responses that a client of botocore reads; see `limit_responses`."""
    limit_responses(getattr(getattr(client, "_endpoint", None), "http_session", None))


def limit_responses(http_session: Any) -> None:
    """Limit the responses that an HTTP session of botocore reads.

    If botocore has changed, its own time-outs remain, and a warning is logged.
    """
    try:
        pool_classes = http_session._pool_classes_by_scheme
        for scheme in ("http", "https"):
            pool_classes[scheme] = _limited(pool_classes[scheme])
    except (AttributeError, LookupError, TypeError) as error:
        _log_unavailable(type(error).__name__)


@cache
def _limited(pool: Any) -> type:
    """Return a subclass of a pool of urllib3 whose connections limit their responses."""
    options = {"response_class": _LimitedResponse}
    connection = type("LimitedConnection", (pool.ConnectionCls,), options)
    return type("LimitedConnectionPool", (pool,), {"ConnectionCls": connection})


@cache
def _log_unavailable(error: str) -> None:
    """Log an error once; it is the same for every client."""
    event(
        logging.WARNING,
        "response_limits_unavailable",
        error=error,
        hint="install a version of botocore that assumed was tested with: the responses of AWS "
        "are read without a limit",
    )


def _too_slow() -> ResponseLimitError:
    return ResponseLimitError(f"the response is not complete after {MAX_SECONDS:g} s")
