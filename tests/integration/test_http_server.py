"""The HTTP server of all listeners: its limits, and what it does when a client misbehaves."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from assumed.server import http
from assumed.server.http import (
    Handler,
    HttpRequest,
    HttpResponse,
    HttpServer,
    Limits,
    json_response,
    listen_on_loopback,
)
from assumed.server.unix_socket import listen

GET = b"GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"


async def echo(request: HttpRequest) -> HttpResponse:
    body = None if request.body is None else request.body.decode()
    content = {"method": request.method, "target": request.target.decode(), "body": body}
    return json_response(HTTPStatus.OK, content)


Connect = Callable[[], socket.socket]


@contextmanager
def serving(
    listener: socket.socket, handler: Handler = echo, limits: Limits | None = None
) -> Iterator[Connect]:
    """Serve; yield a function that returns a new connection."""
    address, family = listener.getsockname(), listener.family

    def connect() -> socket.socket:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(30)
        connection.connect(address)
        return connection

    server = HttpServer(listener, handler, name="test", limits=limits)
    server.start()
    try:
        yield connect
    finally:
        server.stop()


@pytest.fixture(params=["unix", "loopback"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> socket.socket:
    return listen(tmp_path / "run" / "socket") if request.param == "unix" else listen_on_loopback()


def read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while part := connection.recv(1 << 16):
            received += part
    except ConnectionResetError:
        pass
    return received


def exchange(connect: Connect, sent: bytes) -> tuple[bytes, bytes]:
    """Send bytes; return the head and the body of the response."""
    with connect() as connection:
        connection.sendall(sent)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
        return head, body


def test_a_response_has_only_the_headers_that_clients_need(listener: socket.socket) -> None:
    with serving(listener) as connect:
        head, body = exchange(connect, GET)
    assert json.loads(body) == {"method": "GET", "target": "/x?y", "body": ""}
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 ",
        b"Content-Type: application/json",
        b"Cache-Control: no-store",
        b"Connection: close",
        f"Content-Length: {len(body)}".encode(),
    ]


def test_the_response_to_head_has_no_body(listener: socket.socket) -> None:
    with serving(listener) as connect:
        head, body = exchange(connect, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"Content-Length: 40" in head
    assert body == b""


@pytest.mark.parametrize(
    "sent",
    [
        GET + GET,
        b"GET /x?y HTTP/1.0\r\n\r\n",
        b"GET /x?y HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
        b"GET /x?y HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ],
    ids=["pipelined", "HTTP/1.0", "h2c", "websocket"],
)
def test_a_connection_gets_one_response_and_no_other_protocol(
    listener: socket.socket, sent: bytes
) -> None:
    with serving(listener, limits=Limits(body_bytes=100)) as connect:
        head, body = exchange(connect, sent)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["target"] == "/x?y"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 50_000 + b"\r\n\r\n",
    ],
    ids=["no host", "two hosts", "two lengths", "TLS", "long"],
)
def test_a_malformed_request_is_rejected(
    listener: socket.socket, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(listener) as connect:
        head, body = exchange(connect, sent)
        assert head.startswith(b"HTTP/1.1 4")
        assert json.loads(body) == {"code": "BadRequest"}
        assert exchange(connect, GET)[0].startswith(b"HTTP/1.1 200 ")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("head", "body", "received"),
    [
        (b"Content-Length: 9", b"123456789", "123456789"),
        (b"Transfer-Encoding: chunked", b"4\r\n1234\r\n5\r\n56789\r\n0\r\n\r\n", "123456789"),
        (b"Content-Length: 11", b"1" * 11, None),
        (b"Transfer-Encoding: chunked", b"b\r\n11111111111\r\n0\r\n\r\n", None),
    ],
)
def test_a_body_is_read_up_to_the_limit(
    listener: socket.socket, head: bytes, body: bytes, received: str | None
) -> None:
    sent = b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n" + body
    with serving(listener, limits=Limits(body_bytes=10)) as connect:
        assert json.loads(exchange(connect, sent)[1])["body"] == received


def test_a_client_that_waits_for_100_continue_gets_it(listener: socket.socket) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with serving(listener, limits=Limits(body_bytes=10)) as connect, connect() as connection:
        connection.sendall(head)
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 \r\n\r\n"
        connection.sendall(b"ab")
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na"]
)
def test_a_request_that_does_not_arrive_in_time_is_given_up(
    listener: socket.socket, sent: bytes
) -> None:
    limits = Limits(body_bytes=10, timeout_seconds=0.01)
    with serving(listener, limits=limits) as connect:
        assert exchange(connect, sent) == (b"", b"")


def test_a_client_that_does_not_read_is_given_up(listener: socket.socket) -> None:
    async def send_much(_: HttpRequest) -> HttpResponse:
        return HttpResponse(HTTPStatus.OK, bytes(50 << 20))

    with (
        serving(listener, send_much, Limits(connections=1, timeout_seconds=0.01)) as connect,
        connect() as connection,
    ):
        connection.sendall(GET)
        connection.recv(1)
        # The socket's buffers are full, and nothing is read until the server has closed it.
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                connection.send(b"x")
        assert len(read_all(connection)) < 50 << 20


def test_a_client_that_disconnects_cancels_its_handler(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    is_started, is_cancelled = Event(), Event()

    async def wait(_: HttpRequest) -> HttpResponse:
        is_started.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_cancelled.set()
        raise AssertionError

    with serving(listener, wait) as connect:
        with connect() as connection:
            connection.sendall(GET)
            is_started.wait()
            assert not is_cancelled.is_set()
        assert is_cancelled.wait(30)
    assert caplog.records == []


def test_a_client_that_disconnects_ends_a_stream(listener: socket.socket) -> None:
    is_closed = Event()

    async def lines() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first\n"
            await asyncio.Event().wait()
        finally:
            is_closed.set()

    async def stream(_: HttpRequest) -> HttpResponse:
        return HttpResponse(HTTPStatus.OK, lines(), content_type="application/x-ndjson")

    with serving(listener, stream) as connect:
        with connect() as connection:
            connection.sendall(GET)
            received = b""
            while not received.endswith(b"\r\n\r\n6\r\nfirst\n\r\n"):
                received += connection.recv(1 << 16)
        assert is_closed.wait(30)


def test_a_bug_in_a_handler_is_logged_and_answered(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError

    with serving(listener, fail) as connect:
        head, body = exchange(connect, GET)
    assert head.startswith(b"HTTP/1.1 500 ")
    assert json.loads(body)["code"] == "Unexpected"
    [record] = caplog.records
    assert record.getMessage() == "internal_error"
    assert record.exc_info


def test_a_bug_in_a_stream_is_logged_and_ends_the_connection(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async def lines() -> AsyncGenerator[bytes, None]:
        yield b"first\n"
        raise ZeroDivisionError

    async def stream(_: HttpRequest) -> HttpResponse:
        return HttpResponse(HTTPStatus.OK, lines(), content_type="application/x-ndjson")

    with serving(listener, stream) as connect:
        assert exchange(connect, GET)[1] == b"6\r\nfirst\n\r\n", "without the last chunk"
    [record] = caplog.records
    assert record.getMessage() == "internal_error"
    assert record.exc_info


def test_the_oldest_connection_without_a_request_goes_when_there_are_too_many(
    listener: socket.socket,
) -> None:
    is_started, release = Event(), Event()

    async def wait(request: HttpRequest) -> HttpResponse:
        is_started.set()
        await asyncio.to_thread(release.wait)
        return await echo(request)

    with serving(listener, wait, Limits(connections=3)) as connect, ExitStack() as stack:
        busy = stack.enter_context(closing(connect()))
        busy.sendall(GET)
        is_started.wait()
        silent = [stack.enter_context(closing(connect())) for _ in range(4)]
        assert [read_all(connection) for connection in silent[:2]] == [b"", b""]
        release.set()
        silent[3].sendall(GET)
        for connection in (busy, silent[3]):
            assert read_all(connection).startswith(b"HTTP/1.1 200 ")


class ExhaustedListener(socket.socket):
    """A listener whose next calls of `accept` find no free descriptor."""

    def __init__(self) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.failures = 0
        self.calls = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_a_server_without_descriptors_pauses_and_logs_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_PAUSE_SECONDS", 0.001)
    listener = ExhaustedListener()
    listener.failures = 5
    with serving(listener) as connect:
        assert exchange(connect, GET)[0].startswith(b"HTTP/1.1 200 ")
        names = [record.getMessage() for record in caplog.records]
        assert names == ["resource_exhausted", "listener_paused"]
        # The second time also without the descriptor that is kept in reserve.
        listener.failures = 2
        assert exchange(connect, GET)[0].startswith(b"HTTP/1.1 200 ")
        assert len(caplog.records) == 3


def test_a_client_is_answered_with_the_descriptor_that_is_kept_in_reserve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "_PAUSE_SECONDS", 3600)
    listener = ExhaustedListener()
    with serving(listener) as connect:
        for _ in range(3):
            listener.failures = 1
            assert exchange(connect, GET)[0].startswith(b"HTTP/1.1 200 ")


def test_a_paused_server_answers_and_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PAUSE_SECONDS", 3600)
    listener = ExhaustedListener()
    with serving(listener) as connect, connect() as accepted:
        accepted.sendall(b"GET /x?y HT")
        while listener.calls < 2:  # the second call finds the queue empty
            pass
        listener.failures = 1000
        with connect():
            while listener.failures == 1000:
                pass
            accepted.sendall(b"TP/1.1\r\nHost: a\r\n\r\n")
            assert read_all(accepted).startswith(b"HTTP/1.1 200 ")
            # One for the descriptor in reserve, one for the pause.
            assert listener.failures == 998


def test_stop_lets_a_request_finish_that_is_about_to(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_STOP_SECONDS", 30)
    is_started, release = Event(), Event()

    async def wait(request: HttpRequest) -> HttpResponse:
        is_started.set()
        await asyncio.to_thread(release.wait)
        return await echo(request)

    address, family = listener.getsockname(), listener.family
    server = HttpServer(listener, wait, name="test")
    server.start()
    with socket.socket(family, socket.SOCK_STREAM) as busy, socket.socket(family) as silent:
        for connection in (silent, busy):
            connection.settimeout(30)
            connection.connect(address)
        busy.sendall(GET)
        is_started.wait()
        stopping = Thread(target=server.stop)
        stopping.start()
        release.set()
        assert read_all(busy).startswith(b"HTTP/1.1 200 ")
        assert read_all(silent) == b""
        stopping.join()
