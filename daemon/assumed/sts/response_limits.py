"""Limits for the requests that botocore makes: 15 seconds each, and 1 MiB for the response.

The 15 seconds count for everything: the lookup of the name, the connection, TLS, a proxy, and the
response. The time-out of a socket applies to each read, so a server that sends a byte every few
seconds never reaches it.
"""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from functools import cache
from http.client import HTTPResponse
from typing import Any

from botocore import httpsession

from assumed.logs.events import event
from assumed.sts.connecting import open_connection

MAX_BYTES = 1 << 20
MAX_SECONDS = 15.0
_urllib3: Any = httpsession
"""Has the exceptions of urllib3 that botocore translates."""
_MIN_SECONDS = 0.001
"""A time-out of zero would mean not to wait at all."""


class _Request(threading.local):
    """The request that a thread makes."""

    ends_at: float | None = None
    """When its time is over, by `time.monotonic`; None if there is no request."""

    def remaining(self) -> float:
        """Return the seconds that remain."""
        if self.ends_at is None:
            return MAX_SECONDS
        return max(0.0, self.ends_at - time.monotonic())


_request = _Request()


class ResponseLimitError(Exception):
    """A response is too large or too slow. It is no `OSError`: botocore would try it again."""


class _LimitedReader(io.RawIOBase):
    """The read end of a socket for one response."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._timeout: float | None = sock.gettimeout()
        self._deadline = _request.ends_at or time.monotonic() + MAX_SECONDS
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


class _LimitedConnection:
    """What is added to a connection of urllib3."""

    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        connection: Any = self
        try:
            host, port, options = connection._dns_host, connection.port, connection.socket_options
            timeout = connection.timeout
        except AttributeError as error:
            _log_unavailable(type(error).__name__)
            return super()._new_conn()  # type: ignore[misc, no-any-return]
        remaining = _request.remaining()
        seconds = remaining if timeout is None else min(timeout, remaining)
        try:
            opened = open_connection(host, port, seconds=seconds, options=options or ())
        except TimeoutError as error:
            raise _urllib3.URLLib3ConnectTimeoutError(
                connection, f"no address of {host} answers"
            ) from error
        except OSError as error:
            raise _urllib3.NewConnectionError(connection, str(error)) from error
        # For TLS and the request; the response has its own limit.
        opened.settimeout(max(_MIN_SECONDS, min(seconds, _request.remaining())))
        return opened

    def _tunnel(self) -> None:
        super()._tunnel()  # type: ignore[misc]
        if self.sock is not None:
            self.sock.settimeout(max(_MIN_SECONDS, _request.remaining()))


class _LimitedPool:
    """What is added to a pool of connections of urllib3."""

    def urlopen(self, *arguments: Any, **options: Any) -> Any:
        """Make a request, within its time."""
        _request.ends_at = time.monotonic() + MAX_SECONDS
        try:
            return super().urlopen(*arguments, **options)  # type: ignore[misc]
        finally:
            _request.ends_at = None


def limit_client(client: Any) -> None:
    """Limit the requests of a client of botocore; see `limit_responses`."""
    limit_responses(getattr(getattr(client, "_endpoint", None), "http_session", None))


def limit_responses(http_session: Any) -> None:
    """Limit the requests that an HTTP session of botocore makes, and their responses.

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
    """Return a subclass of a pool of urllib3 whose connections have limits."""
    options = {"response_class": _LimitedResponse}
    connection = type("LimitedConnection", (_LimitedConnection, pool.ConnectionCls), options)
    return type("LimitedConnectionPool", (_LimitedPool, pool), {"ConnectionCls": connection})


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
