"""The clock skew between STS and this machine, and its events."""

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
    assert skew.update(clock.now() + 7 * MINUTE)
    return skew


def test_the_skew_stays_while_time_passes(skew: ClockSkewTracker, clock: FakeClock) -> None:
    clock.advance(9 * HOUR)
    assert skew.ahead == 7 * MINUTE


def test_a_step_of_the_wall_clock_changes_the_skew_at_once(
    skew: ClockSkewTracker, clock: FakeClock
) -> None:
    clock.step_wall_clock(7 * MINUTE)
    assert skew.ahead == timedelta(0)
    clock.step_wall_clock(-HOUR)
    assert skew.ahead == HOUR


def test_update_logs_each_change_once(
    skew: ClockSkewTracker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "assumed")
    assert not skew.update(clock.now() + 7 * MINUTE), "the skew is known"
    clock.step_wall_clock(7 * MINUTE)
    assert not skew.update(clock.now()), "the step has corrected the signatures already"
    assert skew.update(clock.now() - HOUR)
    assert [record.getMessage() for record in caplog.records] == [
        "clock_skew_resolved",
        "clock_skew_detected",
    ]
