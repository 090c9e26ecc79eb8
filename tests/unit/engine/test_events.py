"""The events that hooks and metrics observe."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.engine.events import EventType
from assumed.errors import AssumeRoleDeniedError, MfaCodeNeededError
from assumed.models import MfaSession, SourceProfile
from tests.fakes import NOON, Simulation, role
from tests.unit.engine.helpers import DEPLOY, DUE, HOUR, MINUTE, unavailable

LOGIN = MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/jane")


def observed(simulation: Simulation) -> list[tuple[str, str]]:
    """Return the events since the last call, without repeats."""
    found = [
        (str(each.event_type), each.profile) for each in simulation.events if not each.is_repeat
    ]
    simulation.events.clear()
    return found


@pytest.fixture
def with_login(simulation: Simulation) -> Simulation:
    simulation.sources.known[str(LOGIN)] = simulation.sources.known["keys"]
    return simulation


def test_each_new_session_is_an_event_with_its_expiration(simulation: Simulation) -> None:
    simulation.start(DEPLOY)
    (event,) = simulation.events
    assert (event.event_type, event.profile) == (EventType.REFRESHED, "deploy")
    assert (event.role_arn, event.expires_at) == (DEPLOY.role_arn, NOON + HOUR)
    assert (event.failure, event.late) == (None, timedelta(0))


def test_a_session_that_is_written_again_is_no_event(simulation: Simulation) -> None:
    simulation.start(DEPLOY)
    observed(simulation)
    simulation.scheduler.reconcile({})
    simulation.jobs.run_due()
    assert simulation.store.writes == 2
    assert observed(simulation) == []


def test_failures_in_a_row_are_one_event_and_the_expiration_is_another(
    simulation: Simulation,
) -> None:
    simulation.start(DEPLOY)
    observed(simulation)
    simulation.sts.failing["deploy"] = unavailable()
    simulation.run_for(3 * HOUR)
    failures = [each.failure for each in simulation.events if each.event_type is EventType.FAILED]
    assert len(failures) > 20
    assert {each.code for each in failures if each} == {"StsUnavailable"}
    assert observed(simulation) == [("failed", "deploy"), ("expired", "deploy")]

    del simulation.sts.failing["deploy"]
    simulation.run_for(6 * MINUTE)
    late = [each.late for each in simulation.events if each.event_type is EventType.REFRESHED]
    assert late[0] is not None
    assert timedelta(0) <= late[0] - (3 * HOUR - DUE) <= 6 * MINUTE
    assert observed(simulation) == [("refreshed", "deploy"), ("recovered", "deploy")]

    simulation.sts.failing["deploy"] = unavailable()
    simulation.run_for(DUE + MINUTE)
    assert observed(simulation) == [("failed", "deploy")]


def test_a_missing_login_is_one_event_for_all_profiles_of_its_source(
    with_login: Simulation,
) -> None:
    needed = MfaCodeNeededError("no session", hint="log in")
    with_login.sts.failing = {"deploy": needed, "read": needed}
    with_login.start(*[role(name, source=LOGIN) for name in ("deploy", "read")])
    assert observed(with_login) == [("needs-login", "deploy")]

    with_login.sts.failing = {}
    with_login.sources.known["keys"].fingerprint = "keys 2"
    with_login.run_for(MINUTE)
    assert sorted(observed(with_login)) == [
        ("recovered", "deploy"),
        ("recovered", "read"),
        ("refreshed", "deploy"),
        ("refreshed", "read"),
    ]
    with_login.sts.failing = {"read": needed}
    with_login.run_for(HOUR)
    assert ("needs-login", "read") in observed(with_login)


def test_a_failure_that_becomes_a_missing_login_is_two_events(simulation: Simulation) -> None:
    simulation.sts.failures = [
        AssumeRoleDeniedError("no", hint="ask"),
        MfaCodeNeededError("no session", hint="log in"),
    ]
    simulation.start(DEPLOY)
    simulation.run_for(MINUTE)
    assert observed(simulation) == [("failed", "deploy"), ("needs-login", "deploy")]


def test_the_expiration_of_a_login_is_an_event_two_hours_ahead_once_a_session(
    with_login: Simulation,
) -> None:
    with_login.sources.logins.ends_at = NOON + 4 * HOUR
    with_login.start(*[role(name, source=LOGIN) for name in ("deploy", "read")])
    with_login.run_for(2 * HOUR - MINUTE)
    assert not any(event_type == "login-expires-soon" for event_type, _ in observed(with_login))
    with_login.run_for(HOUR)
    (event,) = [each for each in with_login.events if each.event_type == "login-expires-soon"]
    assert (event.profile, event.expires_at) == ("deploy", NOON + 4 * HOUR)
    with_login.sources.logins.ends_at = NOON + 5 * HOUR
    observed(with_login)
    with_login.run_for(HOUR)
    assert ("login-expires-soon", "deploy") in observed(with_login)


def test_a_reload_changes_which_profiles_depend_on_a_login(with_login: Simulation) -> None:
    with_login.sources.logins.ends_at = NOON + HOUR
    with_login.start(DEPLOY)
    with_login.run_for(MINUTE)
    assert ("login-expires-soon", "deploy") not in observed(with_login)
    with_login.update_definitions(role("deploy", source=LOGIN))
    with_login.run_for(MINUTE)
    assert ("login-expires-soon", "deploy") in observed(with_login)
    with_login.update_definitions(role("deploy", source=LOGIN, enabled=False))
    with_login.sources.logins.ends_at = NOON + HOUR + MINUTE
    with_login.run_for(MINUTE)
    assert ("login-expires-soon", "deploy") not in observed(with_login)
