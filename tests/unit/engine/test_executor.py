"""The worker threads that refreshes run on."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from threading import Barrier, Event, Semaphore, Thread, current_thread
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from assumed.engine.executor import WorkerPool
from assumed.engine.heartbeat import HeartbeatScheduler

# Only a test that fails waits for so long.
TIMEOUT = 20


class OnePass(BaseScheduler):  # type: ignore[misc]
    """APScheduler's own logic, with the executor under test and no thread of its own."""

    def __init__(self, threads: WorkerPool) -> None:
        super().__init__(timezone="UTC", job_defaults={"misfire_grace_time": None})
        self.threads = threads
        self.add_executor(threads)
        self.events: queue.SimpleQueue[JobExecutionEvent] = queue.SimpleQueue()
        self.add_listener(self.events.put, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)
        self.start()

    def wakeup(self) -> None:
        pass

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)

    def submit(self, work: Callable[[], object]) -> None:
        self.add_job(work)
        self._process_jobs()

    def outcome(self) -> JobExecutionEvent:
        return self.events.get(timeout=TIMEOUT)


@pytest.fixture
def start() -> Iterator[Callable[..., OnePass]]:
    started: list[OnePass] = []

    def start(size: int, waiting: Any = None) -> OnePass:
        threads = WorkerPool(size)
        threads._jobs = waiting or threads._jobs
        started.append(OnePass(threads))
        return started[-1]

    yield start
    for jobs in started:
        jobs.shutdown(wait=False)


class Hanging:
    """Work that hangs until `goes_on` is set."""

    def __init__(self) -> None:
        self.is_running = Event()
        self.goes_on = Event()

    def __call__(self) -> None:
        self.is_running.set()
        self.goes_on.wait(TIMEOUT)


def test_a_job_runs_on_a_daemon_thread(start: Callable[..., OnePass]) -> None:
    jobs = start(2)
    jobs.submit(lambda: (current_thread().daemon, current_thread().name))
    assert jobs.outcome().retval == (True, "refresh")


def test_as_many_jobs_run_at_once_as_there_are_threads(
    start: Callable[..., OnePass],
) -> None:
    jobs = start(3)
    hanging = [Hanging() for _ in range(3)]
    for work in hanging:
        jobs.submit(work)
    for work in hanging:
        assert work.is_running.wait(TIMEOUT)
    waiting = Hanging()
    waiting.goes_on.set()
    jobs.submit(waiting)
    assert not waiting.is_running.is_set()
    hanging[0].goes_on.set()
    assert waiting.is_running.wait(TIMEOUT)
    for work in hanging:
        work.goes_on.set()


def test_a_job_that_hangs_delays_no_other(start: Callable[..., OnePass]) -> None:
    jobs = start(2)
    hanging = Hanging()
    jobs.submit(hanging)
    for _ in range(50):
        jobs.submit(lambda: "not delayed")
        assert jobs.outcome().retval == "not delayed"
    hanging.goes_on.set()


class SlowHandOver:
    """A queue that delays its reader between taking a job and running it."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.asked = Semaphore(0)
        self.taken = Semaphore(0)
        self.goes_on = Event()
        self.goes_on.set()

    def put(self, item: Any) -> None:
        self._queue.put(item)

    def qsize(self) -> int:
        return self._queue.qsize()

    def empty(self) -> bool:
        return self._queue.empty()

    def get(self, timeout: float) -> Any:
        self.asked.release()
        item = self._queue.get()
        self.taken.release()
        self.goes_on.wait(TIMEOUT)
        return item


def test_a_thread_that_has_just_taken_a_job_is_not_free_for_the_next_one(
    start: Callable[..., OnePass],
) -> None:
    hand_over = SlowHandOver()
    jobs = start(2, hand_over)
    make_one_idle_thread(jobs, hand_over)

    hanging = Hanging()
    hand_over.goes_on.clear()
    jobs.submit(hanging)
    assert hand_over.taken.acquire(timeout=TIMEOUT)
    jobs.submit(lambda: "not delayed")
    hand_over.goes_on.set()

    assert hanging.is_running.wait(TIMEOUT)
    assert jobs.outcome().retval == "not delayed"
    hanging.goes_on.set()


def test_one_thread_is_enough_for_jobs_that_come_one_by_one(
    start: Callable[..., OnePass],
) -> None:
    hand_over = SlowHandOver()
    jobs = start(8, hand_over)
    thread = make_one_idle_thread(jobs, hand_over)
    for _ in range(5):
        jobs.submit(current_thread)
        assert jobs.outcome().retval is thread
        # It takes the next one when it is done.
        assert hand_over.asked.acquire(timeout=TIMEOUT)


def make_one_idle_thread(jobs: OnePass, hand_over: SlowHandOver) -> Thread:
    jobs.submit(current_thread)
    thread = jobs.outcome().retval
    for _ in range(2):
        assert hand_over.asked.acquire(timeout=TIMEOUT)
    assert hand_over.taken.acquire(timeout=TIMEOUT)
    assert isinstance(thread, Thread)
    return thread


@pytest.mark.parametrize("error", [ValueError("an error"), SystemExit(1), KeyboardInterrupt()])
def test_an_error_of_a_job_is_reported_and_its_thread_goes_on(
    error: BaseException, start: Callable[..., OnePass]
) -> None:
    def fail() -> None:
        raise error

    jobs = start(1)
    jobs.submit(fail)
    reported = jobs.outcome()
    assert reported.code == EVENT_JOB_ERROR
    assert reported.exception is error
    jobs.submit(lambda: "still there")
    assert jobs.outcome().retval == "still there"


def test_a_shutdown_waits_for_no_job_and_ends_the_threads(
    start: Callable[..., OnePass],
) -> None:
    jobs = start(2)
    hanging = Hanging()
    threads = []

    def work() -> None:
        threads.append(current_thread())
        hanging()

    jobs.submit(work)
    assert hanging.is_running.wait(TIMEOUT)
    jobs.threads.shutdown()
    assert threads[0].is_alive()
    hanging.goes_on.set()
    threads[0].join(TIMEOUT)
    assert not threads[0].is_alive()


def test_a_shutdown_while_a_job_is_submitted_is_no_traceback() -> None:
    class StopsMeanwhile(WorkerPool):
        def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
            super()._do_submit_job(job, run_times)
            # As another thread would that does not wait for this one.
            BaseScheduler.shutdown(jobs, wait=False)

    jobs = HeartbeatScheduler(lambda: None)
    jobs.add_executor(StopsMeanwhile(1))
    jobs.add_job(lambda: None)
    jobs.start()
    # An error in a thread would be a warning, and a warning is an error here.
    jobs._thread.join(TIMEOUT)
    assert not jobs.running


def test_a_job_behind_jobs_that_hang_gets_a_thread_of_its_own(
    start: Callable[..., OnePass],
) -> None:
    jobs, hang, done = start(2), Event(), Event()
    for _ in range(5):
        jobs.submit(hang.wait)
    jobs.submit(done.set)
    assert done.wait(TIMEOUT)
    hang.set()
    for _ in range(6):
        assert jobs.outcome().exception is None


def test_the_job_with_the_smallest_argument_is_taken_first(start: Callable[..., OnePass]) -> None:
    jobs, hang, taken = start(1), Event(), list[float]()
    jobs.submit(hang.wait)
    for urgency in (3.0, 1.0, 2.0):
        jobs.add_job(taken.append, args=[urgency])
    jobs._process_jobs()
    hang.set()
    for _ in range(4):
        jobs.outcome()
    assert taken == [1.0, 2.0, 3.0]


def test_threads_without_a_job_end_but_for_one_that_takes_the_next(
    start: Callable[[int], OnePass],
) -> None:
    jobs, both = start(2), Barrier(2)
    jobs.threads.max_idle_seconds = 0.01
    for _ in range(2):
        jobs.submit(lambda: both.wait(TIMEOUT) is not None and current_thread())
    threads = {jobs.outcome().retval for _ in range(2)}
    assert len(threads) == 2
    ends_at = time.monotonic() + TIMEOUT
    while jobs.threads.threads > 1 and time.monotonic() < ends_at:
        time.sleep(0.01)
    jobs.submit(current_thread)
    assert jobs.outcome().retval in threads
    assert jobs.threads.threads == 1


def test_jobs_without_latency_leave_few_of_many_threads(start: Callable[[int], OnePass]) -> None:
    jobs, gate = start(32), Event()
    for _ in range(8):
        jobs.submit(gate.wait)
    for _ in range(40):
        jobs.submit(lambda: sum(range(20_000)))
    gate.set()
    for _ in range(48):
        assert jobs.outcome().exception is None
    assert jobs.threads.threads < 8


def test_memory_is_returned_once_after_many_jobs(
    start: Callable[[int], OnePass], monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed = Semaphore(0)
    monkeypatch.setattr("assumed.engine.executor.trim_heap", trimmed.release)
    jobs = start(2)
    jobs.threads.max_idle_seconds = 0.01
    for _ in range(60):
        jobs.submit(lambda: None)
    for _ in range(60):
        jobs.outcome()
    assert trimmed.acquire(timeout=TIMEOUT)
    jobs.submit(lambda: None)
    jobs.outcome()
    assert not trimmed.acquire(timeout=0.1)
