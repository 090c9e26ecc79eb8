"""A small HTTP/1.1 server for the API socket and for ports on 127.0.0.1.

Any process of any user can connect to a port, so the server limits what a client can use: the
number of connections, the size of a request, and the time to send it and to read the response.
It answers one request per connection. It offers no keep-alive, HTTP/2, WebSocket or TLS.
h11 parses the requests and rejects malformed ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from assumed.errors import UnexpectedError
from assumed.local_faults import LOCAL_FAULTS, thread_shortage
from assumed.logs.events import event
from assumed.server.flood import FloodFilter, IsUnwelcome

LOOPBACK = "127.0.0.1"

_MAX_ACCEPTS = 64
_PAUSE_SECONDS = 1.0
# Closes with a reset: no connection remains in TIME_WAIT.
_RESET = struct.pack("ii", 1, 0)
_READ_BYTES = 16 * 1024
_WRITE_BYTES = 64 * 1024
_STOP_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What the clients of a server may use.

    Args:
        connections: open at the same time; one more closes the oldest. The default is far below
            the usual limit of 1024 descriptors, which the whole daemon shares, and above the
            number of connections that are accepted in one go.
        head_bytes: of the request line and the headers, give or take what is read at a time.
        body_bytes: of a request's body; 0 for a server that does not read bodies.
        timeout_seconds: until a whole request has arrived, counted from the connection, and until
            the client has read a part of the response.
    """

    connections: int = 256
    head_bytes: int = 16 * 1024
    body_bytes: int = 0
    timeout_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it was sent: the target is neither decoded nor normalized.

    Args:
        method: such as `GET`.
        target: the path and the query.
        headers: names in lower case.
        body: None if it is larger than the server's limit; empty if the server reads none.
    """

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=b"", repr=False)

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header that occurs exactly once; None otherwise."""
        values = [value for key, value in self.headers if key == name]
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response; a body that is a generator is sent part by part."""

    status: HTTPStatus
    body: bytes | AsyncGenerator[bytes, None] = field(repr=False)
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def json_response(status: HTTPStatus, content: object, **headers: str) -> HttpResponse:
    """Return a response with a JSON body, in ASCII."""
    return HttpResponse(status, to_json_bytes(content), headers=headers)


def to_json_bytes(content: object) -> bytes:
    """Return JSON in one line and in ASCII, so that a lone surrogate can be sent as well."""
    return json.dumps(content, separators=(",", ":")).encode()


def listen_on_loopback(port: int = 0) -> socket.socket:
    """Listen on 127.0.0.1; port 0 means any free port.

    Raises:
        OSError: another process has the port.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A restarted daemon gets its port back although old connections are in TIME_WAIT. This
        # does not take a port from a process that listens on it (socket(7)).
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        # A client that finds the kernel's queue full tries again only after a second.
        listener.listen(socket.SOMAXCONN)
    except BaseException:
        listener.close()
        raise
    return listener


def is_loopback_host(host: bytes | None, port: int) -> bool:
    """Whether a `Host` header is valid for a port of 127.0.0.1: its name, with or without the port.

    A web page whose host name resolves to 127.0.0.1 (DNS rebinding) sends its own name instead.
    The AWS CRT leaves out the port.
    """
    names = (LOOPBACK, "localhost")
    return host is not None and host.lower() in {
        text.encode() for name in names for text in (name, f"{name}:{port}")
    }


class HttpServer:
    """An HTTP server with its own thread, which sleeps until a client connects.

    Args:
        listener: a listening socket of any family; the server closes it.
        handler: returns the response to a request; called in the server's event loop, so it must
            not block (see `threads.WorkerThreads`). It is cancelled if the client disconnects.
        name: of the server, for its thread and the log.
        limits: for its clients.
        is_unwelcome: whose connections are dropped first; see `flood.FloodFilter`.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        *,
        name: str,
        limits: Limits | None = None,
        is_unwelcome: IsUnwelcome | None = None,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._handler = handler
        self._name = name
        self._limits = limits or Limits()
        self._flood = FloodFilter(is_unwelcome, connections=self._limits.connections)
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._is_pause_logged = False
        self._reserve = _open_reserve()
        """A descriptor to close for a connection when none is left; None if it is in use."""
        self._is_draining = False
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start serving; connections that were made before wait in the listener's queue.

        Raises:
            LocalFaultError: the system has no thread left.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            raise thread_shortage(error) from error

    def drain(self) -> None:
        """Accept no more connections, and wait up to 0.1 seconds until those that are open end."""
        if self._thread.ident is None:
            return
        with suppress(RuntimeError, TimeoutError):  # the loop is closed, or stuck
            draining = asyncio.run_coroutine_threadsafe(self._drain(), self._loop)
            draining.result(2 * _STOP_SECONDS)

    def stop(self) -> None:
        """Stop serving within 0.2 seconds; requests that take longer are cut off."""
        if self._thread.ident is None:
            self._loop.close()
            self._listener.close()
            self._close_reserve()
            return
        with suppress(RuntimeError):  # the loop is closed: the server has stopped already
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(2 * _STOP_SECONDS)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop.add_reader(self._listener, self._accept)
        await self._stopping.wait()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._close_reserve()
        busy = [task for task, connection in self._connections.items() if connection.has_request]
        if busy:
            # The scheduler has stopped before, so that most of them are about to be answered.
            await asyncio.wait(busy, timeout=_STOP_SECONDS)
        # The runner cancels the others.

    async def _drain(self) -> None:
        self._is_draining = True
        self._loop.remove_reader(self._listener)
        if self._connections:
            await asyncio.wait(self._connections, timeout=_STOP_SECONDS)

    def _accept(self) -> None:
        for _ in range(_MAX_ACCEPTS):
            try:
                accepted, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._is_pause_logged = False
                self._flood.queue_is_empty()
                return
            except OSError as error:
                LOCAL_FAULTS.report(error)
                if self._reserve is None:
                    self._pause(error)
                    return
                # One client at a time is answered with it, also if no descriptor is left.
                os.close(self._reserve)
                self._reserve = None
                continue
            if self._flood.drops(
                address, open_connections=len(self._connections), now=self._loop.time()
            ):
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                accepted.close()
                self._restore_reserve()
            else:
                self._register(accepted)

    def _pause(self, error: OSError) -> None:
        # No descriptor is free (EMFILE), and the listener stays readable: asyncio's own server
        # logs that up to `backlog` times a second.
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_PAUSE_SECONDS, self._unpause)
        if not self._is_pause_logged:
            self._is_pause_logged = True
            event(
                logging.WARNING,
                "listener_paused",
                listener=self._name,
                error=error.strerror,
                hint="new connections wait; if this lasts, raise the limit of open files",
            )

    def _restore_reserve(self) -> None:
        if self._reserve is None:
            self._reserve = _open_reserve()

    def _close_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _unpause(self) -> None:
        self._restore_reserve()
        if not self._stopping.is_set() and not self._is_draining:
            self._loop.add_reader(self._listener, self._accept)

    def _register(self, accepted: socket.socket) -> None:
        connection = _Connection(accepted, self._handler, self._limits, self._loop)
        task = self._loop.create_task(connection.serve())
        self._connections[task] = connection
        task.add_done_callback(lambda done: self._unregister(done, connection))
        if len(self._connections) > self._limits.connections:
            self._close_oldest()

    def _close_oldest(self) -> None:
        # A client with a request sends it within milliseconds. If all have sent theirs, the one
        # that has waited for longest goes.
        silent = (task for task, each in self._connections.items() if not each.has_request)
        oldest = next(silent, None) or next(iter(self._connections))
        del self._connections[oldest]
        oldest.cancel()

    def _unregister(self, task: asyncio.Task[None], connection: _Connection) -> None:
        self._connections.pop(task, None)
        connection.close()
        self._restore_reserve()
        if not task.cancelled() and (error := task.exception()) is not None:
            event(logging.ERROR, "internal_error", exc_info=error)


def _open_reserve() -> int | None:
    with suppress(OSError):
        return os.open("/", os.O_PATH | os.O_CLOEXEC)
    return None


class _Connection:
    """One connection: a request and its response.

    It has no reference to the task that serves it: thousands of such cycles would take megabytes
    until the garbage collector finds them.
    """

    def __init__(
        self,
        accepted: socket.socket,
        handler: Handler,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        accepted.setblocking(False)
        self._socket = accepted
        self._handler = handler
        self._limits = limits
        self._loop = loop
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self.has_request = False

    def close(self) -> None:
        """Close the socket, after the task has ended."""
        self._socket.close()

    async def serve(self) -> None:
        """Receive a request and send the response."""
        # OSError: the client has gone, or is too slow (TimeoutError).
        with suppress(OSError):
            try:
                # Not an idle time: a client that sends a byte a second is not better than silence.
                async with asyncio.timeout(self._limits.timeout_seconds):
                    request = await self._receive()
            except h11.RemoteProtocolError as error:
                status = HTTPStatus(error.error_status_hint)
                await self._send(json_response(status, {"code": "BadRequest"}))
                return
            if request is not None:
                self.has_request = True
                with self._cancelled_by_disconnect():
                    await self._send(await self._respond(request), is_head=request.method == "HEAD")

    async def _receive(self) -> HttpRequest | None:
        """Return the request; None if the client disconnects without one."""
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        body = await self._receive_body() if self._limits.body_bytes else b""
        return HttpRequest(head.method.decode(), head.target, tuple(head.headers), body)

    async def _receive_body(self) -> bytes | None:
        body = bytearray()
        while isinstance(data := await self._next_event(), h11.Data):
            body += data.data
            if len(body) > self._limits.body_bytes:
                return None
        return bytes(body)

    async def _next_event(self) -> object:
        while (received := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._loop.sock_recv(self._socket, _READ_BYTES))
        return received

    async def _respond(self, request: HttpRequest) -> HttpResponse:
        try:
            return await self._handler(request)
        except Exception as error:  # noqa: BLE001 - a bug must not leave the client without answer
            event(logging.ERROR, "internal_error", exc_info=error)
            return json_response(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                {"code": UnexpectedError.code, "message": "internal error of assumed; see its log"},
            )

    async def _send(self, response: HttpResponse, *, is_head: bool = False) -> None:
        body = response.body
        headers = {
            "Content-Type": response.content_type,
            "Cache-Control": "no-store",
            "Connection": "close",
            **({"Content-Length": str(len(body))} if isinstance(body, bytes) else {}),
            **response.headers,
        }
        head = h11.Response(status_code=response.status, headers=list(headers.items()))
        if is_head:
            await self._write(head, h11.EndOfMessage())
        elif isinstance(body, bytes):
            await self._write(head, h11.Data(data=body), h11.EndOfMessage())
        else:
            await self._write(head)
            async with aclosing(body):
                async for part in body:
                    await self._write(h11.Data(data=part))
            await self._write(h11.EndOfMessage())

    async def _write(self, *parts: h11.Event) -> None:
        # A large body is not copied: clients that do not read would multiply it.
        pieces = [
            piece for part in parts for piece in self._http.send_with_data_passthrough(part) or ()
        ]
        if sum(len(piece) for piece in pieces) <= _WRITE_BYTES:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            for start in range(0, len(piece), _WRITE_BYTES):
                chunk = memoryview(piece)[start : start + _WRITE_BYTES]
                async with asyncio.timeout(self._limits.timeout_seconds):
                    await self._loop.sock_sendall(self._socket, chunk)

    @contextmanager
    def _cancelled_by_disconnect(self) -> Iterator[None]:
        self._loop.add_reader(self._socket, self._check_client, asyncio.current_task())
        try:
            yield
        finally:
            self._loop.remove_reader(self._socket)

    def _check_client(self, task: asyncio.Task[None] | None) -> None:
        # Without reading: more than the request is none of the server's concern, and ends the
        # watch, since the end of the connection is behind it.
        try:
            is_gone = not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            is_gone = True
        if not is_gone:
            self._loop.remove_reader(self._socket)
        elif task is not None:
            task.cancel()
