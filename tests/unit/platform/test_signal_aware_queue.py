from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator

import pytest

from assumed.platform.signal_aware_queue import SignalAwareQueue


@pytest.fixture
def signal_queue() -> Iterator[SignalAwareQueue[str]]:
    signal_queue = SignalAwareQueue[str]()
    before = signal.signal(signal.SIGUSR1, lambda *_: signal_queue.put("signal"))
    signal_queue.enable_signal_wakeup()
    yield signal_queue
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, before)


def test_get_returns_items_in_order(signal_queue: SignalAwareQueue[str]) -> None:
    for item in "abc":
        signal_queue.put(item)
    assert [signal_queue.get(timeout=60) for _ in range(3)] == ["a", "b", "c"]


def test_get_times_out(signal_queue: SignalAwareQueue[str]) -> None:
    with pytest.raises(queue.Empty):
        signal_queue.get(timeout=0)


def test_put_from_another_thread_wakes_get(signal_queue: SignalAwareQueue[str]) -> None:
    threading.Timer(0.05, signal_queue.put, ["a"]).start()
    assert signal_queue.get(timeout=60) == "a"


def test_a_signal_to_another_thread_wakes_get(signal_queue: SignalAwareQueue[str]) -> None:
    is_asleep = threading.Event()

    def take_signal() -> None:
        is_asleep.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        # While this thread runs, only the pipe can wake the main thread.
        is_over.wait()

    is_over = threading.Event()
    thread = threading.Thread(target=take_signal)
    thread.start()
    threading.Timer(0.1, is_asleep.set).start()
    assert signal_queue.get(timeout=60) == "signal"
    is_over.set()
    thread.join()


def test_put_neither_blocks_nor_loses_more_items_than_the_pipe_holds(
    signal_queue: SignalAwareQueue[str],
) -> None:
    for _ in range(20_000):
        signal_queue.put("a")
    assert [signal_queue.get(timeout=60) for _ in range(20_000)] == ["a"] * 20_000
