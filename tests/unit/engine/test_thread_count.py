"""How many threads a pool needs."""

from __future__ import annotations

import pytest

from assumed.engine.thread_count import ThreadCount

CPU = 0.001


def count_after(*jobs: tuple[float, float], most: int = 32) -> int:
    count = ThreadCount(most)
    for elapsed, processor in jobs:
        count.add(elapsed, processor)
    return count.value


def test_all_threads_may_start_until_a_job_has_ended() -> None:
    assert ThreadCount(32).value == 32


@pytest.mark.parametrize(
    ("latency", "threads"), [(0.0, 2), (0.0005, 3), (0.005, 7), (0.05, 32), (5.0, 32)]
)
def test_threads_keep_the_processor_busy_during_the_latency(latency: float, threads: int) -> None:
    assert count_after(*[(CPU + latency, CPU)] * 5) == threads


def test_threads_that_wait_for_each_other_do_not_look_like_latency() -> None:
    waits = [(CPU * turns, CPU) for turns in (31, 7, 1.5, 22)]
    assert count_after(*waits) == 3


def test_short_jobs_do_not_count() -> None:
    held_back = (0.0001, 0.0001)
    assert count_after((0.05, CPU), *[held_back] * 10) == 32


def test_old_jobs_are_forgotten() -> None:
    assert count_after((CPU, CPU), *[(0.05, CPU)] * 16) == 32
    assert count_after((0.05, CPU), *[(CPU, CPU)] * 16) == 2


def test_a_job_without_processor_time_is_no_division_by_zero() -> None:
    assert count_after((0.0, 0.0), (1.0, 0.0)) == 1


def test_after_a_standstill_all_threads_may_start() -> None:
    count = ThreadCount(32)
    count.add(CPU, CPU)
    count.raise_to_most()
    assert count.value == 32
    count.add(CPU, CPU)
    assert count.value == 2
