from __future__ import annotations

import logging
import threading

import pytest

from assumed.logs.background import BackgroundHandler
from assumed.logs.destinations import FailoverHandler
from assumed.logs.events import event


class Memory(logging.Handler):
    """Keeps events, and raises `failure` instead if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.events: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self.failure is not None:
            raise self.failure
        self.events.append(record.getMessage())


class Blocking(Memory):
    """Blocks until `free` is set; sets `is_complete` after some events."""

    def __init__(self, *, count: int) -> None:
        super().__init__()
        self.count = count
        self.free = threading.Event()
        self.is_complete = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.free.wait()
        super().emit(record)
        if len(self.events) == self.count:
            self.is_complete.set()


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def use(handler: logging.Handler) -> None:
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("assumed").setLevel(logging.INFO)


@pytest.mark.parametrize("failure", [OSError(28, "No space left"), ValueError(), RecursionError()])
def test_a_failing_handler_is_replaced_and_tried_again_each_minute(failure: Exception) -> None:
    file, stderr, seconds = Memory(), Memory(), Seconds()
    handler = FailoverHandler(file, stderr, name="the file", monotonic=seconds)
    use(handler)
    event(logging.INFO, "one")
    file.failure = failure
    event(logging.INFO, "two")
    seconds.now = 59
    event(logging.INFO, "three")
    handler.retry()
    assert stderr.events == ["log_failed", "two", "three"]
    assert (handler.error or "").startswith("the file: ")

    seconds.now = 61
    event(logging.INFO, "four")
    assert stderr.events == ["log_failed", "two", "three", "four"]
    file.failure = None
    seconds.now = 130
    handler.retry()
    event(logging.INFO, "five")
    assert not handler.error
    assert file.events == ["one", "log_recovered", "five"]
    assert stderr.events == ["log_failed", "two", "three", "four"]


def test_event_never_raises_whatever_its_handlers_do() -> None:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise MemoryError

    use(Broken())
    event(logging.ERROR, "something")
    file, stderr = Memory(), Memory()
    file.failure = stderr.failure = OSError("both")
    use(FailoverHandler(file, stderr, name="the file"))
    event(logging.ERROR, "something")


def test_a_handler_that_blocks_holds_up_no_one_and_loses_only_what_does_not_fit() -> None:
    target = Blocking(count=1002)
    handler = BackgroundHandler(FailoverHandler(target, None, name="the pipe"))
    use(handler)
    for number in range(1100):
        event(logging.INFO, f"event {number}")
    assert target.events == []
    target.free.set()
    assert target.is_complete.wait(60)
    # One was in the hands of the thread.
    assert target.events == [
        "event 0", "events_dropped", *(f"event {number}" for number in range(1, 1001)),
    ]  # fmt: skip


def test_an_event_is_written_when_event_returns() -> None:
    target = Memory()
    use(BackgroundHandler(FailoverHandler(target, None, name="the file")))
    for number in range(100):
        event(logging.INFO, f"event {number}")
        assert len(target.events) == number + 1
