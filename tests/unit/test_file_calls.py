from __future__ import annotations

import errno
from collections.abc import Iterator
from threading import Event

import pytest

from assumed import file_calls
from assumed.file_calls import FileCalls, HangingFileError, hanging_files


@pytest.fixture
def goes_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    monkeypatch.setattr(file_calls, "MAX_SECONDS", 0.05)
    event = Event()
    yield event
    event.set()


def test_a_call_returns_its_result_or_its_error() -> None:
    calls = FileCalls("/home")
    assert calls.run(lambda: 5) == 5

    def fail() -> None:
        raise TimeoutError(errno.ETIMEDOUT, "of the call itself")

    with pytest.raises(TimeoutError, match="of the call itself"):
        calls.run(fail)


def test_a_call_that_hangs_is_named_and_delays_no_other(goes_on: Event) -> None:
    calls, others = FileCalls("/hanging"), FileCalls("/other")
    later: list[str] = []
    with pytest.raises(HangingFileError) as raised:
        calls.run(goes_on.wait)
    with pytest.raises(HangingFileError):
        calls.run(lambda: later.append("made"))
    assert raised.value.filename == "/hanging"
    assert [what for what, _ in hanging_files()] == ["/hanging"]
    assert others.run(lambda: 5) == 5
    goes_on.set()
    while hanging_files():
        pass
    assert calls.run(lambda: 6) == 6
    assert later == []
