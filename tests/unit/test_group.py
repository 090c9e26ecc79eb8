"""Refreshes that finish at nearly the same time are one rewrite."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest

from assumed.errors import CredentialsFileUnwritable
from assumed.store.group import GroupCommit
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
        self.result: Callable[[Sequence[str]], Errors] = lambda requests: [None] * len(requests)
        self.group = GroupCommit(self._commit, clock=self.clock, sleep=self._sleep)

    def _commit(self, requests: Sequence[str]) -> Errors:
        self.groups.append(list(requests))
        self.began.set()
        assert self.may_go_on.wait(60)
        return self.result(requests)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))

    def wait_for(self, waiting: int) -> None:
        while len(self.group._waiting) < waiting:
            os.sched_yield()


@pytest.fixture
def commits() -> Commits:
    return Commits()


def held_up(commits: Commits, pool: ThreadPoolExecutor, *later: str) -> dict[str, Future[None]]:
    """Begin a commit of `first`, and return once all others wait for it to end."""
    commits.may_go_on.clear()
    futures = {"first": pool.submit(commits.group.submit, "first")}
    assert commits.began.wait(60)
    for number, request in enumerate(later, start=1):
        futures[request] = pool.submit(commits.group.submit, request)
        commits.wait_for(number)
    return futures


def test_one_that_comes_alone_is_committed_at_once(commits: Commits) -> None:
    commits.group.submit("a")

    assert (commits.groups, commits.slept) == ([["a"]], [])


def test_the_next_commit_begins_no_earlier_than_the_window_after_the_last(commits: Commits) -> None:
    commits.group.submit("a")
    commits.clock.advance(timedelta(seconds=0.02))
    commits.group.submit("b")
    commits.clock.advance(timedelta(seconds=0.06))
    commits.group.submit("c")

    assert commits.groups == [["a"], ["b"], ["c"]]
    assert commits.slept == [pytest.approx(0.03)]


def test_what_comes_while_a_commit_is_under_way_is_one_commit_in_its_order(
    commits: Commits,
) -> None:
    later = [f"p{number}" for number in range(20)]
    with ThreadPoolExecutor(21) as pool:
        futures = held_up(commits, pool, *later)
        assert not any(future.done() for future in futures.values())
        commits.may_go_on.set()

    assert commits.groups == [["first"], later]
    assert all(future.exception() is None for future in futures.values())


def test_each_request_gets_its_own_error(commits: Commits) -> None:
    refused = ValueError("b")
    commits.result = lambda requests: [refused if name == "b" else None for name in requests]
    with ThreadPoolExecutor(4) as pool:
        futures = held_up(commits, pool, "a", "b", "c")
        commits.may_go_on.set()

    assert [future.exception() for future in futures.values()] == [None, None, refused, None]


def test_a_commit_that_fails_fails_for_all_of_it_and_for_none_after_it(commits: Commits) -> None:
    full = CredentialsFileUnwritable("full", hint="free some space")

    def fail(requests: Sequence[str]) -> Errors:
        if "first" in requests:
            return [None]
        raise full

    commits.result = fail
    with ThreadPoolExecutor(3) as pool:
        futures = held_up(commits, pool, "a", "b")
        commits.may_go_on.set()
    assert [future.exception() for future in futures.values()] == [None, full, full]

    commits.result = lambda requests: [None] * len(requests)
    commits.group.submit("c")
    assert commits.groups[-1] == ["c"]


def test_an_interrupt_reaches_who_was_interrupted_and_nobody_is_left_waiting(
    commits: Commits,
) -> None:
    def interrupt(requests: Sequence[str]) -> Errors:
        raise KeyboardInterrupt

    commits.result = interrupt
    with pytest.raises(KeyboardInterrupt):
        commits.group.submit("a")

    commits.result = lambda requests: [None] * len(requests)
    commits.group.submit("b")
    assert commits.groups == [["a"], ["b"]]


def test_close_waits_for_what_was_asked_for_and_refuses_what_comes_after(commits: Commits) -> None:
    with ThreadPoolExecutor(4) as pool:
        futures = held_up(commits, pool, "a", "b")
        closing = pool.submit(commits.group.close)
        while not commits.group._is_closed:
            os.sched_yield()
        assert not closing.done()
        commits.may_go_on.set()

    assert commits.groups == [["first"], ["a", "b"]]
    assert all(future.exception() is None for future in [*futures.values(), closing])
    with pytest.raises(CredentialsFileUnwritable, match="stopping"):
        commits.group.submit("late")
