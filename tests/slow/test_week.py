"""A week of three profiles of an hour each, in a time that only the test moves."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from freezegun import freeze_time

from assumed.models import ProfileDefinition
from tests.fakes import NOON, Simulation, role

WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
# 24 minutes before the expiration, less a jitter of a hundredth to a tenth of the hour.
EARLIEST, LATEST = timedelta(minutes=30), timedelta(minutes=35, seconds=24)


class Week:
    """Simulates a week, and reads the file whenever something happens."""

    def __init__(self, simulation: Simulation, *definitions: ProfileDefinition) -> None:
        self.min_remaining = HOUR
        self.called_at: dict[str, list[datetime]] = {}
        self._simulation = simulation
        simulation.sts.during_call = self._record
        simulation.start(*definitions)

    def simulate(self, span: timedelta) -> None:
        self._simulation.run_for(span, at_each_stop=self._check)

    def _record(self, definition: ProfileDefinition) -> None:
        now = self._simulation.clock.now()
        self.called_at.setdefault(definition.profile, []).append(now)

    def _check(self) -> None:
        now = self._simulation.clock.now() + self._simulation.sts.skew
        for credentials in self._simulation.store.profiles.values():
            self.min_remaining = min(self.min_remaining, credentials.expiration - now)


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(hours=-5)], ids=["right", "wrong clock"])
def test_in_a_week_no_reader_sees_a_session_with_under_20_minutes_remaining(
    skew: timedelta,
) -> None:
    drawn = random.Random(1)  # noqa: S311 - the same week in every run
    with freeze_time(NOON) as frozen:
        simulation = Simulation(frozen, jitter=drawn.random)  # type: ignore[arg-type]
        simulation.sts.skew = skew
        week = Week(simulation, role("a"), role("b"), role("c", parent="a"))
        week.simulate(WEEK)
    assert week.min_remaining >= timedelta(minutes=20)
    for called_at in week.called_at.values():
        assert WEEK / LATEST <= len(called_at) <= WEEK / EARLIEST + 1
        gaps = [later - earlier for earlier, later in pairwise(called_at)]
        # No drift: the last gap of the week is as long as the first.
        assert min(gaps) >= EARLIEST - timedelta(seconds=1)
        assert max(gaps) <= LATEST + timedelta(seconds=1)
