"""Properties of what tests/unit/engine/test_refresh_policy.py tests by example."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from assumed.engine.refresh_policy import refresh_due_in
from assumed.errors import RetryPolicy
from tests.unit.engine.test_refresh_policy import delay_of


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


@given(
    retry=st.sampled_from([RetryPolicy.BACK_OFF, RetryPolicy.SLOWLY, RetryPolicy.SOON]),
    failures=st.integers(1, 10_000),
    remaining=st.timedeltas(min_value=timedelta(seconds=5), max_value=timedelta(hours=36)),
    jitter=st.floats(0, 1),
)
def test_no_retry_waits_longer_than_a_fifth_of_what_remains(
    retry: RetryPolicy, failures: int, remaining: timedelta, jitter: float
) -> None:
    delay = delay_of(retry, failures=failures, remaining=remaining, jitter=jitter)
    assert timedelta(0) < delay <= remaining / 5
