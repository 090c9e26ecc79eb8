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
UNREACHABLE = DaemonUnreachableError("no answer", hint="wait")

HttpResponse = Sequence[Outcome] | AssumedError


class Asked:
    """Gives one answer after the other, the last one for ever, and takes no time but for sleep."""

    def __init__(self, *answers: HttpResponse) -> None:
        self.clock = FakeClock()
        self.answers = list(answers)
        self.within: list[float] = []
        self.slept: list[float] = []

    def __call__(self, within: timedelta) -> Sequence[Outcome]:
        self.within.append(within.total_seconds())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, AssumedError):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))


def waited(
    asked: Asked, *, min_left: timedelta | None = None, timeout: timedelta = MINUTE
) -> WaitResult:
    return wait(asked, clock=asked.clock, sleep=asked.sleep, min_left=min_left, timeout=timeout)


@pytest.mark.parametrize("answer", [FRESH, NEW], ids=["fresh", "new"])
def test_what_is_valid_is_not_waited_for(answer: Outcome) -> None:
    asked = Asked([answer, READ])
    assert waited(asked) == WaitResult([answer, READ])
    assert (asked.slept, asked.within) == ([], [60])


def test_a_failure_is_tried_again_ever_more_slowly_until_it_works() -> None:
    asked = Asked([DENIED], [DENIED], [DENIED], [FRESH])
    assert waited(asked).is_done
    assert asked.slept == [0.5, 1, 2]
    assert asked.within == [60, 59.5, 58.5, 56.5]


def test_when_time_is_up_the_last_failure_is_told() -> None:
    asked = Asked([DENIED, READ])
    result = waited(asked)
    assert not result.is_done
    assert list(result.outcomes) == [DENIED, READ]
    assert sum(asked.slept) < 60
    assert max(asked.slept) == 10


def test_what_was_refreshed_is_asked_for_once_more_whether_enough_is_left() -> None:
    asked = Asked([NEW, READ], [FRESH, READ])
    assert waited(asked, min_left=45 * MINUTE) == WaitResult([FRESH, READ])
    assert asked.slept == []


def test_more_than_a_new_session_has_can_not_be_waited_for() -> None:
    asked = Asked([NEW, READ])
    result = waited(asked, min_left=2 * HOUR)
    failed, fine = result.outcomes
    assert failed.failure is not None
    assert "deploy: a session that was issued just now has less left" in failed.failure.message
    assert fine == READ
    assert len(asked.within) == 2


def test_a_session_that_falls_due_in_a_long_wait_is_refreshed_again() -> None:
    other = Outcome(profile="read", failure=DENIED.failure)
    asked = Asked([NEW, other], [FRESH, other], [NEW, other], [FRESH, READ])
    assert waited(asked, min_left=45 * MINUTE).is_done


def test_a_daemon_that_does_not_answer_is_waited_for() -> None:
    assert waited(Asked(UNREACHABLE, UNREACHABLE, [FRESH])).is_done
    with pytest.raises(DaemonUnreachableError):
        waited(Asked(UNREACHABLE))


def test_a_mistake_is_told_at_once() -> None:
    asked = Asked(UsageError("no such profile", hint="known are: none"))
    with pytest.raises(UsageError):
        waited(asked)
    assert asked.slept == []
