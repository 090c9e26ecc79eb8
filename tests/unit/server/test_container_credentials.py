"""What the container endpoint gives in a day in which an SDK asks at every turn."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.server.container_credentials import MIN_LEFT
from tests.fakes import Simulation, role

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("duration_seconds", "least"),
    # Of a session of 15 minutes there is never more than that; half of it is what can be had.
    [(3600, MIN_LEFT), (43200, MIN_LEFT), (900, timedelta(minutes=7, seconds=30))],
)
def test_while_sts_is_up_no_answer_has_less_left_than_sdks_want(
    simulation: Simulation, duration_seconds: int, least: timedelta
) -> None:
    given: list[timedelta] = []

    def ask() -> None:
        answer = simulation.scheduler.credentials("deploy", min_left=MIN_LEFT)
        assert answer.done()
        given.append(answer.result().expiration - simulation.clock.now())

    simulation.start(role("deploy", duration_seconds=duration_seconds))
    simulation.run_for(DAY, at_each_stop=ask)
    assert len(given) > 2 * DAY / timedelta(seconds=15)
    assert min(given) >= least
    # Whoever asks does not make it refresh any sooner.
    assert simulation.sts.number <= DAY / (timedelta(seconds=duration_seconds) * 0.4) + 1
