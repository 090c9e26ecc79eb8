"""A small HTTP server on the loopback: one GET a connection, and no way to wear it out.

Any process of any user can connect to it. hypercorn, which serves the local socket, would do more
than is wanted here (HTTP/2, WebSockets, bodies), has no limit to its connections, and keeps one
that was cut off for as long as an idle one; h11, on which it stands, reads the requests here too.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

ADDRESS = "127.0.0.1"

# Far below the usual limit of 1024 descriptors, which the whole daemon shares, and far above the
# 64 that are accepted in one go, so that no such round cuts off what it has just accepted.
_MOST_CONNECTIONS = 256
_ACCEPTED_AT_ONCE = 64
_MOST_HEAD_BYTES = 16 * 1024
_IDLE_SECONDS = 5.0
_STOP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What is sent back: a status, and a JSON object or a text of the type in `headers`."""

    status: HTTPStatus
    shape: Mapping[str, str] | bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


def listen(port: int = 0) -> socket.socket:
    """Listen on 127.0.0.1; port 0 is any that is free.

    Raises:
        OSError: the port is another's.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # So that a daemon that starts again gets its port back from connections that linger; what
        # another process listens at it does not give (socket(7)).
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen()
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class LoopbackServer:
    """Answers from a thread of its own, which has nothing to do until somebody connects.

    Args:
        listener: is the server's from now on, which closes it.
        answer: called in the event loop with each request; whatever it takes, it has to end.
        most: how many connections there are at the same time. Where there are more, whoever came
            first has to go: a client that has something to ask has its answer within milliseconds,
            and those who have been there for long are those who say nothing.
        idle_seconds: after so long without a whole request a connection is closed.
    """

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[h11.Request], Awaitable[HttpResponse]],
        *,
        most: int = _MOST_CONNECTIONS,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self.answer = answer
        self.idle_seconds = idle_seconds
        self._listener = listener
        self._most = most
        self._connections: dict[_Connection, None] = {}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="endpoint", daemon=True)

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        with suppress(RuntimeError):  # the loop is closed: the server has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_SECONDS)

    def admit(self, connection: _Connection) -> None:
        """Take note of a connection; the oldest has to go where there are too many."""
        self._connections[connection] = None
        if len(self._connections) > self._most:
            oldest = next(iter(self._connections))
            self.forget(oldest)
            oldest.cut_off()

    def forget(self, connection: _Connection) -> None:
        """Take note that a connection has ended."""
        self._connections.pop(connection, None)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._accept())

    async def _accept(self) -> None:
        server = await self._loop.create_server(
            lambda: _Connection(self), sock=self._listener, backlog=_ACCEPTED_AT_ONCE
        )
        # The same number is asyncio's for both. Who finds the kernel's queue full waits a second.
        self._listener.listen(socket.SOMAXCONN)
        await self._stop.wait()
        server.close()
        for connection in list(self._connections):
            connection.cut_off()


class _Connection(asyncio.Protocol):
    """One request and its answer."""

    def __init__(self, server: LoopbackServer) -> None:
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_HEAD_BYTES)
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._is_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is one of TCP
        self._transport = transport
        loop = asyncio.get_running_loop()
        # From the beginning, not from the last byte: who sends one a second is no better.
        self._limit = loop.call_later(self._server.idle_seconds, transport.abort)
        self._server.admit(self)

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        try:
            request = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self._send(HttpResponse(HTTPStatus(error.error_status_hint), {"code": "BadRequest"}))
            return
        if isinstance(request, h11.Request):
            self._is_head = request.method == b"HEAD"
            # What comes after it, such as a body, is not read.
            self._transport.pause_reading()
            if self._limit is not None:
                self._limit.cancel()
            self._task = asyncio.create_task(self._respond(request))

    def connection_lost(self, error: Exception | None) -> None:
        self._server.forget(self)
        if self._limit is not None:
            self._limit.cancel()
        if self._task is not None:
            self._task.cancel()

    def cut_off(self) -> None:
        """End it now."""
        self._transport.abort()

    async def _respond(self, request: h11.Request) -> None:
        self._send(await self._server.answer(request))

    def _send(self, answer: HttpResponse) -> None:
        shape = answer.shape
        body = shape if isinstance(shape, bytes) else json.dumps(shape).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Connection": "close",
            **answer.headers,
        }
        response = h11.Response(status_code=answer.status, headers=list(headers.items()))
        # The answer to HEAD has no body, and h11 sees to it that it has none.
        parts = [response, *([] if self._is_head else [h11.Data(data=body)]), h11.EndOfMessage()]
        try:
            for part in parts:
                self._transport.write(self._http.send(part) or b"")
        finally:
            self._transport.close()
