"""What the scheduler tells hooks and metrics."""

from __future__ import annotations

from datetime import timedelta

from assumed.engine.events import EventType
from assumed.errors import AssumeRoleDeniedError, MfaCodeNeededError, StsUnavailableError
from assumed.models import MfaSession, SourceProfile
from tests.fakes import NOON, Simulation, role

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DUE = timedelta(minutes=41, seconds=42)
DEPLOY, READ = role("deploy"), role("read")
LOGIN = MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/jane")


def told(simulation: Simulation) -> list[tuple[str, str]]:
    """What was told since this was asked last, repeats left out."""
    found = [
        (str(each.event_type), each.profile) for each in simulation.notices if not each.is_repeat
    ]
    simulation.notices.clear()
    return found


def test_each_new_session_is_told_with_its_end(simulation: Simulation) -> None:
    simulation.start(DEPLOY)
    (notice,) = simulation.notices
    assert (notice.event_type, notice.profile) == (EventType.REFRESHED, "deploy")
    assert (notice.role_arn, notice.expires_at) == (DEPLOY.role_arn, NOON + HOUR)
    assert (notice.failure, notice.late) == (None, timedelta(0))


def test_what_is_written_again_is_no_new_session(simulation: Simulation) -> None:
    simulation.start(DEPLOY)
    told(simulation)
    simulation.scheduler.reconcile({})
    simulation.jobs.run_due()
    assert simulation.store.writes == 2
    assert told(simulation) == []


def test_a_streak_of_failures_is_told_once_and_once_more_at_the_end_of_the_session(
    simulation: Simulation,
) -> None:
    simulation.start(DEPLOY)
    told(simulation)
    simulation.sts.failing["deploy"] = StsUnavailableError("no answer", hint="wait")
    simulation.run_for(3 * HOUR)
    failures = [each.failure for each in simulation.notices if each.event_type is EventType.FAILED]
    assert len(failures) > 20
    assert {each.code for each in failures if each} == {"StsUnavailable"}
    assert told(simulation) == [("failed", "deploy"), ("expired", "deploy")]

    del simulation.sts.failing["deploy"]
    simulation.run_for(6 * MINUTE)
    late = [each.late for each in simulation.notices if each.event_type is EventType.REFRESHED]
    assert late[0] is not None
    assert timedelta(0) <= late[0] - (3 * HOUR - DUE) <= 6 * MINUTE
    assert told(simulation) == [("refreshed", "deploy"), ("recovered", "deploy")]

    simulation.sts.failing["deploy"] = StsUnavailableError("no answer", hint="wait")
    simulation.run_for(DUE + MINUTE)
    assert told(simulation) == [("failed", "deploy")]


def test_a_missing_login_is_told_once_for_all_profiles_that_it_serves(
    simulation: Simulation,
) -> None:
    simulation.sources.known[str(LOGIN)] = simulation.sources.known["keys"]
    needed = MfaCodeNeededError("no session", hint="log in")
    simulation.sts.failing = {"deploy": needed, "read": needed}
    roles = [role(name, source=LOGIN) for name in ("deploy", "read")]
    simulation.start(*roles)
    assert told(simulation) == [("needs-login", "deploy")]

    simulation.sts.failing = {}
    simulation.sources.known["keys"].fingerprint = "keys 2"
    simulation.run_for(MINUTE)
    assert sorted(told(simulation)) == [
        ("recovered", "deploy"),
        ("recovered", "read"),
        ("refreshed", "deploy"),
        ("refreshed", "read"),
    ]
    simulation.sts.failing = {"read": needed}
    simulation.run_for(HOUR)
    assert ("needs-login", "read") in told(simulation)


def test_a_failure_that_turns_into_a_missing_login_is_told_as_both(
    simulation: Simulation,
) -> None:
    simulation.sts.failures = [
        AssumeRoleDeniedError("no", hint="ask"),
        MfaCodeNeededError("no session", hint="log in"),
    ]
    simulation.start(DEPLOY)
    simulation.run_for(MINUTE)
    assert told(simulation) == [("failed", "deploy"), ("needs-login", "deploy")]


def test_the_end_of_a_login_is_told_two_hours_before_it_once_a_session(
    simulation: Simulation,
) -> None:
    simulation.sources.known[str(LOGIN)] = simulation.sources.known["keys"]
    simulation.sources.logins.ends_at = NOON + 4 * HOUR
    simulation.start(*[role(name, source=LOGIN) for name in ("deploy", "read")])
    simulation.run_for(2 * HOUR - MINUTE)
    assert not any(event_type == "login-ends-soon" for event_type, _ in told(simulation))
    simulation.run_for(HOUR)
    (notice,) = [each for each in simulation.notices if each.event_type == "login-ends-soon"]
    assert (notice.profile, notice.expires_at) == ("deploy", NOON + 4 * HOUR)
    simulation.sources.logins.ends_at = NOON + 5 * HOUR
    told(simulation)
    simulation.run_for(HOUR)
    assert ("login-ends-soon", "deploy") in told(simulation)


def test_a_reload_says_which_profiles_hang_on_a_login(simulation: Simulation) -> None:
    simulation.sources.known[str(LOGIN)] = simulation.sources.known["keys"]
    simulation.sources.logins.ends_at = NOON + HOUR
    simulation.start(DEPLOY)
    simulation.run_for(MINUTE)
    assert ("login-ends-soon", "deploy") not in told(simulation)
    simulation.apply(role("deploy", source=LOGIN))
    simulation.run_for(MINUTE)
    assert ("login-ends-soon", "deploy") in told(simulation)
    simulation.apply(role("deploy", source=LOGIN, enabled=False))
    simulation.sources.logins.ends_at = NOON + HOUR + MINUTE
    simulation.run_for(MINUTE)
    assert ("login-ends-soon", "deploy") not in told(simulation)
