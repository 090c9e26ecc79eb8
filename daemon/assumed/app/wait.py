"""`assumed wait`: waits until profiles are valid for long enough, or the time is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import timedelta

from assumed.clock import Clock
from assumed.errors import DaemonUnreachableError
from assumed.models import Failure, Outcome

_FIRST_PAUSE = timedelta(seconds=0.5)
_MAX_PAUSE = timedelta(seconds=10)

Refresh = Callable[[timedelta], Sequence[Outcome]]
"""Refreshes the profiles with too little remaining, within a time; returns every outcome."""


@dataclass(frozen=True, slots=True)
class WaitResult:
    """The last outcome of each profile."""

    outcomes: Sequence[Outcome]

    @property
    def is_done(self) -> bool:
        """Whether all profiles are valid for long enough."""
        return all(outcome.ok for outcome in self.outcomes)


def wait(
    refresh: Refresh,
    *,
    clock: Clock,
    sleep: Callable[[float], None],
    min_left: timedelta | None,
    timeout: timedelta,
) -> WaitResult:
    """Refresh repeatedly, at growing intervals, until all profiles are valid or the time is up.

    `refresh` decides whether enough remains, because it knows the clock of STS. If it refreshes a
    profile twice in a row, even a new session is too short.

    Args:
        refresh: refreshes the profiles.
        clock: the source of time.
        sleep: sleeps for a number of seconds.
        min_left: the minimum remaining lifetime; None for sessions that are not due for refresh.
        timeout: how long to wait; positive.

    Raises:
        UsageError, ConfigurationError: as `refresh`.
        DaemonUnreachableError: the daemon did not respond until the time was up.
    """
    deadline = clock.boottime() + timeout.total_seconds()
    pause = _FIRST_PAUSE
    refreshed_before: set[str] = set()
    while True:
        unreachable: DaemonUnreachableError | None = None
        outcomes: list[Outcome] = []
        remaining = timedelta(seconds=deadline - clock.boottime())
        try:
            outcomes += refresh(max(remaining, _FIRST_PAUSE))
        except DaemonUnreachableError as error:
            unreachable = error
        refreshed = _refreshed_profiles(outcomes)
        if min_left is not None and (too_short := refreshed & refreshed_before):
            return WaitResult([_checked(outcome, too_short, clock) for outcome in outcomes])
        is_all_ok = unreachable is None and all(outcome.ok for outcome in outcomes)
        if is_all_ok and (min_left is None or not refreshed):
            return WaitResult(outcomes)
        refreshed_before = refreshed
        if is_all_ok:
            continue
        if clock.boottime() + pause.total_seconds() >= deadline:
            if unreachable is not None:
                raise unreachable
            return WaitResult(outcomes)
        sleep(pause.total_seconds())
        pause = min(pause * 2, _MAX_PAUSE)


def _refreshed_profiles(outcomes: Sequence[Outcome]) -> set[str]:
    return {outcome.profile for outcome in outcomes if outcome.ok and not outcome.was_fresh}


def _checked(outcome: Outcome, too_short: Set[str], clock: Clock) -> Outcome:
    if outcome.profile not in too_short:
        return outcome
    failure = Failure(
        code="MinLeft",
        message="even a new session has less remaining than --min-left requires",
        hint="use a smaller --min-left, or raise duration_seconds and the role's "
        "MaxSessionDuration",
        at=clock.now(),
    )
    return replace(outcome, failure=failure)
