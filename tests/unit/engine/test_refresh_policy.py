from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assumed.engine.refresh_policy import refresh_due_in, retry_delay
from assumed.errors import RetryPolicy
from assumed.models import LifetimeFraction

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


def test_a_share_of_the_lifetime_can_be_asked_for() -> None:
    found = refresh_due_in(HOUR, lifetime=HOUR, refresh_before=LifetimeFraction(0.4), jitter=0)
    assert found == HOUR * (1 - 0.4 - 0.01)


@given(
    lifetime=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(hours=36)),
    before=st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(hours=36)),
    jitter=st.floats(0, 1),
)
def test_jitter_only_ever_makes_a_refresh_earlier_and_never_by_over_a_tenth(
    lifetime: timedelta, before: timedelta, jitter: float
) -> None:
    mark = lifetime - min(before, lifetime / 2)
    due = refresh_due_in(lifetime, lifetime=lifetime, refresh_before=before, jitter=jitter)
    assert mark - lifetime / 10 - timedelta(microseconds=2) <= due < mark


@pytest.mark.parametrize(("lifetime", "jitter"), [(timedelta(0), 0.5), (HOUR, -0.1), (HOUR, 1.1)])
def test_what_makes_no_sense_is_refused(lifetime: timedelta, jitter: float) -> None:
    with pytest.raises(ValueError, match="lifetime"):
        refresh_due_in(HOUR, lifetime=lifetime, refresh_before=QUARTER, jitter=jitter)


def test_back_off_doubles_from_a_second_up_to_five_minutes() -> None:
    delays = [
        retry_delay(
            RetryPolicy.BACK_OFF, failures=count, left=timedelta(0), lifetime=HOUR, jitter=1
        )
        for count in (1, 2, 3, 9, 10, 1000)
    ]
    assert delays == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 256, 300, 300)]


def test_a_denial_is_tried_again_more_slowly() -> None:
    least = retry_delay(RetryPolicy.SLOWLY, failures=1, left=timedelta(0), lifetime=HOUR, jitter=0)
    most = retry_delay(RetryPolicy.SLOWLY, failures=1, left=timedelta(0), lifetime=HOUR, jitter=1)
    assert (least, most) == (timedelta(seconds=5), timedelta(seconds=10))


def test_trouble_of_this_machine_is_tried_again_within_15_seconds() -> None:
    delay = retry_delay(RetryPolicy.SOON, failures=99, left=timedelta(0), lifetime=HOUR, jitter=1)
    assert delay == timedelta(seconds=15)


def test_a_missing_source_is_not_tried_again_until_it_changes() -> None:
    assert (
        retry_delay(RetryPolicy.ON_CHANGE, failures=1, left=HOUR, lifetime=HOUR, jitter=1) is None
    )


@given(
    retry=st.sampled_from([RetryPolicy.BACK_OFF, RetryPolicy.SLOWLY, RetryPolicy.SOON]),
    failures=st.integers(1, 10_000),
    left=st.timedeltas(min_value=timedelta(seconds=5), max_value=timedelta(hours=36)),
    jitter=st.floats(0, 1),
)
def test_no_retry_waits_beyond_a_fifth_of_what_is_left(
    retry: RetryPolicy, failures: int, left: timedelta, jitter: float
) -> None:
    delay = retry_delay(retry, failures=failures, left=left, lifetime=HOUR, jitter=jitter)
    assert delay is not None
    assert timedelta(0) < delay <= left / 5


def test_once_a_session_has_ended_no_retry_waits_beyond_a_fifth_of_its_lifetime() -> None:
    short = timedelta(minutes=15)
    delay = retry_delay(
        RetryPolicy.BACK_OFF, failures=99, left=timedelta(0), lifetime=short, jitter=1
    )
    assert delay == timedelta(minutes=3)


def test_retries_do_not_become_a_storm_as_the_end_comes_near() -> None:
    left, tries = timedelta(seconds=20), 0
    while left > timedelta(0):
        delay = retry_delay(RetryPolicy.BACK_OFF, failures=20, left=left, lifetime=HOUR, jitter=0.5)
        assert delay is not None
        left -= delay
        tries += 1
    assert tries < 40
