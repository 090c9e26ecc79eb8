from __future__ import annotations

import pytest

from tests.slow.simulation import Day

SEEDS_IN_A_TEST = 10


@pytest.mark.parametrize("first", range(0, 200, SEEDS_IN_A_TEST))
def test_a_day_of_chaos_expires_nothing_storms_nobody_and_is_recovered_from(first: int) -> None:
    for seed in range(first, first + SEEDS_IN_A_TEST):
        report = Day(seed).live()
        assert len(report.faults) > 10
        assert (seed, report.expired) == (seed, [])
        assert (seed, report.called_too_often) == (seed, [])
        assert (seed, report.not_recovered) == (seed, [])
