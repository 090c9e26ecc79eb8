"""Requests for a refresh, and for credentials."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from freezegun import freeze_time

from assumed.engine.refresh_policy import RetriedBy
from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    ClockSkewedError,
    CredentialsFileUnwritableError,
    RefreshFailedError,
    StsUnavailableError,
    UsageError,
)
from assumed.models import Credentials, Outcome, ProfileState, StorageMode
from tests.fakes import NOON, Simulation, role
from tests.unit.engine.helpers import (
    CHILD,
    DEPLOY,
    HOUR,
    MINUTE,
    READ,
    SECOND,
    denied,
    refresh,
    throttled,
    unavailable,
)


def credentials(
    simulation: Simulation, profile: str, min_left: timedelta = 15 * MINUTE
) -> Credentials:
    """Request credentials, run what is due, and return them."""
    future = simulation.scheduler.credentials(profile, min_left=min_left)
    simulation.jobs.run_due()
    return future.result(timeout=0)


def refresh_if_under(simulation: Simulation, min_left: timedelta) -> Outcome:
    futures = simulation.scheduler.refresh(["deploy"], force=False, min_left=min_left)
    simulation.jobs.run_due()
    return futures["deploy"].result(timeout=0)


class TestRefresh:
    def test_a_fresh_session_is_left_alone_unless_forced(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY, READ)
        outcomes = refresh(simulation)
        assert all(outcome.ok and outcome.was_fresh for outcome in outcomes.values())
        outcome = refresh(simulation, "deploy", force=True)["deploy"]
        assert outcome.ok
        assert not outcome.was_fresh
        assert simulation.sts.called == ["deploy", "read", "deploy"]

    def test_requests_at_the_same_time_share_one_call(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        futures = [simulation.scheduler.refresh(["deploy"], force=True) for _ in range(5)]
        simulation.jobs.run_due()
        assert all(future["deploy"].result().ok for future in futures)
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_a_request_that_is_accepted_after_the_refresh_it_wanted_makes_no_call(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(2 * HOUR)
        first = simulation.scheduler.refresh(["deploy"], force=False)["deploy"]
        simulation.jobs.run_due()
        writes = simulation.sts.number
        second = simulation.scheduler.refresh(["deploy"], force=False)["deploy"]
        assert (first.result().was_fresh, second.result().was_fresh) == (False, True)
        assert simulation.sts.number == writes

    def test_an_unknown_or_disabled_profile_is_a_usage_error(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY, role("off", enabled=False))
        for name in ("nope", "off"):
            with pytest.raises(UsageError, match=name):
                simulation.scheduler.refresh([name], force=False)
        with pytest.raises(UsageError, match="nope"):
            simulation.scheduler.statuses(["nope"])
        assert simulation.status("off").state is ProfileState.DISABLED

    def test_a_request_fails_when_the_daemon_stops(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        future = simulation.scheduler.refresh(["deploy"], force=True)["deploy"]
        simulation.scheduler.stop()
        failure = future.result(timeout=0).failure
        assert failure is not None
        assert "stopping" in failure.hint
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy"]

    @pytest.mark.parametrize("definitions", [[READ], [READ, role("deploy", enabled=False)]])
    def test_a_request_fails_when_a_reload_removes_or_disables_its_profile(
        self, simulation: Simulation, definitions: list[object]
    ) -> None:
        simulation.start(DEPLOY, READ)
        waiting = simulation.scheduler.refresh(["deploy"], force=True)["deploy"]
        simulation.update_definitions(*definitions)  # type: ignore[arg-type]
        simulation.jobs.run_due()
        failure = waiting.result(timeout=0).failure
        assert failure is not None
        assert failure.message == "the profile is no longer refreshed"

    def test_a_callback_of_a_client_runs_without_the_lock(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        lock = simulation.scheduler._queue.lock
        held = []
        future = simulation.scheduler.refresh(["deploy"], force=True)["deploy"]
        future.add_done_callback(lambda _: held.append(lock._is_owned()))  # type: ignore[attr-defined]
        simulation.jobs.run_due()
        assert held == [False]


class TestMinLeft:
    def test_a_session_with_enough_remaining_is_left_alone_and_no_other(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(20 * MINUTE)
        assert refresh_if_under(simulation, 40 * MINUTE).was_fresh
        assert not refresh_if_under(simulation, 41 * MINUTE).was_fresh
        assert simulation.sts.number == 2

    def test_a_failing_profile_with_enough_remaining_is_left_alone(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = unavailable()
        simulation.run_for(50 * MINUTE)
        assert simulation.status("deploy").state is ProfileState.FAILING
        assert refresh_if_under(simulation, 5 * MINUTE).was_fresh
        assert not refresh_if_under(simulation, 15 * MINUTE).ok

    def test_a_session_that_is_not_in_the_file_is_written(self, simulation: Simulation) -> None:
        simulation.store.failures.append(CredentialsFileUnwritableError("full", hint="make room"))
        simulation.start(DEPLOY)
        assert simulation.store.profiles == {}
        assert not refresh_if_under(simulation, 5 * MINUTE).was_fresh
        assert simulation.store.profiles != {}
        assert simulation.sts.number == 1

    def test_a_session_in_memory_with_enough_remaining_is_left_alone(
        self, simulation: Simulation
    ) -> None:
        simulation.start(role("deploy", store=StorageMode.MEMORY))
        assert refresh_if_under(simulation, 10 * MINUTE).was_fresh
        assert simulation.sts.number == 1


class TestCredentials:
    def test_a_session_with_enough_remaining_is_returned_without_a_call(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        assert credentials(simulation, "deploy") == simulation.store.profiles["deploy"]
        assert credentials(simulation, "deploy") == simulation.store.profiles["deploy"]
        assert simulation.sts.number == 1

    def test_a_session_with_too_little_remaining_is_refreshed_first(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(46 * MINUTE)
        assert credentials(simulation, "deploy").expiration == NOON + 46 * MINUTE + HOUR
        assert simulation.sts.number == 2

    def test_requests_at_the_same_time_make_one_call(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(2 * HOUR)
        futures = [
            simulation.scheduler.credentials("deploy", min_left=15 * MINUTE) for _ in range(50)
        ]
        simulation.jobs.run_due()
        assert {future.result(timeout=0).access_key_id for future in futures} == {"ASIADEPLOY2"}
        assert simulation.sts.number == 2

    def test_more_than_half_of_a_lifetime_does_not_cause_a_call_each_time(
        self, simulation: Simulation
    ) -> None:
        simulation.start(role("deploy", duration_seconds=900))
        simulation.pass_time(2 * MINUTE)
        assert credentials(simulation, "deploy").expiration == NOON + 15 * MINUTE
        assert simulation.sts.number == 1
        simulation.pass_time(6 * MINUTE)
        assert credentials(simulation, "deploy").expiration == NOON + 23 * MINUTE

    def test_a_session_that_cannot_be_refreshed_is_returned_until_its_last_minute(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = unavailable()
        simulation.pass_time(50 * MINUTE)
        assert credentials(simulation, "deploy").expiration == NOON + HOUR
        calls = simulation.sts.number
        for _ in range(50):
            credentials(simulation, "deploy")
        assert simulation.sts.number == calls
        simulation.pass_time(9.5 * MINUTE)
        with pytest.raises(RefreshFailedError, match="no answer") as raised:
            credentials(simulation, "deploy")
        assert (raised.value.code, raised.value.hint) == ("StsUnavailable", "wait")
        assert simulation.sts.number > calls

    def test_an_expired_session_is_never_returned(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = AssumeRoleDeniedError("no", hint="ask")
        simulation.pass_time(2 * HOUR)
        with pytest.raises(RefreshFailedError):
            credentials(simulation, "deploy", timedelta(0))

    def test_a_wrong_wall_clock_changes_nothing(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.step_wall_clock(5 * HOUR)
        simulation.sts.skew = -5 * HOUR
        assert simulation.scheduler.credentials("deploy", min_left=15 * MINUTE).done()
        assert simulation.sts.number == 1

    def test_a_chain_is_refreshed_from_its_top(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY, CHILD)
        simulation.pass_time(2 * HOUR)
        credentials(simulation, "child")
        assert simulation.sts.called == ["deploy", "child", "deploy", "child"]

    def test_an_unknown_or_disabled_profile_is_a_usage_error(self, simulation: Simulation) -> None:
        simulation.start(role("off", enabled=False))
        for name in ("off", "nowhere"):
            with pytest.raises(UsageError):
                simulation.scheduler.credentials(name, min_left=MINUTE)

    def test_a_request_fails_when_the_daemon_stops(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(2 * HOUR)
        future = simulation.scheduler.credentials("deploy", min_left=MINUTE)
        simulation.scheduler.stop()
        with pytest.raises(RefreshFailedError, match="no longer refreshed"):
            future.result(timeout=0)


class TestPersistence:
    """Requests of commands, which wait for the retries."""

    @pytest.fixture
    def command(self) -> Iterator[Simulation]:
        with freeze_time(NOON) as frozen:
            yield Simulation(frozen, retried_by=RetriedBy.USER)  # type: ignore[arg-type]

    @pytest.mark.parametrize("error", [throttled(), unavailable()], ids=repr)
    def test_what_is_temporary_is_retried_until_it_works(
        self, command: Simulation, error: AssumedError
    ) -> None:
        command.start(DEPLOY)
        command.sts.failures = [error, error]
        future = command.scheduler.refresh([], force=False, persists=True)["deploy"]
        command.jobs.run_due()
        assert not future.done()
        assert command.status("deploy").last_error is not None
        command.run_for(4 * SECOND)
        assert future.result(timeout=0).ok
        assert command.sts.number == 3
        command.run_for(2 * HOUR)
        assert command.sts.number == 3

    @pytest.mark.parametrize(
        "error",
        [
            denied(),
            ClockSkewedError("no", hint="set it", is_new=False),
            StsUnavailableError("no", hint="trust it", code="SSLError"),
        ],
        ids=repr,
    )
    def test_what_does_not_change_by_itself_is_reported_at_once(
        self, command: Simulation, error: AssumedError
    ) -> None:
        command.start(DEPLOY)
        command.sts.failures = [error]
        future = command.scheduler.refresh([], force=False, persists=True)["deploy"]
        command.jobs.run_due()
        assert future.result(timeout=0).failure is not None
        command.run_for(HOUR)
        assert command.sts.number == 1

    def test_a_request_that_does_not_persist_is_answered_by_the_first_failure(
        self, command: Simulation
    ) -> None:
        command.start(DEPLOY)
        command.sts.failures = [throttled()]
        first = command.scheduler.refresh([], force=False)["deploy"]
        second = command.scheduler.credentials("deploy", min_left=MINUTE, persists=True)
        command.jobs.run_due()
        assert not first.result(timeout=0).ok
        assert not second.done()
        command.run_for(2 * SECOND)
        assert second.result(timeout=0).expiration > NOON

    def test_a_chain_waits_for_the_retries_of_its_top(self, command: Simulation) -> None:
        command.start(DEPLOY, CHILD)
        command.sts.failures = [throttled()]
        future = command.scheduler.refresh(["child"], force=False, persists=True)["child"]
        command.jobs.run_due()
        assert not future.done()
        command.run_for(2 * SECOND)
        assert future.result(timeout=0).ok
        assert command.sts.called == ["deploy", "deploy", "child"]

    def test_credentials_that_are_good_enough_do_not_wait(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = unavailable()
        simulation.pass_time(50 * MINUTE)
        future = simulation.scheduler.credentials("deploy", min_left=15 * MINUTE, persists=True)
        simulation.jobs.run_due()
        assert future.result(timeout=0).expiration == NOON + HOUR
