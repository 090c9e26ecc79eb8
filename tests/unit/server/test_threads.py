from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from assumed.server import threads
from assumed.server.threads import WorkerThreads, completions, result_of


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("test-")]


def test_run_returns_the_result_of_a_call_in_another_thread() -> None:
    thread = asyncio.run(WorkerThreads("test-result").run(threading.current_thread))
    assert thread.name == "test-result"
    assert thread.daemon, "a call that hangs does not keep the process from ending"


def test_run_raises_the_exception_of_a_call_and_keeps_the_thread() -> None:
    workers = WorkerThreads("test-exception", max_threads=1)

    async def run() -> str:
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda: 1 / 0)
        return (await workers.run(threading.current_thread)).name

    assert asyncio.run(run()) == "test-exception"
    assert names().count("test-exception") == 1


def test_run_uses_no_more_threads_than_there_are_calls() -> None:
    workers = WorkerThreads("test-few", max_threads=4)

    async def run() -> None:
        for _ in range(10):
            await workers.run(lambda: None)

    asyncio.run(run())
    assert names().count("test-few") == 1


def test_run_makes_calls_at_the_same_time_up_to_its_limit() -> None:
    workers = WorkerThreads("test-limit", max_threads=3)
    barrier = threading.Barrier(3)

    async def run() -> None:
        await asyncio.gather(*(workers.run(barrier.wait) for _ in range(9)))

    asyncio.run(run())
    assert names().count("test-limit") == 3


def test_a_cancelled_call_that_waits_for_a_thread_is_not_made() -> None:
    workers = WorkerThreads("test-cancelled", max_threads=1)
    release = threading.Event()
    calls: list[str] = []

    async def run() -> None:
        blocked = asyncio.create_task(workers.run(release.wait))
        waiting = asyncio.create_task(workers.run(lambda: calls.append("cancelled")))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        release.set()
        await blocked
        await workers.run(lambda: calls.append("last"))

    asyncio.run(run())
    assert calls == ["last"]


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.001)
    workers = WorkerThreads("test-idle", max_threads=3)

    async def run() -> None:
        await asyncio.gather(*(workers.run(int) for _ in range(3)))

    for _ in range(2):
        asyncio.run(run())
    # A thread may have been started for a call that another one then made.
    for thread in threading.enumerate():
        if thread.name.startswith("test-idle"):
            thread.join(30)
    assert "test-idle" not in names()


def test_completions_has_each_future_as_soon_as_it_is_done() -> None:
    first, second = Future[int](), Future[int]()

    async def run() -> list[int]:
        done = completions([first, second])
        second.set_result(2)
        results = [(await done.get()).result()]
        threading.Thread(target=first.set_result, args=[1]).start()
        return [*results, (await done.get()).result()]

    assert asyncio.run(run()) == [2, 1]


def test_result_of_leaves_a_future_alone_when_it_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    future = Future[int]()

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(result_of(future), 0)

    asyncio.run(run())
    assert future.set_running_or_notify_cancel()
    future.set_result(1)
    assert caplog.records == []
