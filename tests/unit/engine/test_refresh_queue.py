"""When each profile is refreshed, and after which other one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.engine.heartbeat import HEARTBEAT
from assumed.models import ProfileState
from tests.fakes import NOON, Simulation, issued, role
from tests.unit.engine.helpers import (
    CHILD,
    DEPLOY,
    DUE,
    GRANDCHILD,
    HOUR,
    MINUTE,
    READ,
    SECOND,
    denied,
    refresh,
)


class TestDueTime:
    def test_each_profile_is_refreshed_at_once_and_again_before_it_expires(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(DUE - SECOND)
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(2 * SECOND)
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_a_session_that_is_fresh_at_the_start_is_kept_without_a_call(
        self, simulation: Simulation
    ) -> None:
        fresh = issued(DEPLOY, NOON + HOUR)
        simulation.start(DEPLOY, stored={"deploy": fresh})
        assert simulation.sts.called == []
        assert simulation.scheduler.first_pass.done.done()
        status = simulation.status("deploy")
        assert (status.state, status.seconds_left) == (ProfileState.VALID, 3600)
        simulation.run_for(DUE + SECOND)
        assert simulation.sts.called == ["deploy"]

    def test_a_stored_session_that_is_due_or_has_another_session_name_is_replaced_at_the_start(
        self, simulation: Simulation
    ) -> None:
        other = role("read", role_session_name="assumed-you@there")
        stored = {
            "deploy": issued(DEPLOY, NOON + 15 * MINUTE),
            "read": issued(other, NOON + HOUR),
        }
        simulation.start(DEPLOY, READ, stored=stored)
        assert simulation.sts.called == ["deploy", "read"]

    def test_a_refresh_that_became_due_in_a_suspend_starts_with_the_next_heartbeat(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY, READ)
        simulation.pass_time(timedelta(hours=9))
        assert simulation.status("deploy").state is ProfileState.EXPIRED
        simulation.run_for(HEARTBEAT)
        assert simulation.sts.called[2:] == ["deploy", "read"]
        assert simulation.status("deploy").state is ProfileState.VALID

    @pytest.mark.parametrize("step", [timedelta(hours=-5), timedelta(hours=5)])
    def test_a_step_of_the_wall_clock_moves_no_refresh(
        self, simulation: Simulation, step: timedelta
    ) -> None:
        simulation.start(DEPLOY)
        simulation.step_wall_clock(step)
        simulation.sts.skew = -step
        simulation.run_for(DUE - SECOND)
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(HEARTBEAT)
        assert simulation.sts.called == ["deploy", "deploy"]
        assert simulation.status("deploy").seconds_left == pytest.approx(3600, abs=30)

    def test_a_job_that_a_stepped_wall_clock_runs_early_is_scheduled_again(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.step_wall_clock(24 * HOUR)
        # A pass over the jobs before any heartbeat.
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(DUE + SECOND)
        assert simulation.sts.called == ["deploy", "deploy"]


class TestChains:
    def test_parents_come_first_in_any_order_of_the_configuration(
        self, simulation: Simulation
    ) -> None:
        simulation.start(GRANDCHILD, CHILD, DEPLOY)
        assert simulation.sts.called == ["deploy", "child", "grandchild"]
        signers = [signer.access_key_id for _, signer in simulation.sts.calls]
        assert signers == ["AKIAEXAMPLE", "ASIADEPLOY1", "ASIACHILD2"]

    def test_a_chain_stays_fresh_for_a_day(self, simulation: Simulation) -> None:
        simulation.start(GRANDCHILD, CHILD, DEPLOY)
        simulation.run_for(timedelta(days=1))
        assert all(status.state is ProfileState.VALID for status in simulation.scheduler.statuses())

    def test_a_child_of_a_denied_parent_reports_it_and_is_refreshed_once_it_can_be(
        self, simulation: Simulation
    ) -> None:
        simulation.sts.failing["deploy"] = denied()
        simulation.start(CHILD, DEPLOY)
        error = simulation.status("child").last_error
        assert error is not None
        assert error.code == "ParentNotReady"
        assert simulation.scheduler.first_pass.done.done()
        del simulation.sts.failing["deploy"]
        simulation.run_for(MINUTE)
        assert simulation.status("child").state is ProfileState.VALID

    def test_a_request_for_a_child_refreshes_its_expired_parent_as_well(
        self, simulation: Simulation
    ) -> None:
        simulation.start(CHILD, DEPLOY)
        simulation.pass_time(timedelta(hours=2))
        outcomes = refresh(simulation, "child")
        assert outcomes["child"].ok
        assert simulation.sts.called[2:] == ["deploy", "child"]
