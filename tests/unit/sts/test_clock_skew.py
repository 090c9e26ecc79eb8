"""How far STS's clock is from this machine's, and what is said of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.sts.clock_skew import ClockSkewTracker
from tests.fakes import FakeClock

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def skew(clock: FakeClock) -> ClockSkewTracker:
    skew = ClockSkewTracker(clock)
    assert skew.ahead == timedelta(0)
    assert skew.learn(clock.now() + 7 * MINUTE)
    return skew


def test_it_lasts_while_time_goes_by(skew: ClockSkewTracker, clock: FakeClock) -> None:
    clock.advance(9 * HOUR)
    assert skew.ahead == 7 * MINUTE


def test_a_clock_that_was_set_right_is_right_at_once(
    skew: ClockSkewTracker, clock: FakeClock
) -> None:
    clock.step_wall_clock(7 * MINUTE)
    assert skew.ahead == timedelta(0)
    clock.step_wall_clock(-HOUR)
    assert skew.ahead == HOUR


def test_what_is_told_is_each_change_once(
    skew: ClockSkewTracker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "assumed")
    assert not skew.learn(clock.now() + 7 * MINUTE), "nothing is new"
    clock.step_wall_clock(7 * MINUTE)
    assert not skew.learn(clock.now()), "signatures are right already"
    assert skew.learn(clock.now() - HOUR)
    assert [record.getMessage() for record in caplog.records] == [
        "clock_skew_resolved",
        "clock_skew_detected",
    ]
