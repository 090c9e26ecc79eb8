"""The rate limit of one endpoint."""

from __future__ import annotations

import pytest

from assumed.engine.rate_limiter import RateLimiter
from tests.fakes import Quota


def test_reserve_delays_nothing_until_the_endpoint_throttles() -> None:
    limiter = RateLimiter()
    assert [limiter.reserve(5.0) for _ in range(1000)] == [5.0] * 1000


def test_the_first_throttling_halves_the_rate_and_others_in_the_same_second_do_not() -> None:
    limiter = RateLimiter()
    for number in range(100):
        limiter.succeeded(number / 100)
    for _ in range(30):
        limiter.throttled(1.0)
    assert limiter.generation == 1
    reserved = [limiter.reserve(1.0) for _ in range(3)]
    assert reserved == pytest.approx([1.02, 1.04, 1.06], abs=0.002)


def test_the_rate_rises_slowly_and_the_limit_ends_after_a_minute() -> None:
    limiter = RateLimiter()
    limiter.succeeded(0.0)
    limiter.throttled(0.5)
    later = limiter.reserve(30.5)
    assert limiter.reserve(30.5) - later == pytest.approx(1 / 301, rel=0.01)
    assert limiter.reserve(70.0) == limiter.reserve(70.0) == 70.0


def test_reservations_at_the_same_time_take_the_rise_into_account() -> None:
    limiter = RateLimiter()
    for number in range(100):
        limiter.succeeded(number / 100)
    limiter.throttled(1.0)
    reserved = [limiter.reserve(1.0) for _ in range(340)]
    # 50 a second, and 10 more each second: 340 = 50 t + 5 t².
    assert reserved[-1] - 1.0 == pytest.approx(4.6, abs=0.1)


def test_an_endpoint_that_accepts_no_call_is_still_called_once_a_second() -> None:
    limiter = RateLimiter()
    now = 0.0
    for _ in range(5):
        limiter.throttled(now)
        now = limiter.reserve(now)
    assert now == pytest.approx(5.0, abs=0.5)


def test_five_hundred_calls_under_a_quota_take_little_more_than_it_allows() -> None:
    limiter, quota = RateLimiter(), Quota(100.0)
    waiting, now, calls, done = 500, 0.0, 0, 0
    while done < waiting:
        now = limiter.reserve(now)
        calls += 1
        if quota.accepts(now):
            limiter.succeeded(now)
            done += 1
        else:
            limiter.throttled(now)
        now += 0.001
    assert calls <= 1.4 * waiting
    assert now <= 1.2 * waiting / 100
