"""Sessions from the file: one call shows the time of STS, and whether they still work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.errors import StsRequestRejectedError, StsThrottledError, StsUnavailableError
from assumed.models import ProfileState
from tests.fakes import NOON, Simulation, issued, role
from tests.unit.engine.helpers import DEPLOY, HOUR, MINUTE, READ, logged

FRESH = {"deploy": issued(DEPLOY, NOON + 55 * MINUTE), "read": issued(READ, NOON + 50 * MINUTE)}


def beat(simulation: Simulation) -> None:
    """Make a heartbeat and everything that follows from it, in no time."""
    simulation.scheduler.heartbeat()
    simulation.jobs.run_due()


def seconds_left(simulation: Simulation, profile: str) -> int | None:
    return simulation.status(profile).seconds_left


def test_each_kept_session_is_checked_once_and_no_role_is_assumed(simulation: Simulation) -> None:
    simulation.start(DEPLOY, READ, stored=FRESH)
    simulation.run_for(20 * MINUTE)
    assert simulation.sts.checked == ["deploy", "read"]
    assert simulation.sts.called == []
    assert seconds_left(simulation, "deploy") == 35 * 60


def test_no_session_is_checked_that_is_about_to_be_replaced(simulation: Simulation) -> None:
    due = {"deploy": issued(DEPLOY, NOON + 10 * MINUTE)}
    simulation.start(DEPLOY, READ, stored=due)
    beat(simulation)
    assert simulation.sts.checked == []
    assert sorted(simulation.sts.called) == ["deploy", "read"]


def test_a_wall_clock_that_is_behind_is_corrected_by_the_check(simulation: Simulation) -> None:
    simulation.sts.skew = 40 * MINUTE
    simulation.start(DEPLOY, READ, stored=FRESH)
    beat(simulation)
    assert sorted(simulation.sts.called) == ["deploy", "read"]
    assert seconds_left(simulation, "deploy") == 3600


def test_a_wall_clock_that_is_set_while_sts_is_away_shortens_the_sessions(
    simulation: Simulation,
) -> None:
    away = StsUnavailableError("no answer", hint="wait")
    simulation.sts.failing = {"deploy": away, "read": away}
    simulation.sts.skew = 30 * MINUTE
    simulation.start(DEPLOY, READ, stored=FRESH)
    beat(simulation)
    simulation.step_wall_clock(30 * MINUTE)
    simulation.sts.skew = timedelta(0)
    beat(simulation)
    assert seconds_left(simulation, "deploy") == 25 * 60


def test_the_wrong_date_of_another_endpoint_changes_nothing(simulation: Simulation) -> None:
    dev = role("dev", region="eu-west-1")
    simulation.sts.wrong_clocks["eu-west-1"] = -HOUR
    simulation.start(DEPLOY, dev, stored=FRESH)
    simulation.run_for(MINUTE)
    assert seconds_left(simulation, "deploy") == 54 * 60
    assert seconds_left(simulation, "dev") == 59 * 60
    assert simulation.sts.called == ["dev"]


def test_a_session_that_does_not_work_is_refreshed_at_once(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.sts.rejected = {"ASIADEPLOY1"}
    simulation.start(DEPLOY, READ, stored=FRESH)
    beat(simulation)
    assert simulation.sts.called == ["deploy"]
    assert simulation.status("deploy").state is ProfileState.VALID
    assert [event["profile"] for event in logged(caplog, "session_rejected")] == ["deploy"]


def test_a_session_that_does_not_work_is_not_valid_if_the_refresh_fails(
    simulation: Simulation,
) -> None:
    simulation.sts.rejected = {"ASIADEPLOY1"}
    simulation.sts.failures = [StsUnavailableError("no answer", hint="wait")]
    simulation.start(DEPLOY, READ, stored=FRESH)
    beat(simulation)
    assert simulation.status("deploy").state is ProfileState.EXPIRED
    simulation.run_for(MINUTE)
    assert simulation.status("deploy").state is ProfileState.VALID


def test_a_check_that_fails_changes_no_state_and_is_made_again(simulation: Simulation) -> None:
    simulation.sts.failing = {"deploy": StsThrottledError("too many calls", hint="wait")}
    simulation.start(DEPLOY, READ, stored=FRESH)
    simulation.run_for(MINUTE)
    assert simulation.status("deploy").state is ProfileState.VALID
    assert simulation.sts.checked.count("read") == 1
    assert simulation.sts.checked.count("deploy") > 1
    simulation.sts.failing = {}
    simulation.run_for(5 * MINUTE)
    checked = simulation.sts.checked.count("deploy")
    simulation.run_for(5 * MINUTE)
    assert simulation.sts.checked.count("deploy") == checked


def test_an_endpoint_that_does_not_know_the_call_is_asked_once(simulation: Simulation) -> None:
    unknown = StsRequestRejectedError("no such action", hint="", code="InvalidAction")
    simulation.sts.failing = {"deploy": unknown}
    simulation.start(DEPLOY, stored=FRESH)
    simulation.run_for(20 * MINUTE)
    assert simulation.sts.checked == ["deploy"]
    assert simulation.status("deploy").state is ProfileState.VALID


def test_a_session_that_another_process_wrote_is_checked(simulation: Simulation) -> None:
    simulation.start(DEPLOY)
    simulation.run_for(MINUTE)
    later = {"deploy": issued(DEPLOY, simulation.clock.now() + HOUR, 2)}
    simulation.scheduler.reconcile(later)
    beat(simulation)
    assert simulation.sts.checked == ["deploy"]


def test_a_disabled_profile_is_not_checked(simulation: Simulation) -> None:
    simulation.start(role("deploy", enabled=False), stored=FRESH)
    beat(simulation)
    assert simulation.sts.checked == []
