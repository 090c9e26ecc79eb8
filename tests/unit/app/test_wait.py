from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from assumed.app.wait import WaitResult, wait
from assumed.errors import AssumedError, DaemonUnreachableError, UsageError
from assumed.models import Failure, Outcome
from tests.fakes import NOON, FakeClock

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
FRESH = Outcome(profile="deploy", was_fresh=True, expires_at=NOON + HOUR)
NEW = Outcome(profile="deploy", expires_at=NOON + HOUR)
DENIED = Outcome(
    profile="deploy", failure=Failure(code="AccessDenied", message="no", hint="ask", at=NOON)
)
READ = Outcome(profile="read", was_fresh=True, expires_at=NOON + HOUR)
UNREACHABLE = DaemonUnreachableError("no response", hint="wait")

Response = Sequence[Outcome] | AssumedError


class FakeRefresh:
    """Returns one response after the other, then the last one forever; only sleep takes time."""

    def __init__(self, *responses: Response) -> None:
        self.clock = FakeClock()
        self.responses = list(responses)
        self.within: list[float] = []
        self.slept: list[float] = []

    def __call__(self, within: timedelta) -> Sequence[Outcome]:
        self.within.append(within.total_seconds())
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if isinstance(response, AssumedError):
            raise response
        return response

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))


def wait_with(
    refresh: FakeRefresh, *, min_left: timedelta | None = None, timeout: timedelta = MINUTE
) -> WaitResult:
    return wait(
        refresh, clock=refresh.clock, sleep=refresh.sleep, min_left=min_left, timeout=timeout
    )


@pytest.mark.parametrize("outcome", [FRESH, NEW], ids=["fresh", "new"])
def test_wait_returns_at_once_if_all_profiles_are_valid(outcome: Outcome) -> None:
    refresh = FakeRefresh([outcome, READ])
    assert wait_with(refresh) == WaitResult([outcome, READ])
    assert (refresh.slept, refresh.within) == ([], [60])


def test_wait_retries_at_growing_intervals() -> None:
    refresh = FakeRefresh([DENIED], [DENIED], [DENIED], [FRESH])
    assert wait_with(refresh).is_done
    assert refresh.slept == [0.5, 1, 2]
    assert refresh.within == [60, 59.5, 58.5, 56.5]


def test_wait_returns_the_last_failure_when_the_time_is_up() -> None:
    refresh = FakeRefresh([DENIED, READ])
    result = wait_with(refresh)
    assert not result.is_done
    assert list(result.outcomes) == [DENIED, READ]
    assert sum(refresh.slept) < 60
    assert max(refresh.slept) == 10


def test_wait_checks_the_remaining_lifetime_of_a_new_session() -> None:
    refresh = FakeRefresh([NEW, READ], [FRESH, READ])
    assert wait_with(refresh, min_left=45 * MINUTE) == WaitResult([FRESH, READ])
    assert refresh.slept == []


def test_wait_fails_if_even_a_new_session_is_too_short() -> None:
    refresh = FakeRefresh([NEW, READ])
    result = wait_with(refresh, min_left=2 * HOUR)
    failed, fine = result.outcomes
    assert failed.failure is not None
    assert "even a new session has less remaining" in failed.failure.message
    assert fine == READ
    assert len(refresh.within) == 2


def test_wait_accepts_two_refreshes_with_a_valid_session_between() -> None:
    other = Outcome(profile="read", failure=DENIED.failure)
    refresh = FakeRefresh([NEW, other], [FRESH, other], [NEW, other], [FRESH, READ])
    assert wait_with(refresh, min_left=45 * MINUTE).is_done


def test_wait_retries_while_the_daemon_does_not_respond() -> None:
    assert wait_with(FakeRefresh(UNREACHABLE, UNREACHABLE, [FRESH])).is_done
    with pytest.raises(DaemonUnreachableError):
        wait_with(FakeRefresh(UNREACHABLE))


def test_wait_raises_a_usage_error_at_once() -> None:
    refresh = FakeRefresh(UsageError("no such profile", hint="defined profiles: none"))
    with pytest.raises(UsageError):
        wait_with(refresh)
    assert refresh.slept == []
