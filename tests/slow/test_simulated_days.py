"""Days of faults, in a time that only the test moves."""

from __future__ import annotations

import pytest

from tests.slow.simulation import Day

SEEDS_PER_TEST = 10


@pytest.mark.parametrize("first", range(0, 200, SEEDS_PER_TEST))
def test_in_a_day_of_faults_no_session_expires_for_long_and_retries_are_no_storm(
    first: int,
) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        report = Day(seed).simulate()
        assert len(report.faults) > 10
        assert (seed, report.expired) == (seed, [])
        assert (seed, report.called_too_often) == (seed, [])
        assert (seed, report.not_recovered) == (seed, [])
        assert (seed, report.untrue) == (seed, [])
        assert report.minutes_checked > 300
