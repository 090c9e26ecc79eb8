"""When a refresh is due, and when a failed one is retried."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.engine.refresh_policy import refresh_due_in, retry_delay
from assumed.errors import RetryPolicy
from assumed.models import DEFAULT_REFRESH_BEFORE, LifetimeFraction

HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("lifetime", "jitter", "due"),
    [
        (HOUR, 0, timedelta(minutes=44, seconds=24)),
        (HOUR, 1, timedelta(minutes=39)),
        (QUARTER, 0, timedelta(minutes=7, seconds=21)),
        (QUARTER, 1, timedelta(minutes=6)),
        (12 * HOUR, 0, timedelta(hours=11, minutes=37, seconds=48)),
    ],
)
def test_a_refresh_is_due_before_the_last_quarter_of_an_hour_or_at_half_life(
    lifetime: timedelta, jitter: float, due: timedelta
) -> None:
    found = refresh_due_in(lifetime, lifetime=lifetime, refresh_before=QUARTER, jitter=jitter)
    assert found == due


def test_refresh_before_can_be_a_fraction_of_the_lifetime() -> None:
    found = refresh_due_in(HOUR, lifetime=HOUR, refresh_before=LifetimeFraction(0.4), jitter=0)
    assert found == HOUR * (1 - 0.4 - 0.01)


@pytest.mark.parametrize(
    ("lifetime", "earliest", "latest"),
    [
        (HOUR, timedelta(minutes=30), timedelta(minutes=35, seconds=24)),
        (QUARTER, timedelta(minutes=7, seconds=30), timedelta(minutes=8, seconds=51)),
        (12 * HOUR, timedelta(hours=6), timedelta(hours=7, minutes=4, seconds=48)),
    ],
)
def test_by_default_a_refresh_is_due_before_the_last_40_percent_of_the_lifetime(
    lifetime: timedelta, earliest: timedelta, latest: timedelta
) -> None:
    for jitter, due in ((1, earliest), (0, latest)):
        found = refresh_due_in(
            lifetime, lifetime=lifetime, refresh_before=DEFAULT_REFRESH_BEFORE, jitter=jitter
        )
        assert abs(found - due) < timedelta(milliseconds=1)


@pytest.mark.parametrize(("lifetime", "jitter"), [(timedelta(0), 0.5), (HOUR, -0.1), (HOUR, 1.1)])
def test_a_lifetime_or_a_jitter_out_of_range_is_a_value_error(
    lifetime: timedelta, jitter: float
) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        refresh_due_in(HOUR, lifetime=lifetime, refresh_before=QUARTER, jitter=jitter)


def delay_of(
    retry: RetryPolicy,
    *,
    failures: int = 1,
    remaining: timedelta = timedelta(0),
    lifetime: timedelta = HOUR,
    jitter: float = 1,
) -> timedelta:
    """Return the delay of a failure that is retried."""
    delay = retry_delay(
        retry, failures=failures, remaining=remaining, lifetime=lifetime, jitter=jitter
    )
    assert delay is not None
    return delay


def test_back_off_doubles_from_a_second_up_to_five_minutes() -> None:
    delays = [delay_of(RetryPolicy.BACK_OFF, failures=count) for count in (1, 2, 3, 9, 10, 1000)]
    assert delays == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 256, 300, 300)]


def test_a_denial_is_retried_more_slowly() -> None:
    shortest, longest = (delay_of(RetryPolicy.SLOWLY, jitter=jitter) for jitter in (0, 1))
    assert (shortest, longest) == (timedelta(seconds=5), timedelta(seconds=10))


def test_a_local_failure_is_retried_within_15_seconds() -> None:
    assert delay_of(RetryPolicy.SOON, failures=99) == timedelta(seconds=15)


def test_a_missing_source_is_not_retried_until_it_changes() -> None:
    delay = retry_delay(RetryPolicy.ON_CHANGE, failures=1, remaining=HOUR, lifetime=HOUR, jitter=1)
    assert delay is None


def test_after_the_expiration_no_retry_waits_longer_than_a_fifth_of_the_lifetime() -> None:
    delay = delay_of(RetryPolicy.BACK_OFF, failures=99, lifetime=timedelta(minutes=15))
    assert delay == timedelta(minutes=3)


def test_retries_do_not_become_a_storm_as_the_expiration_comes_near() -> None:
    remaining, tries = timedelta(seconds=20), 0
    while remaining > timedelta(0):
        remaining -= delay_of(RetryPolicy.BACK_OFF, failures=20, remaining=remaining, jitter=0.5)
        tries += 1
    assert tries < 40
