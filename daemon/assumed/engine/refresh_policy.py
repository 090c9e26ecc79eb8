"""When a refresh is due and when a failed one is retried: pure functions, no clock, no AWS."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, unique

from assumed.errors import (
    AssumedError,
    ClockSkewedError,
    RetryPolicy,
    StsThrottledError,
    StsUnavailableError,
    retry_advice,
)
from assumed.models import LifetimeFraction, RefreshBefore

ZERO = timedelta(0)

_MIN_JITTER = 0.01
_MAX_JITTER = 0.1

_FIRST_STEP = timedelta(seconds=1)
_FIRST_STEP_AFTER_DENIAL = timedelta(seconds=10)
_MAX_STEP = timedelta(minutes=5)
_MAX_LOCAL_STEP = timedelta(seconds=15)
_MAX_FRACTION_OF_REMAINING = 0.2
# Without it the fractions would mean ever more retries a second as the expiration comes near.
_MIN_STEP = timedelta(seconds=1)
_MIN_DELAY = timedelta(milliseconds=50)


@unique
class RetriedBy(Enum):
    """Who retries a failed refresh, which is added to the hint of a failure."""

    DAEMON = "daemon"
    PROCESS = "process"
    """The process beside the command of `assumed exec`, which has no name for the user."""
    USER = "user"
    """A standalone command ends; until then it retries what `is_temporary`."""

    def complete_hint(self, error: AssumedError) -> str:
        """Return the hint of an error, with who retries the refresh."""
        if self is RetriedBy.PROCESS:
            return error.hint
        advice = retry_advice(error, by_daemon=self is RetriedBy.DAEMON)
        return f"{error.hint}; {advice}" if advice else error.hint


def is_temporary(error: AssumedError | None) -> bool:
    """Return whether a command waits for a retry: STS throttles, or cannot be reached.

    A wrong clock and a certificate that is not trusted do not change within a command.
    """
    if isinstance(error, ClockSkewedError) or (error is not None and error.code == "SSLError"):
        return False
    return isinstance(error, StsThrottledError | StsUnavailableError)


def refresh_due_in(
    remaining: timedelta, *, lifetime: timedelta, refresh_before: RefreshBefore, jitter: float
) -> timedelta:
    """Return how long from now the next AssumeRole call is due; zero or less if it is due now.

    It is due at `expiration - min(refresh_before, lifetime / 2)`, less the jitter: with 40 %, a
    session of an hour is due after 30 to 35.4 minutes, and one of 15 minutes after 7.5 to 8.85. The
    jitter is at least a hundredth of the lifetime, so that the call and the write are done before
    the moment that a reader may rely on.

    Args:
        remaining: how long the session still lasts.
        lifetime: how long it was issued for; positive.
        refresh_before: positive, or a fraction of the lifetime.
        jitter: 0 to 1, drawn for each session.

    Raises:
        ValueError: a lifetime of zero or less, or a jitter outside 0 to 1.
    """
    if lifetime <= ZERO or not 0 <= jitter <= 1:
        raise ValueError(f"lifetime {lifetime}, jitter {jitter}")
    before = (
        lifetime * refresh_before.fraction
        if isinstance(refresh_before, LifetimeFraction)
        else refresh_before
    )
    earlier = _MIN_JITTER + (_MAX_JITTER - _MIN_JITTER) * jitter
    return remaining - min(before, lifetime / 2) - lifetime * earlier


def retry_delay(
    retry: RetryPolicy, *, failures: int, remaining: timedelta, lifetime: timedelta, jitter: float
) -> timedelta | None:
    """Return how long to wait after a failure, or None to wait until the source changes.

    Exponential back-off with full jitter (a delay anywhere between zero and the current step), so
    that hosts that failed together do not retry together; after a denial the delay is at least
    half the step. A step is at most a fifth of what remains of the session (but a second), or of
    its lifetime once it has expired; and at most 5 minutes, or 15 s if the cause is local.

    Args:
        retry: when a retry may help.
        failures: how many in a row, including this one; at least 1.
        remaining: how long the session still lasts; zero or less if there is none.
        lifetime: of a session of this profile; positive.
        jitter: 0 to 1, drawn for each failure.

    Source: full jitter, as in the AWS Architecture Blog's "Exponential Backoff And Jitter".
    """
    if retry is RetryPolicy.ON_CHANGE:
        return None
    first = _FIRST_STEP_AFTER_DENIAL if retry is RetryPolicy.SLOWLY else _FIRST_STEP
    max_step = _MAX_LOCAL_STEP if retry is RetryPolicy.SOON else _MAX_STEP
    step = min(first * (1 << min(failures - 1, 30)), max_step)
    fraction = (remaining if remaining > ZERO else lifetime) * _MAX_FRACTION_OF_REMAINING
    step = min(step, max(fraction, _MIN_STEP))
    min_delay = step / 2 if retry is RetryPolicy.SLOWLY else _MIN_DELAY
    return max(step * jitter, min_delay)
