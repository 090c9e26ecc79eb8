"""Credentials that the scheduler gives out, and profiles that are kept in memory alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from assumed.errors import (
    AssumeRoleDeniedError,
    CredentialsFileUnwritableError,
    RefreshFailedError,
    StsUnavailableError,
    UsageError,
)
from assumed.models import Credentials, Outcome, ProfileState, StorageMode
from tests.fakes import NOON, Simulation, issued, role

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DEPLOY, CHILD = role("deploy"), role("child", parent="deploy")
HELD = role("deploy", store=StorageMode.MEMORY)


def given(simulation: Simulation, profile: str, min_left: timedelta = 15 * MINUTE) -> Credentials:
    """Ask for credentials, let what is due run, and return what came of it."""
    future = simulation.scheduler.credentials(profile, min_left=min_left)
    simulation.jobs.run_due()
    return future.result(timeout=0)


def refreshed(simulation: Simulation, min_left: timedelta) -> Outcome:
    futures = simulation.scheduler.refresh(["deploy"], force=False, min_left=min_left)
    simulation.jobs.run_due()
    return futures["deploy"].result(timeout=0)


def unavailable() -> StsUnavailableError:
    return StsUnavailableError("no answer", hint="wait")


class TestGiving:
    def test_what_has_enough_left_is_given_at_no_call(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        assert given(simulation, "deploy") == simulation.store.profiles["deploy"]
        assert given(simulation, "deploy") == simulation.store.profiles["deploy"]
        assert simulation.sts.number == 1

    def test_what_has_too_little_left_is_refreshed_first(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(46 * MINUTE)
        credentials = given(simulation, "deploy")
        assert credentials.expiration == NOON + 46 * MINUTE + HOUR
        assert simulation.sts.number == 2

    def test_many_who_ask_at_once_make_one_call(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(2 * HOUR)
        futures = [
            simulation.scheduler.credentials("deploy", min_left=15 * MINUTE) for _ in range(50)
        ]
        simulation.jobs.run_due()
        assert {future.result(timeout=0).access_key_id for future in futures} == {"ASIADEPLOY2"}
        assert simulation.sts.number == 2

    def test_more_than_half_of_a_lifetime_is_not_asked_for_again_and_again(
        self, simulation: Simulation
    ) -> None:
        simulation.start(role("deploy", duration_seconds=900))
        simulation.pass_time(2 * MINUTE)
        assert given(simulation, "deploy").expiration == NOON + 15 * MINUTE
        assert simulation.sts.number == 1
        simulation.pass_time(6 * MINUTE)
        assert given(simulation, "deploy").expiration == NOON + 23 * MINUTE

    def test_what_is_left_is_given_while_it_can_not_be_refreshed_down_to_a_minute(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = unavailable()
        simulation.pass_time(50 * MINUTE)
        assert given(simulation, "deploy").expiration == NOON + HOUR
        calls = simulation.sts.number
        for _ in range(50):
            given(simulation, "deploy")
        assert simulation.sts.number == calls
        simulation.pass_time(9.5 * MINUTE)
        with pytest.raises(RefreshFailedError, match="no answer") as raised:
            given(simulation, "deploy")
        assert (raised.value.code, raised.value.hint) == ("StsUnavailable", "wait")
        assert simulation.sts.number > calls

    def test_nothing_that_expired_is_ever_given(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = AssumeRoleDeniedError("no", hint="ask")
        simulation.pass_time(2 * HOUR)
        with pytest.raises(RefreshFailedError):
            given(simulation, "deploy", timedelta(0))

    def test_a_wrong_wall_clock_changes_nothing(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.step_wall_clock(5 * HOUR)
        simulation.sts.skew = -5 * HOUR
        assert simulation.scheduler.credentials("deploy", min_left=15 * MINUTE).done()
        assert simulation.sts.number == 1

    def test_a_chain_is_refreshed_from_its_top(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY, CHILD)
        simulation.pass_time(2 * HOUR)
        given(simulation, "child")
        assert simulation.sts.called == ["deploy", "child", "deploy", "child"]

    def test_an_unknown_or_disabled_profile_is_a_mistake(self, simulation: Simulation) -> None:
        simulation.start(role("off", enabled=False))
        for name in ("off", "nowhere"):
            with pytest.raises(UsageError):
                simulation.scheduler.credentials(name, min_left=MINUTE)

    def test_whoever_waits_when_the_daemon_stops_is_told(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(2 * HOUR)
        future = simulation.scheduler.credentials("deploy", min_left=MINUTE)
        simulation.scheduler.stop()
        with pytest.raises(RefreshFailedError, match="profile deploy: it is no longer refreshed"):
            future.result(timeout=0)


class TestMinLeft:
    def test_what_has_so_much_left_is_left_alone_and_nothing_else(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.pass_time(20 * MINUTE)
        assert refreshed(simulation, 40 * MINUTE).was_fresh
        assert not refreshed(simulation, 41 * MINUTE).was_fresh
        assert simulation.sts.number == 2

    def test_a_failing_profile_with_so_much_left_will_do(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = unavailable()
        simulation.run_for(50 * MINUTE)
        assert simulation.status("deploy").state is ProfileState.FAILING
        assert refreshed(simulation, 5 * MINUTE).was_fresh
        assert not refreshed(simulation, 15 * MINUTE).ok

    def test_a_session_that_is_not_in_the_file_will_not_do(self, simulation: Simulation) -> None:
        simulation.store.failures.append(CredentialsFileUnwritableError("full", hint="make room"))
        simulation.start(DEPLOY)
        assert simulation.store.profiles == {}
        assert not refreshed(simulation, 5 * MINUTE).was_fresh
        assert simulation.store.profiles != {}
        assert simulation.sts.number == 1


class TestMemory:
    def test_it_is_kept_fresh_and_never_written(self, simulation: Simulation) -> None:
        simulation.start(HELD)
        simulation.run_for(timedelta(days=1))
        assert simulation.store.writes == 0
        assert simulation.sts.number == pytest.approx(34, abs=2)
        status = simulation.status("deploy")
        assert (status.state, status.store) == (ProfileState.VALID, "memory")
        assert given(simulation, "deploy").access_key_id.startswith("ASIADEPLOY")
        assert refreshed(simulation, 10 * MINUTE).was_fresh

    def test_from_file_to_memory_its_section_goes_and_its_session_stays(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        before = given(simulation, "deploy")
        simulation.apply(HELD, stored=simulation.store.profiles)
        simulation.jobs.run_due()
        assert simulation.store.profiles == {}
        assert given(simulation, "deploy") == before
        assert simulation.sts.number == 1
        simulation.scheduler.reconcile({})
        simulation.run_for(HOUR)
        assert simulation.store.profiles == {}

    def test_from_memory_to_file_it_is_written_at_no_call(self, simulation: Simulation) -> None:
        simulation.start(HELD)
        simulation.apply(DEPLOY)
        simulation.jobs.run_due()
        assert simulation.store.profiles["deploy"] == given(simulation, "deploy")
        assert simulation.sts.number == 1

    def test_what_the_file_had_before_the_start_goes_too(self, simulation: Simulation) -> None:
        other = role("deploy", role_arn="arn:aws:iam::111122223333:role/before")
        stale = {"deploy": issued(other, NOON + HOUR)}
        simulation.store.profiles.update(stale)
        simulation.start(HELD, stored=stale)
        assert simulation.store.profiles == {}
        assert simulation.sts.number == 1

    def test_where_its_section_can_not_be_removed_it_is_tried_again(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.store.failures.append(CredentialsFileUnwritableError("full", hint="make room"))
        simulation.apply(HELD, stored=simulation.store.profiles)
        simulation.jobs.run_due()
        status = simulation.status("deploy")
        assert status.state is ProfileState.FAILING
        given(simulation, "deploy")
        simulation.run_for(MINUTE)
        assert simulation.store.profiles == {}
        assert simulation.status("deploy").state is ProfileState.VALID
        assert simulation.sts.number == 1

    def test_a_chain_starts_from_it(self, simulation: Simulation) -> None:
        simulation.start(CHILD, HELD)
        assert list(simulation.store.profiles) == ["child"]
        simulation.run_for(timedelta(hours=5))
        assert simulation.status("child").state is ProfileState.VALID
