"""Pure functions of time: when a refresh is due, and when to try again. No clock, no AWS."""

from __future__ import annotations

from datetime import timedelta

from assumed.errors import RetryPolicy
from assumed.models import LifetimeFraction, RefreshBefore

_LEAST_JITTER = 0.01
_MOST_JITTER = 0.1

_FIRST_STEP = timedelta(seconds=1)
_FIRST_STEP_OF_DENIAL = timedelta(seconds=10)
_LONGEST_STEP = timedelta(minutes=5)
_LONGEST_STEP_OF_OURS = timedelta(seconds=15)
_LONGEST_SHARE = 0.2
# Shares of less and less would be ever more tries a second as the end comes near.
_SHORTEST_STEP = timedelta(seconds=1)
_SHORTEST_DELAY = timedelta(milliseconds=50)


def refresh_due_in(
    left: timedelta, *, lifetime: timedelta, refresh_before: RefreshBefore, jitter: float
) -> timedelta:
    """Return how long from now the next AssumeRole call is due; zero or less where it is now.

    Due is `expiration - min(refresh_before, lifetime / 2)`, less the jitter: with 15 minutes, a
    session of an hour is due after 39 to 44.4 minutes, and one of 15 minutes after 6 to 7.35. The
    jitter is never less than a hundredth of the lifetime, so that the call and the write are
    done before the mark that a reader may rely on.

    Args:
        left: what is left of the session.
        lifetime: how long it was issued for; positive.
        refresh_before: positive, or a share of the lifetime.
        jitter: 0 to 1, drawn anew for each session.

    Raises:
        ValueError: a lifetime of zero or less, or a jitter outside 0 to 1.

    Source: the 15 minutes are botocore's own (credentials.py, RefreshableCredentials: under 15
    minutes left it starts to ask again at each call).
    """
    if lifetime <= timedelta(0) or not 0 <= jitter <= 1:
        raise ValueError(f"lifetime {lifetime}, jitter {jitter}")
    before = (
        lifetime * refresh_before.fraction
        if isinstance(refresh_before, LifetimeFraction)
        else refresh_before
    )
    earlier = _LEAST_JITTER + (_MOST_JITTER - _LEAST_JITTER) * jitter
    return left - min(before, lifetime / 2) - lifetime * earlier


def retry_delay(
    retry: RetryPolicy, *, failures: int, left: timedelta, lifetime: timedelta, jitter: float
) -> timedelta | None:
    """Return how long to wait after a failure, or None to wait until the source changes.

    Exponential back-off with full jitter (a delay anywhere between nothing and the back-off's
    present step), so that a fleet that failed together does not come back together; a denial waits
    for at least half the step. A step is never beyond a fifth of what is left of the session (a
    second at least), once it has ended a fifth of its lifetime, nor beyond 5 minutes, or 15 s where
    the trouble is this machine's own.

    Args:
        retry: what can be done about the failure.
        failures: how many came in a row, this one counted; at least 1.
        left: what is left of the session; zero or less where there is none.
        lifetime: of a session of this profile; positive.
        jitter: 0 to 1, drawn anew for each failure.

    Source: full jitter, as in the AWS Architecture Blog's "Exponential Backoff And Jitter".
    """
    if retry is RetryPolicy.ON_CHANGE:
        return None
    first = _FIRST_STEP_OF_DENIAL if retry is RetryPolicy.SLOWLY else _FIRST_STEP
    longest = _LONGEST_STEP_OF_OURS if retry is RetryPolicy.SOON else _LONGEST_STEP
    step = min(first * (1 << min(failures - 1, 30)), longest)
    share = (left if left > timedelta(0) else lifetime) * _LONGEST_SHARE
    step = min(step, max(share, _SHORTEST_STEP))
    floor = step / 2 if retry is RetryPolicy.SLOWLY else _SHORTEST_DELAY
    return max(step * jitter, floor)
