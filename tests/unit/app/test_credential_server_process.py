from __future__ import annotations

import errno
import os
import select
import time
from pathlib import Path

import pytest

from assumed.app import credential_server_process
from assumed.app.credential_server_process import _wait_for_end as wait_for_end
from assumed.app.credential_server_process import parse_reply
from assumed.errors import RefreshFailedError, UnexpectedError, UsageError
from assumed.models import EndpointAddress


def test_parse_reply_returns_an_endpoint_or_credentials() -> None:
    url = "http://127.0.0.1:1/v1/credentials/deploy"
    assert parse_reply(f'{{"url": "{url}", "token_file": "/t"}}') == EndpointAddress(
        url=url, token_file=Path("/t")
    )
    assert parse_reply('{"credentials": {"AccessKeyId": "ASIA"}}') == {"AccessKeyId": "ASIA"}


def test_parse_reply_raises_the_error_of_the_process() -> None:
    with pytest.raises(UsageError, match="disabled"):
        parse_reply('{"code": "Usage", "message": "disabled", "hint": ""}')
    with pytest.raises(RefreshFailedError, match="denied") as raised:
        parse_reply('{"code": "AccessDenied", "message": "denied", "hint": "ask"}')
    assert (raised.value.code, raised.value.hint) == (
        "AccessDenied",
        "ask; then run the command again",
    )


def test_parse_reply_fails_if_the_process_ended_without_a_reply() -> None:
    with pytest.raises(UnexpectedError):
        parse_reply("")


class OldKernel:
    """A kernel without pidfd_open: the process ends after some polls of a second each."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, polls: int, error: type[OSError]
    ) -> None:
        self.polls, self.error = polls, error
        self.now = 50.0
        monkeypatch.setattr(os, "kill", self._kill)
        monkeypatch.setattr(time, "sleep", self._sleep)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def _kill(self, pid: int, signal: int) -> None:
        assert (pid, signal) == (812, 0)
        if self.polls == 0:
            raise self.error
        self.polls -= 1

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


# The ID of a process that has ended may belong to another user's process.
@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
def test_without_a_pidfd_the_end_of_the_command_is_polled(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    kernel = OldKernel(monkeypatch, polls=3, error=error)
    assert not wait_for_end(812, None, timeout=2)
    assert kernel.now == 52.0
    assert wait_for_end(812, None)
    assert kernel.now == 53.0


def test_a_pidfd_needs_no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    ready: list[int] = []
    monkeypatch.setattr(select, "select", lambda *_: (ready, [], []))
    assert not wait_for_end(812, 5, timeout=2)
    ready.append(5)
    assert wait_for_end(812, 5)


def test_an_old_kernel_has_no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_unknown(_: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", is_unknown)
    assert credential_server_process._open_pidfd() is None
