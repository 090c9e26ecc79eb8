"""Connections to a server with several addresses."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from assumed.sts.connecting import Address, connect_to_first, open_connection


@pytest.fixture
def server() -> Iterator[int]:
    """A server on a port of 127.0.0.1, and one on 127.0.0.2 that completes no connection."""
    with ExitStack() as stack:
        good = stack.enter_context(socket.socket())
        good.bind(("127.0.0.1", 0))
        good.listen()
        port: int = good.getsockname()[1]
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.2", port))
        silent.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.2", port))
        yield port


def address(host: str, port: int) -> Address:
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)


def test_a_silent_and_a_closed_address_are_passed_over(server: int) -> None:
    hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.1")
    began = time.monotonic()
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    addresses = [address(host, server) for host in hosts]
    with connect_to_first(addresses, ends_at=began + 20, options=options) as found:
        assert found.getpeername() == ("127.0.0.1", server)
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert time.monotonic() < began + 10


def test_the_time_is_for_all_addresses(server: int) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connect_to_first([address("127.0.0.2", server)] * 8, ends_at=began + 0.5)
    assert time.monotonic() < began + 10


def test_the_error_is_that_of_the_last_address(server: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect_to_first([address("127.0.0.3", server)] * 2, ends_at=time.monotonic() + 20)
    with pytest.raises(OSError, match=r".") as raised:
        connect_to_first([], ends_at=time.monotonic() + 20)
    assert raised.value.errno == errno.EADDRNOTAVAIL


def test_a_name_that_is_looked_up_for_ever_ends_in_time(
    server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def hang(host: str, port: int, **options: int) -> object:
        if "flags" not in options:
            time.sleep(1)
        return look_up(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(TimeoutError):
        open_connection("localhost", server, seconds=0.05)
    monkeypatch.undo()
    with open_connection("127.0.0.1", server, seconds=5) as found:
        assert found.getpeername()[1] == server
