"""`assumed wait`: until profiles are valid for long enough, or time is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import timedelta

from assumed.clock import Clock
from assumed.errors import DaemonUnreachableError
from assumed.models import Failure, Outcome

_FIRST_PAUSE = timedelta(seconds=0.5)
_LONGEST_PAUSE = timedelta(seconds=10)

Ask = Callable[[timedelta], Sequence[Outcome]]
"""Refreshes what has too little left, within this time, and returns what came of each profile."""


@dataclass(frozen=True, slots=True)
class WaitResult:
    """What each profile came to; `is_done` where all of them are valid for long enough."""

    outcomes: Sequence[Outcome]

    @property
    def is_done(self) -> bool:
        """Whether nothing is missing any more."""
        return all(outcome.ok for outcome in self.outcomes)


def wait(
    ask: Ask,
    *,
    clock: Clock,
    sleep: Callable[[float], None],
    min_left: timedelta | None,
    timeout: timedelta,
) -> WaitResult:
    """Ask again and again, at growing intervals, until all profiles are valid or time is up.

    Whether enough is left is for `ask` to say, for it goes by a better clock than the wall's: what
    it had to refresh is asked for again, and what it then still has to refresh can't be had.

    Args:
        ask: what refreshes.
        clock: the source of time.
        sleep: waits some seconds.
        min_left: what was asked for; None for sessions that are not due to be refreshed.
        timeout: how long to wait; positive.

    Raises:
        UsageError, ConfigurationError: what `ask` raises and no waiting mends.
        DaemonUnreachableError: the daemon did not answer until time was up.
    """
    deadline = clock.boottime() + timeout.total_seconds()
    pause = _FIRST_PAUSE
    new_before: set[str] = set()
    while True:
        trouble: DaemonUnreachableError | None = None
        outcomes: list[Outcome] = []
        left = timedelta(seconds=deadline - clock.boottime())
        try:
            outcomes += ask(max(left, _FIRST_PAUSE))
        except DaemonUnreachableError as error:
            trouble = error
        new = {outcome.profile for outcome in outcomes if outcome.ok and not outcome.was_fresh}
        if min_left is not None and new & new_before:
            return WaitResult([_checked(outcome, new & new_before, clock) for outcome in outcomes])
        is_all_ok = trouble is None and all(outcome.ok for outcome in outcomes)
        if is_all_ok and (min_left is None or not new):
            return WaitResult(outcomes)
        new_before = new
        if is_all_ok:
            continue
        if clock.boottime() + pause.total_seconds() >= deadline:
            if trouble is not None:
                raise trouble
            return WaitResult(outcomes)
        sleep(pause.total_seconds())
        pause = min(pause * 2, _LONGEST_PAUSE)


def _checked(outcome: Outcome, too_short: Set[str], clock: Clock) -> Outcome:
    if outcome.profile not in too_short:
        return outcome
    failure = Failure(
        code="MinLeft",
        message=f"profile {outcome.profile}: a session that was issued just now has less left than "
        "--min-left asks for",
        hint="ask for less, or raise duration_seconds, and the MaxSessionDuration of the role",
        at=clock.now(),
    )
    return replace(outcome, failure=failure)
