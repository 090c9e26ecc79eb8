"""`status --watch`: what is drawn and printed while the status and the daemon change."""

from __future__ import annotations

import json
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from assumed.cli import status_watch
from assumed.errors import DaemonUnreachableError
from assumed.models import Status
from tests.unit.cli.test_status_table import DAEMON, FAILING, VALID

GONE = DaemonUnreachableError("the daemon does not answer", hint="start it")


def status(*profiles: Any) -> Status:
    return Status(daemon=DAEMON, profiles=profiles)


class Readings:
    """Returns one status after another, or raises it; the user interrupts after the last one."""

    def __init__(self, *readings: Status | DaemonUnreachableError) -> None:
        self._readings = iter(readings)

    def __call__(self) -> Status:
        reading = next(self._readings, None)
        if reading is None:
            raise KeyboardInterrupt
        if isinstance(reading, DaemonUnreachableError):
            raise reading
        return reading


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select, "select", lambda *_: ([], [], []))


def streamed(capsys: pytest.CaptureFixture[str], readings: Readings) -> list[Any]:
    with pytest.raises(KeyboardInterrupt):
        status_watch.stream(readings)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_stream_prints_a_status_when_more_than_the_time_has_changed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    later = replace(VALID, seconds_left=100, next_attempt_at=None)
    lines = streamed(capsys, Readings(status(VALID), status(later), GONE, status(FAILING)))
    assert [line["profiles"][0]["profile"] for line in lines] == ["s3-read-only", "deploy"]
    assert lines[0]["profiles"][0]["seconds_left"] == VALID.seconds_left


def test_stream_fails_without_a_first_status() -> None:
    with pytest.raises(DaemonUnreachableError):
        status_watch.stream(Readings(GONE, status(VALID)))


class Screens:
    """What `watch` draws, with keys that a user types."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *keys: bytes | None) -> None:
        self._keys = iter(keys)
        self.drawn: list[tuple[Status, Sequence[str]]] = []
        self.handlers: dict[int, Callable[..., object]] = {}
        monkeypatch.setattr(status_watch, "_keys", self._reader)
        monkeypatch.setattr(status_watch, "render_screen", self._draw)
        monkeypatch.setattr(signal, "signal", self.handlers.__setitem__)

    @contextmanager
    def _reader(self) -> Iterator[Callable[[float], bytes | None]]:
        yield lambda _: next(self._keys)

    def _draw(self, status: Status, *_: object, notes: Sequence[str], **__: object) -> str:
        self.drawn.append((status, notes))
        return ""


@pytest.mark.parametrize("key", [b"q", b"Q", b""])
def test_watch_ends_at_a_q_and_at_the_end_of_the_input(
    monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    screens = Screens(monkeypatch, None, b"x", key)
    status_watch.watch(Readings(status(VALID), status(FAILING), status(VALID)))
    assert [shown.profiles[0] for shown, _ in screens.drawn] == [VALID, FAILING, VALID]


def test_watch_keeps_the_last_status_while_the_daemon_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screens = Screens(monkeypatch, None, None, b"q")
    status_watch.watch(Readings(status(VALID), GONE, status(FAILING)))
    assert screens.drawn == [
        (status(VALID), ()),
        (status(VALID), ("not up to date: the daemon does not answer",)),
        (status(FAILING), ()),
    ]


def test_watch_exits_as_usual_when_it_is_terminated(monkeypatch: pytest.MonkeyPatch) -> None:
    screens = Screens(monkeypatch, b"q")
    status_watch.watch(Readings(status(VALID)))
    with pytest.raises(SystemExit) as raised:
        screens.handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert raised.value.code == 143


def test_watch_reads_no_keys_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe:
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Pipe())
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        status_watch.watch(Readings(status(VALID), status(VALID)))
