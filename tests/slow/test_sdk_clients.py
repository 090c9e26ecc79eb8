"""A day of clients that refresh as the AWS SDKs do: none of them meets an expired session."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta

import pytest

from assumed.server.container_credentials import MIN_LEFT
from tests.fakes import NOON, Simulation, role
from tests.sdk_refresh import Fetched, FetchFailedError, SdkCredentials

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def fail() -> Fetched:
    raise FetchFailedError


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


def share_that_expires(served: Mapping[int, timedelta]) -> float:
    """Return the share of clients that use an expired session after one failed fetch.

    Args:
        served: what the endpoint has for a client that starts in that minute: its expiration,
            counted from the first minute.
    """
    draw = random.Random(1)  # noqa: S311 - the same clients in every run
    expired = 0
    for start, expiration in served.items():
        client = SdkCredentials(fail, pause=5 * MINUTE + 5 * MINUTE * draw.random())
        fetched = Fetched(NOON + expiration)
        client.store(fetched, NOON + start * MINUTE)
        retry_at = fetched.expiration - client.window + client.pause
        assert client.get(fetched.expiration - client.window) is fetched
        expired += retry_at >= fetched.expiration
    return expired / len(served)


@pytest.mark.parametrize(
    ("duration_seconds", "share"), [(900, 1), (2700, 0), (3600, 0), (4 * 3600, 0), (12 * 3600, 0)]
)
def test_no_client_meets_an_expired_session_after_one_failed_fetch(
    simulation: Simulation, duration_seconds: int, share: float
) -> None:
    """A session of 15 minutes is too short for that: docs/limits.md."""
    served: dict[int, timedelta] = {}

    def start_a_client() -> None:
        now = simulation.clock.now()
        future = simulation.scheduler.credentials("deploy", min_left=MIN_LEFT)
        simulation.jobs.run_due()
        served[(now - NOON) // MINUTE] = future.result().expiration - NOON

    simulation.start(role("deploy", duration_seconds=duration_seconds))
    simulation.run_for(26 * HOUR, at_each_stop=start_a_client)
    assert len(served) >= 26 * 60
    assert share_that_expires(served) == share
