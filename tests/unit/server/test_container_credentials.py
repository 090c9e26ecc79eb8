"""The credentials that an SDK gets in a day in which it asks all the time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.server.container_credentials import MIN_LEFT
from tests.fakes import Simulation, role

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("duration_seconds", "minimum"),
    # A session of 15 minutes is refreshed for a request when less than half of it remains.
    [(3600, MIN_LEFT), (43200, MIN_LEFT), (900, timedelta(minutes=7, seconds=30))],
)
def test_while_sts_is_up_credentials_last_as_long_as_sdks_require(
    simulation: Simulation, duration_seconds: int, minimum: timedelta
) -> None:
    remaining: list[timedelta] = []

    def request() -> None:
        future = simulation.scheduler.credentials("deploy", min_left=MIN_LEFT)
        # Only a short session is refreshed for a request.
        assert future.done() or duration_seconds == 900
        simulation.jobs.run_due()
        remaining.append(future.result().expiration - simulation.clock.now())

    simulation.start(role("deploy", duration_seconds=duration_seconds))
    simulation.run_for(DAY, at_each_stop=request)
    assert len(remaining) >= 2 * DAY / timedelta(seconds=15)
    assert min(remaining) >= minimum
    # The requests do not cause more refreshes.
    assert simulation.sts.number <= DAY / (timedelta(seconds=duration_seconds) * 0.4) + 1
