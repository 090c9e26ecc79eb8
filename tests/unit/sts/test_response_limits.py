from __future__ import annotations

import io
import time
from http.client import HTTPResponse
from types import SimpleNamespace
from typing import Any

import pytest

from assumed.sts import response_limits
from assumed.sts.response_limits import MAX_BYTES, ResponseLimitError, limit_responses
from tests.unit.engine.helpers import logged

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


class FakeSocket(io.RawIOBase):
    """A socket that receives some bytes at a time; each read takes a while.

    Args:
        data: what it receives.
        seconds: how long each read takes; it ends earlier by the time-out.
    """

    def __init__(self, data: bytes, monkeypatch: pytest.MonkeyPatch, seconds: float = 0) -> None:
        self._data = io.BytesIO(data)
        self._seconds = seconds
        self._now = 1000.0
        self.timeout: float | None = 20.0
        self.is_closed = False
        monkeypatch.setattr(time, "monotonic", lambda: self._now)

    def makefile(self, mode: str, buffering: int) -> FakeSocket:
        assert (mode, buffering) == ("rb", 0)
        return self

    def gettimeout(self) -> float | None:
        return self.timeout

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def readinto(self, buffer: Any) -> int:
        if self.timeout is not None and self._seconds > self.timeout:
            self._now += self.timeout
            raise TimeoutError
        self._now += self._seconds
        read = self._data.read(min(len(buffer), 64 << 10))
        buffer[: len(read)] = read
        return len(read)

    def close(self) -> None:
        self.is_closed = True


class Pool:
    ConnectionCls = type("Connection", (), {"response_class": HTTPResponse})


def read(sock: FakeSocket) -> bytes:
    """Read a response as a limited connection of botocore does."""
    session = SimpleNamespace(_pool_classes_by_scheme={"http": Pool, "https": Pool})
    limit_responses(session)
    pool: Any = session._pool_classes_by_scheme["https"]
    assert issubclass(pool, Pool)
    response = pool.ConnectionCls.response_class(sock)
    response.begin()
    body: bytes = response.read()
    return body


def test_a_response_within_the_limits_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"x" * (MAX_BYTES - 100)
    sock = FakeSocket(HEAD % len(body) + body, monkeypatch)
    assert read(sock) == body
    assert sock.timeout == 20.0
    assert sock.is_closed


def test_a_response_that_is_too_large_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"x" * MAX_BYTES
    with pytest.raises(ResponseLimitError, match="larger than 1 MiB"):
        read(FakeSocket(HEAD % len(body) + body, monkeypatch))


@pytest.mark.parametrize("seconds", [4, 16])
def test_a_response_that_is_too_slow_is_rejected(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    body = b"x" * (MAX_BYTES // 2)
    sock = FakeSocket(HEAD % len(body) + body, monkeypatch, seconds)
    with pytest.raises(ResponseLimitError, match="not complete after 15 s"):
        read(sock)
    assert sock.timeout == 20.0, "the connection keeps its own"


def test_the_time_out_of_the_connection_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = FakeSocket(HEAD % 1, monkeypatch, seconds=6)
    sock.timeout = 5.0
    with pytest.raises(TimeoutError):
        read(sock)


def test_another_botocore_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    response_limits._log_unavailable.cache_clear()
    for _ in range(2):
        limit_responses(SimpleNamespace())
    [fields] = logged(caplog, "response_limits_unavailable")
    assert fields["error"] == "AttributeError"
    response_limits._log_unavailable.cache_clear()
