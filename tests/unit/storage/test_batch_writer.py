"""Refreshes that finish at nearly the same time are one rewrite."""

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


class Commits:
    """Remembers what was committed together; a commit can be held up, or fail."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.slept: list[float] = []
        self.clock = FakeClock()
        self.began = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.takes = timedelta(0)
        self.work = 0.0
        """Of one commit, in seconds of processor time."""
        self._worked = 0.0
        self.coming: list[str] = []
        """Asked for one by one, whenever somebody sleeps."""
        self.result: Callable[[Sequence[str]], Errors] = lambda requests: [None] * len(requests)
        self.group = BatchWriter(
            self._commit, clock=self.clock, sleep=self._sleep, worked=lambda: self._worked
        )

    def _commit(self, requests: Sequence[str]) -> Errors:
        self.groups.append(list(requests))
        self.began.set()
        assert self.may_go_on.wait(60)
        self.clock.advance(self.takes)
        self._worked += self.work
        return self.result(requests)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))
        if self.coming:
            self.group.submit(self.coming.pop(0))

    def make(self, *requests: str) -> None:
        for request in requests:
            self.group.submit(request).result(60)


@pytest.fixture
def commits() -> Commits:
    return Commits()


def held_up(commits: Commits, *later: str) -> dict[str, Future[None]]:
    """Begin a commit of `first`, and have all others wait for it to end."""
    commits.may_go_on.clear()
    futures = {"first": commits.group.submit("first")}
    assert commits.began.wait(60)
    return futures | {request: commits.group.submit(request) for request in later}


def settled(futures: Mapping[str, Future[None]]) -> list[BaseException | None]:
    return [future.exception(60) for future in futures.values()]


def test_one_that_comes_alone_is_committed_at_once(commits: Commits) -> None:
    commits.make("a")

    assert (commits.groups, commits.slept) == ([["a"]], [])


def test_the_next_commit_begins_no_earlier_than_the_window_after_the_last(commits: Commits) -> None:
    commits.make("a")
    commits.clock.advance(timedelta(seconds=0.02))
    commits.make("b")
    commits.clock.advance(timedelta(seconds=0.06))
    commits.make("c")

    assert commits.groups == [["a"], ["b"], ["c"]]
    assert commits.slept == [pytest.approx(0.03)]


def test_what_comes_while_a_commit_is_under_way_is_one_commit_in_its_order(
    commits: Commits,
) -> None:
    later = [f"p{number}" for number in range(20)]
    futures = held_up(commits, *later)
    assert not any(future.done() for future in futures.values())
    commits.may_go_on.set()

    assert settled(futures) == [None] * 21
    assert commits.groups == [["first"], later]


def test_after_much_work_the_next_commit_waits_while_more_keeps_coming(commits: Commits) -> None:
    commits.work = 0.0735
    commits.coming = [f"p{number}" for number in range(40)]
    commits.make("a", "b")

    # Within seven times of the work of the last one: 9 windows of 50 ms, each of which brings one.
    assert [len(group) for group in commits.groups][:2] == [1, 10]
    assert sum(commits.slept[:9]) == pytest.approx(0.45)


def test_after_much_work_one_that_comes_alone_waits_for_one_more_window(commits: Commits) -> None:
    commits.work = 0.1
    commits.make("a", "b")
    assert sum(commits.slept) == pytest.approx(0.1)

    commits.clock.advance(timedelta(seconds=1))
    commits.make("c")
    assert commits.groups == [["a"], ["b"], ["c"]]
    assert sum(commits.slept) == pytest.approx(0.1)


def test_a_commit_that_waits_for_the_disk_makes_the_next_wait_no_longer(commits: Commits) -> None:
    commits.takes = timedelta(seconds=3)
    commits.coming = [f"p{number}" for number in range(40)]
    commits.make("a", "b")

    assert commits.groups == [["a"], ["b"]]
    assert commits.slept == []


def test_each_request_gets_its_own_error(commits: Commits) -> None:
    refused = ValueError("b")
    commits.result = lambda requests: [refused if name == "b" else None for name in requests]
    futures = held_up(commits, "a", "b", "c")
    commits.may_go_on.set()

    assert settled(futures) == [None, None, refused, None]


def test_a_commit_that_fails_fails_for_all_of_it_and_for_none_after_it(commits: Commits) -> None:
    full = CredentialsFileUnwritableError("full", hint="free some space")

    def fail(requests: Sequence[str]) -> Errors:
        if "first" in requests:
            return [None]
        raise full

    commits.result = fail
    futures = held_up(commits, "a", "b")
    commits.may_go_on.set()
    assert settled(futures) == [None, full, full]

    commits.result = lambda requests: [None] * len(requests)
    commits.make("c")
    assert commits.groups[-1] == ["c"]


def test_close_waits_for_what_was_asked_for_and_refuses_what_comes_after(commits: Commits) -> None:
    futures = held_up(commits, "a", "b")
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(commits.group.close)
        while not commits.group._is_closed:
            os.sched_yield()
        assert not closing.done()
        commits.may_go_on.set()

    assert commits.groups == [["first"], ["a", "b"]]
    assert [*settled(futures), closing.exception()] == [None] * 4
    with pytest.raises(CredentialsFileUnwritableError, match="stopping"):
        commits.make("late")


def test_close_does_not_wait_for_a_commit_that_hangs(commits: Commits) -> None:
    commits.group = BatchWriter(
        commits._commit, clock=commits.clock, sleep=commits._sleep, close_seconds=0.01
    )
    futures = held_up(commits)
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(commits.group.close)
        try:
            closing.result(60)
            assert not futures["first"].done()
        finally:
            commits.may_go_on.set()
    assert settled(futures) == [None]


def test_where_no_thread_is_to_be_had_it_fails_for_this_one_and_not_for_the_next(
    commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(CredentialsFileUnwritableError, match="no thread"):
            commits.make("a")
    commits.make("b")

    assert commits.groups == [["b"]]
