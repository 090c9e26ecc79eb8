from __future__ import annotations

import asyncio
import errno
import os
from itertools import count

import pytest

from assumed.server import metrics_endpoint
from assumed.server.http import HttpRequest
from assumed.server.metrics_endpoint import MetricsHandler, MetricsServer
from tests.unit.engine.helpers import logged

HOST = (b"host", b"127.0.0.1:9000")


def request(
    target: bytes = b"/metrics",
    method: str = "GET",
    headers: tuple[tuple[bytes, bytes], ...] = (HOST,),
) -> HttpRequest:
    return HttpRequest(method, target, headers)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(), 200),
        (request(headers=((b"host", b"localhost:9000"),)), 200),
        (request(headers=((b"host", b"evil.example:9000"),)), 403),
        (request(headers=((b"host", b"127.0.0.1"),)), 200),
        (request(headers=((b"host", b"127.0.0.1:9001"),)), 403),
        (request(headers=(HOST, HOST)), 403),
        (request(headers=()), 403),
        (request(b"/"), 404),
        (request(b"/metrics?x=1"), 404),
        (request(method="HEAD"), 405),
        (request(method="POST"), 405),
    ],
)
def test_handle_answers_one_method_host_and_path(sent: HttpRequest, status: int) -> None:
    response = asyncio.run(MetricsHandler(lambda: b"metrics", port=9000).handle(sent))
    assert response.status == status
    assert (response.body == b"metrics") is (status == 200)


@pytest.mark.parametrize(
    ("max_age", "expected"), [(3600.0, [b"1", b"1", b"1"]), (0.0, [b"1", b"2", b"3"])]
)
def test_handle_renders_a_new_text_only_when_the_last_one_is_too_old(
    max_age: float, expected: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_endpoint, "_MAX_AGE_SECONDS", max_age)
    numbers = count(1)
    handler = MetricsHandler(lambda: str(next(numbers)).encode(), port=9000)

    async def bodies() -> list[object]:
        responses = await asyncio.gather(*(handler.handle(request()) for _ in expected))
        return [response.body for response in responses]

    assert asyncio.run(bodies()) == expected


class FakePorts:
    """The ports of 127.0.0.1; a server for each one that is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: set[int] = set()
        self.open: list[int] = []
        self.opened: list[int] = []
        monkeypatch.setattr(metrics_endpoint, "listen_and_keep", self._listen)
        monkeypatch.setattr(metrics_endpoint, "HttpServer", self._server)

    def _listen(self, _store: object, _name: str, port: int) -> int:
        if port in self.taken:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return port

    def _server(self, port: int, *_: object, name: str) -> FakePorts.Server:
        return self.Server(self, port)

    class Server:
        def __init__(self, ports: FakePorts, port: int) -> None:
            self._ports, self._port = ports, port

        def start(self) -> None:
            self._ports.open.append(self._port)
            self._ports.opened.append(self._port)

        def stop(self) -> None:
            self._ports.open.remove(self._port)


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    return FakePorts(monkeypatch)


def test_the_server_moves_to_another_port_and_stays_at_the_same(ports: FakePorts) -> None:
    server = MetricsServer(lambda: b"")
    for port in (9000, 9000, 9001):
        server.open(port)
    assert (ports.open, ports.opened) == ([9001], [9000, 9001])
    server.open(None)
    assert ports.open == []
    server.close()


def test_a_port_that_another_process_has_is_logged_and_tried_again(
    ports: FakePorts, caplog: pytest.LogCaptureFixture
) -> None:
    server = MetricsServer(lambda: b"")
    server.open(9000)
    ports.taken = {9001}
    server.open(9001)
    assert ports.open == []
    [fields] = logged(caplog, "metrics_listen_failed")
    assert (fields["address"], fields["error"]) == ("127.0.0.1:9001", "Address already in use")
    ports.taken = set()
    server.open(9001)
    assert ports.open == [9001]
