"""The clock skew between STS and this machine, and its events."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.sts.clock_skew import ClockSkewTracker
from tests.fakes import FakeClock

STS, OWN = "https://sts.us-east-1.amazonaws.com", "http://127.0.0.1:4566"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def skew(clock: FakeClock) -> ClockSkewTracker:
    skew = ClockSkewTracker(clock)
    assert skew.ahead(STS) == timedelta(0)
    assert skew.update(STS, clock.now() + 7 * MINUTE)
    return skew


def test_the_skew_stays_while_time_passes(skew: ClockSkewTracker, clock: FakeClock) -> None:
    clock.advance(9 * HOUR)
    assert skew.ahead(STS) == 7 * MINUTE


def test_a_step_of_the_wall_clock_changes_the_skew_at_once(
    skew: ClockSkewTracker, clock: FakeClock
) -> None:
    clock.step_wall_clock(7 * MINUTE)
    assert skew.ahead(STS) == timedelta(0)
    clock.step_wall_clock(-HOUR)
    assert skew.ahead(STS) == HOUR


def test_update_logs_each_change_once(
    skew: ClockSkewTracker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "assumed")
    assert not skew.update(STS, clock.now() + 7 * MINUTE), "the skew is known"
    clock.step_wall_clock(7 * MINUTE)
    assert not skew.update(STS, clock.now()), "the step has corrected the signatures already"
    assert skew.update(STS, clock.now() - HOUR)
    assert [record.getMessage() for record in caplog.records] == [
        "clock_skew_resolved",
        "clock_skew_detected",
    ]


def test_another_endpoint_has_a_time_of_its_own(
    skew: ClockSkewTracker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "assumed")
    clock.step_wall_clock(7 * MINUTE)
    skew.update(STS, clock.now())
    assert skew.update(OWN, clock.now() - HOUR)
    assert skew.ahead_by_endpoint() == {STS: timedelta(0), OWN: -HOUR}
    detected = caplog.records[-1]
    assert detected.getMessage() == "clock_skew_detected"
    fields = detected.__dict__["fields"]
    assert (fields["endpoint"], fields["seconds"]) == (OWN, 3600)
    assert fields["hint"].startswith("set the clock of that server")
