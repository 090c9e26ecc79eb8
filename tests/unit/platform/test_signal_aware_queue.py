"""The main thread sleeps until something comes, be it by a signal that another thread was given."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator

import pytest

from assumed.platform.signal_aware_queue import SignalAwareQueue


@pytest.fixture
def inbox() -> Iterator[SignalAwareQueue[str]]:
    inbox = SignalAwareQueue[str]()
    before = signal.signal(signal.SIGUSR1, lambda *_: inbox.put("signal"))
    inbox.enable_signal_wakeup()
    yield inbox
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, before)


def test_items_come_out_in_their_order(inbox: SignalAwareQueue[str]) -> None:
    for item in "abc":
        inbox.put(item)
    assert [inbox.get(timeout=60) for _ in range(3)] == ["a", "b", "c"]


def test_with_nothing_to_come_it_is_empty(inbox: SignalAwareQueue[str]) -> None:
    with pytest.raises(queue.Empty):
        inbox.get(timeout=0)


def test_another_thread_wakes_it(inbox: SignalAwareQueue[str]) -> None:
    threading.Timer(0.05, inbox.put, ["a"]).start()
    assert inbox.get(timeout=60) == "a"


def test_a_signal_wakes_it_that_another_thread_was_given(inbox: SignalAwareQueue[str]) -> None:
    is_asleep = threading.Event()

    def take_signal() -> None:
        is_asleep.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        # As long as this thread lives the signal has no other way to the main thread.
        is_over.wait()

    is_over = threading.Event()
    thread = threading.Thread(target=take_signal)
    thread.start()
    threading.Timer(0.1, is_asleep.set).start()
    assert inbox.get(timeout=60) == "signal"
    is_over.set()
    thread.join()


def test_more_than_a_pipe_holds_is_not_lost_and_blocks_nobody(inbox: SignalAwareQueue[str]) -> None:
    for _ in range(20_000):
        inbox.put("a")
    assert [inbox.get(timeout=60) for _ in range(20_000)] == ["a"] * 20_000
