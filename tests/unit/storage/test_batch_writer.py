"""Refreshes that finish at nearly the same time share one write."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest

from assumed.errors import CredentialsFileUnwritableError
from assumed.storage.batch_writer import BatchWriter
from tests.fakes import FakeClock

Errors = Sequence[Exception | None]


class Writes:
    """Records which requests were written together; a write can be blocked, or fail."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.slept: list[float] = []
        self.clock = FakeClock()
        self.began = threading.Event()
        self.may_continue = threading.Event()
        self.may_continue.set()
        self.takes = timedelta(0)
        self.cost = 0.0
        """Of one write, in seconds of processor time."""
        self._processor_time = 0.0
        self.arriving: list[str] = []
        """Submitted one by one, at each sleep."""
        self.result: Callable[[Sequence[str]], Errors] = lambda requests: [None] * len(requests)
        self.writer = BatchWriter(
            self._write,
            clock=self.clock,
            sleep=self._sleep,
            processor_time=lambda: self._processor_time,
        )

    def _write(self, requests: Sequence[str]) -> Errors:
        self.batches.append(list(requests))
        self.began.set()
        assert self.may_continue.wait(60)
        self.clock.advance(self.takes)
        self._processor_time += self.cost
        return self.result(requests)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))
        if self.arriving:
            self.writer.submit(self.arriving.pop(0))

    def submit(self, *requests: str) -> None:
        for request in requests:
            self.writer.submit(request).result(60)


@pytest.fixture
def writes() -> Writes:
    return Writes()


def blocked(writes: Writes, *later: str) -> dict[str, Future[None]]:
    """Begin a write of `first` that does not end, and submit the others."""
    writes.may_continue.clear()
    futures = {"first": writes.writer.submit("first")}
    assert writes.began.wait(60)
    return futures | {request: writes.writer.submit(request) for request in later}


def exceptions(futures: Mapping[str, Future[None]]) -> list[BaseException | None]:
    return [future.exception(60) for future in futures.values()]


def test_submit_writes_a_single_request_at_once(writes: Writes) -> None:
    writes.submit("a")

    assert (writes.batches, writes.slept) == ([["a"]], [])


def test_submit_begins_a_write_no_earlier_than_the_window_after_the_last(writes: Writes) -> None:
    writes.submit("a")
    writes.clock.advance(timedelta(seconds=0.02))
    writes.submit("b")
    writes.clock.advance(timedelta(seconds=0.06))
    writes.submit("c")

    assert writes.batches == [["a"], ["b"], ["c"]]
    assert writes.slept == [pytest.approx(0.03)]


def test_submit_batches_requests_that_arrive_during_a_write_in_their_order(
    writes: Writes,
) -> None:
    later = [f"p{number}" for number in range(20)]
    futures = blocked(writes, *later)
    assert not any(future.done() for future in futures.values())
    writes.may_continue.set()

    assert exceptions(futures) == [None] * 21
    assert writes.batches == [["first"], later]


def test_submit_waits_after_a_costly_write_while_more_requests_arrive(writes: Writes) -> None:
    writes.cost = 0.0735
    writes.arriving = [f"p{number}" for number in range(40)]
    writes.submit("a", "b")

    # Within seven times the cost of the last one: 9 windows of 50 ms, each with one request.
    assert [len(group) for group in writes.batches][:2] == [1, 10]
    assert sum(writes.slept[:9]) == pytest.approx(0.45)


def test_submit_waits_one_window_after_a_costly_write_if_no_more_requests_arrive(
    writes: Writes,
) -> None:
    writes.cost = 0.1
    writes.submit("a", "b")
    assert sum(writes.slept) == pytest.approx(0.1)

    writes.clock.advance(timedelta(seconds=1))
    writes.submit("c")
    assert writes.batches == [["a"], ["b"], ["c"]]
    assert sum(writes.slept) == pytest.approx(0.1)


def test_submit_does_not_count_the_time_that_a_write_waits_for_the_disk(writes: Writes) -> None:
    writes.takes = timedelta(seconds=3)
    writes.arriving = [f"p{number}" for number in range(40)]
    writes.submit("a", "b")

    assert writes.batches == [["a"], ["b"]]
    assert writes.slept == []


def test_submit_fails_each_request_with_its_own_error(writes: Writes) -> None:
    rejected = ValueError("b")
    writes.result = lambda requests: [rejected if name == "b" else None for name in requests]
    futures = blocked(writes, "a", "b", "c")
    writes.may_continue.set()

    assert exceptions(futures) == [None, None, rejected, None]


def test_submit_fails_the_whole_batch_of_a_failed_write_and_no_later_one(writes: Writes) -> None:
    full = CredentialsFileUnwritableError("full", hint="free some space")

    def fail(requests: Sequence[str]) -> Errors:
        if "first" in requests:
            return [None]
        raise full

    writes.result = fail
    futures = blocked(writes, "a", "b")
    writes.may_continue.set()
    assert exceptions(futures) == [None, full, full]

    writes.result = lambda requests: [None] * len(requests)
    writes.submit("c")
    assert writes.batches[-1] == ["c"]


def test_close_waits_for_accepted_requests_and_rejects_later_ones(writes: Writes) -> None:
    futures = blocked(writes, "a", "b")
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(writes.writer.close)
        while not writes.writer._is_closed:
            os.sched_yield()
        assert not closing.done()
        writes.may_continue.set()

    assert writes.batches == [["first"], ["a", "b"]]
    assert [*exceptions(futures), closing.exception()] == [None] * 4
    with pytest.raises(CredentialsFileUnwritableError, match="stopping"):
        writes.submit("late")


def test_close_does_not_wait_for_a_write_that_hangs(writes: Writes) -> None:
    writes.writer = BatchWriter(
        writes._write, clock=writes.clock, sleep=writes._sleep, close_timeout=0.01
    )
    futures = blocked(writes)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(writes.writer.close)
        try:
            closing.result(60)
            assert not futures["first"].done()
        finally:
            writes.may_continue.set()
    assert exceptions(futures) == [None]


def test_submit_writes_on_the_calling_thread_if_no_other_can_be_started(
    writes: Writes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        writes.submit("a")
        assert writes.batches == [["a"]]
    writes.submit("b")

    assert writes.batches == [["a"], ["b"]]
