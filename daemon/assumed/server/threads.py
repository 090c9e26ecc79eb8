"""How a handler in an event loop waits for other threads."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from assumed.local_faults import thread_shortage

_IDLE_SECONDS = 10.0

_Result = TypeVar("_Result")


class WorkerThreads:
    """Threads for calls that may block, such as on a lock or a file system.

    They start when there is work and end after 10 seconds without any. They are daemon threads: the
    interpreter waits at its end for those of `concurrent.futures`, so that one call that hangs
    would keep the process from stopping.

    Args:
        name: of the threads.
        max_threads: at the same time; further calls wait.
    """

    def __init__(self, name: str, *, max_threads: int = 4) -> None:
        self._name = name
        self._max_threads = max_threads
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0

    async def run(self, call: Callable[[], _Result]) -> _Result:
        """Return the result of `call`, which a thread makes.

        If this is cancelled, a call that waits for a thread is not made. If the system has no
        thread left, the event loop makes the call itself.
        """
        future: Future[_Result] = Future()
        with self._lock:
            if self._threads < min(self._unfinished + 1, self._max_threads):
                try:
                    threading.Thread(target=self._work, name=self._name, daemon=True).start()
                    self._threads += 1
                except RuntimeError as error:
                    thread_shortage(error)
            has_thread = self._threads > 0
            if has_thread:
                self._calls.put((future, call))
                self._unfinished += 1
        if not has_thread:
            # Other clients wait meanwhile, which is better than no answer.
            return call()
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        while True:
            try:
                future, call = self._calls.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._unfinished < self._threads:
                        self._threads -= 1
                        return
                continue
            complete = _call(future, call) if future.set_running_or_notify_cancel() else None
            # First: the handler's next call finds this thread free.
            with self._lock:
                self._unfinished -= 1
            if complete is not None:
                complete()


def _call(future: Future[_Result], call: Callable[[], _Result]) -> Callable[[], None]:
    """Make a call; return the function that hands its outcome to the future."""
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - the handler that waits gets it
        return partial(future.set_exception, error)
    return partial(future.set_result, result)


def completions(futures: Iterable[Future[_Result]]) -> asyncio.Queue[Future[_Result]]:
    """Return a queue that gets each of these futures of other threads as soon as it is done.

    A handler that stops waiting cancels none of them: others may wait for the same refresh.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Queue[Future[_Result]] = asyncio.Queue()

    def put(future: Future[_Result]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has stopped
            loop.call_soon_threadsafe(done.put_nowait, future)

    for future in futures:
        future.add_done_callback(put)
    return done


async def result_of(future: Future[_Result]) -> _Result:
    """Return the result of a future of another thread, which outlives this wait."""
    return (await completions([future]).get()).result()
