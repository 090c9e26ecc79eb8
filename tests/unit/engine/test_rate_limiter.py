from __future__ import annotations

import pytest

from assumed.engine.rate_limiter import RateLimiter
from tests.fakes import Quota


def test_nothing_is_held_back_until_the_endpoint_asks_for_fewer_calls() -> None:
    pace = RateLimiter()
    assert [pace.slot(5.0) for _ in range(1000)] == [5.0] * 1000


def test_the_first_throttling_halves_the_pace_and_those_of_the_same_second_do_not_again() -> None:
    pace = RateLimiter()
    for number in range(100):
        pace.succeeded(number / 100)
    for _ in range(30):
        pace.throttled(1.0)
    assert pace.generation == 1
    slots = [pace.slot(1.0) for _ in range(3)]
    assert slots == pytest.approx([1.02, 1.04, 1.06], abs=0.002)


def test_it_climbs_slowly_and_after_a_minute_nothing_is_held_back_any_more() -> None:
    pace = RateLimiter()
    pace.succeeded(0.0)
    pace.throttled(0.5)
    later = pace.slot(30.5)
    assert pace.slot(30.5) - later == pytest.approx(1 / 301, rel=0.01)
    assert pace.slot(70.0) == pace.slot(70.0) == 70.0


def test_slots_given_out_at_once_follow_the_climb() -> None:
    pace = RateLimiter()
    for number in range(100):
        pace.succeeded(number / 100)
    pace.throttled(1.0)
    slots = [pace.slot(1.0) for _ in range(340)]
    # 50 a second, and 10 more each second: 340 = 50 t + 5 t².
    assert slots[-1] - 1.0 == pytest.approx(4.6, abs=0.1)


def test_an_endpoint_that_takes_nothing_is_still_asked_once_a_second() -> None:
    pace = RateLimiter()
    now = 0.0
    for _ in range(5):
        pace.throttled(now)
        now = pace.slot(now)
    assert now == pytest.approx(5.0, abs=0.5)


def test_five_hundred_calls_under_a_quota_take_little_more_than_it_allows() -> None:
    pace, quota = RateLimiter(), Quota(100.0)
    waiting, now, calls, done = 500, 0.0, 0, 0
    while done < waiting:
        now = pace.slot(now)
        calls += 1
        if quota.takes(now):
            pace.succeeded(now)
            done += 1
        else:
            pace.throttled(now)
        now += 0.001
    assert calls <= 1.4 * waiting
    assert now <= 1.2 * waiting / 100
