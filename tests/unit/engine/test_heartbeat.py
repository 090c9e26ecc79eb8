"""APScheduler's background scheduler with a heartbeat."""

from __future__ import annotations

from threading import Event

from assumed.engine.heartbeat import HEARTBEAT, HeartbeatScheduler

# Only a test that fails waits for so long.
TIMEOUT = 20


def test_it_never_sleeps_longer_than_a_heartbeat() -> None:
    beats: list[None] = []
    jobs = HeartbeatScheduler(lambda: beats.append(None))
    jobs.start(paused=False)
    try:
        assert jobs._process_jobs() <= HEARTBEAT.total_seconds()
        assert beats
    finally:
        jobs.shutdown()


def test_a_wakeup_runs_the_callback_of_each_pass_on_its_own_thread() -> None:
    jobs = HeartbeatScheduler(lambda: None)
    passes = [Event(), Event()]
    ready = iter(passes)
    jobs.on_pass(lambda: next(ready, Event()).set())
    jobs.wakeup()  # Before the start it does nothing.
    jobs.start()
    try:
        assert passes[0].wait(TIMEOUT)
        jobs.wakeup()
        assert passes[1].wait(TIMEOUT)
    finally:
        jobs.shutdown()
