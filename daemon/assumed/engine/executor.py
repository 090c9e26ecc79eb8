"""The worker threads that refreshes run on."""

from __future__ import annotations

import itertools
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from assumed.engine.thread_count import ThreadCount
from assumed.heap import trim_heap
from assumed.local_faults import LOCAL_FAULTS

SLOW_LANE = "slow lane"
"""The executor of profiles whose last call hung."""
_STUCK_SECONDS = 1.0
_MAX_THREADS = 256
# If the system has no thread left, so many are left to others: to write, to answer.
_SPARED_THREADS = 8
_SPARED_SECONDS = 60.0
_MAX_IDLE_SECONDS = 2.0
_JOBS_OF_A_WAVE = 50

_Submitted = tuple[Job, list[datetime]]


class WorkerPool(BaseExecutor):  # type: ignore[misc]
    """An APScheduler executor of up to `size` threads, started as they are needed.

    There are as many as the jobs need (`thread_count`), and one after a while without a job.

    The interpreter waits for the threads of APScheduler's own pool when it exits, so one call to a
    hanging endpoint would delay a stop for as long as it hangs. A thread that has been busy with
    one job for over a second does not count: there may be one more for it, so that calls that hang
    take no thread away from the others.

    Of the jobs that wait, the one with the smallest last argument is taken first.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.max_idle_seconds = _MAX_IDLE_SECONDS
        self._count = ThreadCount(size)
        self._jobs: queue.PriorityQueue[tuple[float, int, _Submitted | None]] = (
            queue.PriorityQueue()
        )
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._began_at: dict[int, float] = {}
        self._threads = 0
        self._unfinished = 0
        self._ended = 0
        self._is_watched = False
        self._limit, self._limited_until = _MAX_THREADS, 0.0

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        """Start the first thread: jobs get on with it when no more can be started.

        Raises:
            RuntimeError: the system has no thread left.
        """
        super().start(scheduler, alias)
        threading.Thread(target=self._work, name="refresh", daemon=True).start()
        self._threads = 1

    @property
    def threads(self) -> int:
        """The number of its threads now."""
        return self._threads

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._jobs.put((_priority(job.args), next(self._order), (job, run_times)))
        with self._lock:
            # Counted here, not by the threads: one that has just taken a job, and is about to hang
            # with it, has not recorded that yet.
            self._unfinished += 1
            self._add_threads()
            if self._threads < self._unfinished and not self._is_watched:
                self._is_watched = _start_thread("watch", self._watch)

    def _add_threads(self) -> None:
        needed = min(self._unfinished, self._most_threads())
        while self._threads < needed:
            if not _start_thread("refresh", self._work):
                self._limit = max(1, self._threads - _SPARED_THREADS)
                self._limited_until = time.monotonic() + _SPARED_SECONDS
                break
            self._threads += 1

    def _most_threads(self) -> int:
        now = time.monotonic()
        stuck = sum(began_at <= now - _STUCK_SECONDS for began_at in self._began_at.values())
        limit = self._limit if now < self._limited_until else _MAX_THREADS
        return min(self._count.value + stuck, limit)

    def _watch(self) -> None:
        """Start threads for jobs that wait behind stuck ones; ends when no job waits."""
        ended = self._ended
        while True:
            time.sleep(_STUCK_SECONDS / 4)
            with self._lock:
                if self._ended == ended:
                    self._count.raise_to_most()
                ended = self._ended
                self._add_threads()
                if self._jobs.empty() or self._threads >= _MAX_THREADS:
                    self._is_watched = False
                    return

    def _work(self) -> None:
        while (submitted := self._next_job()) is not None:
            me = threading.get_ident()
            with self._lock:
                self._began_at[me] = began_at = time.monotonic()
            used_before = time.thread_time()
            # A thread that ended here would be missing for good.
            with suppress(Exception):
                self._run(*submitted)
            used = time.thread_time() - used_before
            with self._lock:
                del self._began_at[me]
                self._unfinished -= 1
                self._ended += 1
                self._count.add(time.monotonic() - began_at, used)
                # Threads may have been used up when the jobs came that wait.
                self._add_threads()
                if self._threads > self._most_threads():
                    self._threads -= 1
                    return

    def _next_job(self) -> _Submitted | None:
        """Return the next job; None if this thread has to end."""
        timeout: float | None = self.max_idle_seconds
        while True:
            try:
                return self._jobs.get(timeout=timeout)[-1]
            except queue.Empty:
                with self._lock:
                    # A job that arrives now counts on the threads that are there.
                    if not self._jobs.empty():
                        continue
                    has_to_end = self._threads > 1
                    self._threads -= has_to_end
                    is_end_of_wave = self._threads == 1 and self._ended >= _JOBS_OF_A_WAVE
                    if is_end_of_wave:
                        self._ended = 0
                if is_end_of_wave:
                    trim_heap()
                if has_to_end:
                    return None
                # The last one stays: the system may have no thread left for the next job.
                timeout = None

    def _run(self, job: Job, run_times: list[datetime]) -> None:
        try:
            events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
        except BaseException:  # noqa: BLE001
            self._run_job_error(job.id, *sys.exc_info()[1:])
        else:
            self._run_job_success(job.id, events)

    def shutdown(self, wait: bool = True) -> None:
        """End idle threads; a busy one ends with its job, or with the process."""
        for _ in range(self._threads):
            self._jobs.put((float("inf"), next(self._order), None))


def _start_thread(name: str, target: Callable[[], None]) -> bool:
    """Start a thread; return False if the system has none left."""
    try:
        threading.Thread(target=target, name=name, daemon=True).start()
    except RuntimeError as error:
        LOCAL_FAULTS.report(error)
        return False
    return True


def _priority(arguments: tuple[Any, ...]) -> float:
    return arguments[-1] if arguments and isinstance(arguments[-1], float) else 0.0
