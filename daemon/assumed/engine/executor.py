"""The worker threads that refreshes run on."""

from __future__ import annotations

import itertools
import queue
import sys
import threading
import time
from datetime import datetime
from typing import Any

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job

from assumed.engine.thread_count import ThreadCount
from assumed.heap import trim_heap

SLOW_LANE = "slow lane"
"""The executor of profiles whose last call hung."""
_STUCK_SECONDS = 1.0
_MAX_THREADS = 256
_MAX_IDLE_SECONDS = 2.0
_JOBS_OF_A_WAVE = 50

_Submitted = tuple[Job, list[datetime]]


class WorkerPool(BaseExecutor):  # type: ignore[misc]
    """An APScheduler executor of up to `size` threads, started as they are needed.

    There are as many as the jobs need (`thread_count`), and none after a while without a job.

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
                self._is_watched = True
                threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _add_threads(self) -> None:
        needed = min(self._unfinished, self._count.value + self._stuck(), _MAX_THREADS)
        while self._threads < needed:
            self._threads += 1
            threading.Thread(target=self._work, name="refresh", daemon=True).start()

    def _stuck(self) -> int:
        stuck_before = time.monotonic() - _STUCK_SECONDS
        return sum(began_at <= stuck_before for began_at in self._began_at.values())

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
            self._run(*submitted)
            used = time.thread_time() - used_before
            with self._lock:
                del self._began_at[me]
                self._unfinished -= 1
                self._ended += 1
                self._count.add(time.monotonic() - began_at, used)
                self._add_threads()
                if self._threads > self._count.value + self._stuck():
                    self._threads -= 1
                    return

    def _next_job(self) -> _Submitted | None:
        """Return the next job; None if this thread has to end."""
        while True:
            try:
                return self._jobs.get(timeout=self.max_idle_seconds)[-1]
            except queue.Empty:
                with self._lock:
                    # A job that arrives now counts on the threads that are there.
                    if not self._jobs.empty():
                        continue
                    self._threads -= 1
                    is_end_of_wave = self._threads == 0 and self._ended >= _JOBS_OF_A_WAVE
                    if is_end_of_wave:
                        self._ended = 0
                if is_end_of_wave:
                    trim_heap()
                return None

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


def _priority(arguments: tuple[Any, ...]) -> float:
    return arguments[-1] if arguments and isinstance(arguments[-1], float) else 0.0
