"""The threads that refreshes run on."""

from __future__ import annotations

import queue
import sys
import threading
from datetime import datetime

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job


class DaemonThreads(BaseExecutor):  # type: ignore[misc]
    """An APScheduler executor of up to `size` threads, made as they are needed.

    APScheduler's own pool is made of threads that the interpreter waits for when it ends, so that
    one call to a hanging endpoint would hold up a stop for as long as it hangs.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self._jobs: queue.SimpleQueue[tuple[Job, list[datetime]] | None] = queue.SimpleQueue()
        self._count = threading.Lock()
        self._threads = 0
        self._unfinished = 0

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._jobs.put((job, run_times))
        with self._count:
            # Not what threads say of themselves: one that has just taken a job, and is about to
            # hang with it, has not said so yet.
            self._unfinished += 1
            if self._threads < min(self._unfinished, self.size):
                self._threads += 1
                threading.Thread(target=self._work, name="refresh", daemon=True).start()

    def _work(self) -> None:
        while True:
            submitted = self._jobs.get()
            if submitted is None:
                return
            self._run(*submitted)
            with self._count:
                self._unfinished -= 1

    def _run(self, job: Job, run_times: list[datetime]) -> None:
        try:
            events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
        except BaseException:  # noqa: BLE001
            self._run_job_error(job.id, *sys.exc_info()[1:])
        else:
            self._run_job_success(job.id, events)

    def shutdown(self, wait: bool = True) -> None:
        """Let idle threads end; a busy one ends with its job, or with the process."""
        for _ in range(self._threads):
            self._jobs.put(None)
