from __future__ import annotations

import logging
import re
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from assumed.engine.executor import SLOW_LANE
from assumed.engine.heartbeat import HEARTBEAT, HeartbeatScheduler
from assumed.errors import (
    AssumeRoleDeniedError,
    CredentialsFileMalformedError,
    CredentialsFileUnwritableError,
    SourceMissingError,
    SourceRejectedError,
    SourceUnavailableError,
    StsThrottledError,
    StsUnavailableError,
    UsageError,
)
from assumed.logs import event_fields, timestamp
from assumed.models import Outcome, ProfileDefinition, ProfileState
from tests.fakes import NOON, FakeSource, Simulation, issued, role

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
# With the jitter of the fixture, 0.5: 15 minutes and 5.5 % of the hour before the end.
DUE = timedelta(minutes=41, seconds=42)
DEPLOY, READ = role("deploy"), role("read")
CHILD, GRANDCHILD = role("child", parent="deploy"), role("grandchild", parent="child")


def unavailable() -> StsUnavailableError:
    return StsUnavailableError("no answer", hint="wait")


def denied() -> AssumeRoleDeniedError:
    return AssumeRoleDeniedError("no", hint="ask")


def asked(simulation: Simulation, *profiles: str, force: bool = False) -> dict[str, Outcome]:
    """Ask for a refresh, let what is due run, and return the outcomes that are there by then."""
    futures = simulation.scheduler.refresh(profiles, force=force)
    simulation.jobs.run_due()
    return {name: future.result() for name, future in futures.items() if future.done()}


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    found = [record for record in caplog.records if record.getMessage() == name]
    return [{"level": record.levelno, **event_fields(record)} for record in found]


class TestWhen:
    def test_each_profile_is_refreshed_at_once_and_again_before_its_end(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(DUE - SECOND)
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(2 * SECOND)
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_what_is_fresh_at_the_start_is_kept_and_costs_no_call(
        self, simulation: Simulation
    ) -> None:
        fresh = issued(DEPLOY, NOON + HOUR)
        simulation.start(DEPLOY, stored={"deploy": fresh})
        assert simulation.sts.called == []
        assert simulation.scheduler.first_pass.done()
        status = simulation.status("deploy")
        assert (status.state, status.seconds_left) == (ProfileState.VALID, 3600)
        simulation.run_for(DUE + SECOND)
        assert simulation.sts.called == ["deploy"]

    def test_what_is_due_or_of_another_session_name_is_assumed_at_the_start(
        self, simulation: Simulation
    ) -> None:
        other = role("read", role_session_name="assumed-you@there")
        stored = {
            "deploy": issued(DEPLOY, NOON + 15 * MINUTE),
            "read": issued(other, NOON + HOUR),
        }
        simulation.start(DEPLOY, READ, stored=stored)
        assert simulation.sts.called == ["deploy", "read"]

    def test_what_fell_due_in_a_suspend_is_refreshed_at_the_next_beat(
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

    def test_a_wrong_wall_clock_at_the_start_is_found_out_by_the_first_answer_of_sts(
        self, simulation: Simulation
    ) -> None:
        # The local clock is five hours late: what the file holds seems to last for five more.
        simulation.sts.skew = timedelta(hours=5)
        stale = issued(READ, NOON + timedelta(hours=4))
        simulation.start(DEPLOY, READ, stored={"read": stale})
        assert simulation.sts.called == ["deploy", "read"]
        assert simulation.status("read").state is ProfileState.VALID

    def test_a_defect_is_logged_and_the_profile_is_armed_again(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        def break_down(_: object) -> None:
            simulation.sts.during_call = lambda _: None
            raise ZeroDivisionError

        simulation.sts.during_call = break_down
        simulation.start(DEPLOY)
        assert simulation.status("deploy").last_error is not None
        assert events(caplog, "internal_error")[0]["profile"] == "deploy"
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID


class TestChains:
    def test_parents_come_first_whatever_the_order_of_the_file(
        self, simulation: Simulation
    ) -> None:
        simulation.start(GRANDCHILD, CHILD, DEPLOY)
        assert simulation.sts.called == ["deploy", "child", "grandchild"]
        callers = [caller.access_key_id for _, caller in simulation.sts.calls]
        assert callers == ["AKIAEXAMPLE", "ASIADEPLOY1", "ASIACHILD2"]

    def test_a_chain_stays_fresh_for_a_day(self, simulation: Simulation) -> None:
        simulation.start(GRANDCHILD, CHILD, DEPLOY)
        simulation.run_for(timedelta(days=1))
        assert all(status.state is ProfileState.VALID for status in simulation.scheduler.statuses())

    def test_a_child_of_a_denied_parent_says_so_and_follows_once_it_can(
        self, simulation: Simulation
    ) -> None:
        simulation.sts.failing["deploy"] = denied()
        simulation.start(CHILD, DEPLOY)
        error = simulation.status("child").last_error
        assert error is not None
        assert error.code == "ParentNotReady"
        assert simulation.scheduler.first_pass.done()
        del simulation.sts.failing["deploy"]
        simulation.run_for(MINUTE)
        assert simulation.status("child").state is ProfileState.VALID

    def test_a_child_asked_for_brings_its_expired_parent_with_it(
        self, simulation: Simulation
    ) -> None:
        simulation.start(CHILD, DEPLOY)
        simulation.pass_time(timedelta(hours=2))
        outcomes = asked(simulation, "child")
        assert outcomes["child"].ok
        assert simulation.sts.called[2:] == ["deploy", "child"]


class TestFailures:
    def test_trouble_of_one_profile_delays_no_other(self, simulation: Simulation) -> None:
        simulation.sts.failing["deploy"] = denied()
        simulation.start(DEPLOY, READ)
        simulation.run_for(timedelta(hours=5))
        assert simulation.status("read").state is ProfileState.VALID
        assert simulation.status("read").refreshes == 8
        assert simulation.status("deploy").state is ProfileState.FAILING

    def test_trouble_that_passes_is_over_before_the_session_is(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = unavailable()
        simulation.run_for(timedelta(minutes=58))
        status = simulation.status("deploy")
        assert status.state is ProfileState.FAILING
        assert status.consecutive_failures > 5
        del simulation.sts.failing["deploy"]
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID
        assert simulation.status("deploy").consecutive_failures == 0

    def test_an_outage_of_hours_is_neither_given_up_nor_a_storm(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = StsThrottledError("slowly", hint="wait")
        simulation.run_for(timedelta(hours=12))
        assert simulation.status("deploy").state is ProfileState.EXPIRED
        assert 100 < len(simulation.sts.called) < 500
        del simulation.sts.failing["deploy"]
        simulation.run_for(5 * MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_session_that_could_not_be_written_is_written_later_with_no_further_call(
        self, simulation: Simulation
    ) -> None:
        simulation.store.failures = [CredentialsFileUnwritableError("full", hint="free some")] * 3
        simulation.start(DEPLOY)
        assert simulation.status("deploy").state is ProfileState.FAILING
        simulation.run_for(MINUTE)
        assert simulation.sts.called == ["deploy"]
        assert simulation.store.profiles["deploy"].access_key_id == "ASIADEPLOY1"
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_what_lacks_a_login_is_not_tried_again_until_its_source_changes(
        self, simulation: Simulation
    ) -> None:
        source = simulation.sources.known.pop("keys")
        simulation.start(DEPLOY)
        assert simulation.status("deploy").state is ProfileState.NEEDS_LOGIN
        assert simulation.status("deploy").next_attempt_at is None
        simulation.run_for(HOUR)
        assert simulation.status("deploy").consecutive_failures == 1
        simulation.sources.known["keys"] = source
        simulation.run_for(HEARTBEAT)
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_keys_that_sts_rejects_are_tried_slowly_and_at_once_when_they_change(
        self, simulation: Simulation
    ) -> None:
        # A new access key is rejected for some seconds too: IAM is eventually consistent.
        simulation.sts.failing["deploy"] = SourceRejectedError(
            "no", hint="renew", code="ExpiredToken"
        )
        simulation.start(DEPLOY)
        assert simulation.status("deploy").state is ProfileState.NEEDS_LOGIN
        simulation.run_for(HOUR)
        assert 5 < simulation.status("deploy").consecutive_failures < 30
        assert simulation.sources.known["keys"].times_forgotten > 5
        del simulation.sts.failing["deploy"]
        simulation.sources.known["keys"].fingerprint = "changed"
        simulation.run_for(HEARTBEAT)
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_what_lacks_a_login_is_tried_again_when_somebody_asks(
        self, simulation: Simulation
    ) -> None:
        simulation.sts.failing["deploy"] = SourceMissingError("expired", hint="log in")
        simulation.start(DEPLOY)
        outcome = asked(simulation, "deploy")["deploy"]
        assert outcome.failure is not None
        assert outcome.failure.code == "SourceMissing"
        assert simulation.status("deploy").consecutive_failures == 2


class TestEndpoints:
    def test_when_an_outage_is_over_all_try_again_that_failed_in_it(
        self, simulation: Simulation
    ) -> None:
        profiles = [role(f"p{number}") for number in range(10)]
        simulation.start(*profiles)
        for definition in profiles:
            simulation.sts.failing[definition.profile] = unavailable()
        simulation.run_for(timedelta(hours=3))
        simulation.sts.failing.clear()
        first = min(
            status.next_attempt_at
            for status in simulation.scheduler.statuses()
            if status.next_attempt_at is not None
        )
        simulation.run_for(first - simulation.clock.now() + 2 * SECOND)
        states = {status.state for status in simulation.scheduler.statuses()}
        assert states == {ProfileState.VALID}

    def test_trouble_of_one_role_is_not_taken_for_an_outage(self, simulation: Simulation) -> None:
        simulation.sts.failing["broken"] = unavailable()
        others = [role(f"p{number}") for number in range(50)]
        simulation.start(role("broken"), *others)
        simulation.run_for(timedelta(hours=12))
        # Its own back-off ends at one try in 2.5 minutes on average.
        assert simulation.status("broken").consecutive_failures < 12 * 60 / 2.5 + 30

    def test_the_first_throttling_slows_down_all_calls_to_that_endpoint_and_no_other(
        self, simulation: Simulation
    ) -> None:
        here = [role(f"here{number}") for number in range(20)]
        there = [role(f"there{number}", region="eu-west-1") for number in range(20)]
        throttled = StsThrottledError("slowly", hint="wait")
        simulation.sts.during_call = lambda definition: (
            simulation.sts.failures.append(throttled)
            if definition.region is None and len(simulation.sts.calls) % 5 == 1
            else None
        )
        simulation.start(*here, *there)
        started = set(simulation.sts.called)
        assert {definition.profile for definition in there} <= started
        assert sum(definition.profile in started for definition in here) < 20
        simulation.sts.during_call = lambda _: None
        simulation.run_for(MINUTE)
        states = {status.state for status in simulation.scheduler.statuses()}
        assert states == {ProfileState.VALID}

    def test_a_profile_whose_call_hung_keeps_out_of_the_others_way(
        self, simulation: Simulation
    ) -> None:
        def hang(definition: ProfileDefinition) -> None:
            if definition.profile == "deploy":
                simulation.pass_time(timedelta(seconds=6))

        simulation.sts.during_call = hang
        simulation.sts.failing["deploy"] = unavailable()
        simulation.start(DEPLOY, READ)
        lanes = {job.id: job.executor for job in simulation.jobs.get_jobs()}
        assert lanes == {"deploy": SLOW_LANE, "read": "default"}
        simulation.sts.during_call = lambda _: None
        del simulation.sts.failing["deploy"]
        simulation.run_for(MINUTE)
        lanes = {job.id: job.executor for job in simulation.jobs.get_jobs()}
        assert lanes == {"deploy": "default", "read": "default"}


class TestLog:
    def test_a_refresh_is_one_line_with_all_that_somebody_asks_at_night(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "assumed")
        simulation.start(DEPLOY)
        assert events(caplog, "profile_refreshed") == [
            {
                "level": logging.INFO,
                "profile": "deploy",
                "role_arn": DEPLOY.role_arn,
                "expires_at": NOON + HOUR,
                "seconds_left": 3600,
                "next_attempt_at": NOON + DUE,
                "access_key_id": "ASIADEPLOY1",
                "took_seconds": 0.0,
            }
        ]

    def test_repeated_failures_are_summed_up_and_their_end_is_told(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "assumed")
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = unavailable()
        simulation.run_for(timedelta(hours=6))
        failed = events(caplog, "refresh_failed")
        attempts = [event["attempt"] for event in failed]
        assert {1, 8, 16, 32, 64, 128} <= set(attempts)
        # The powers of two but for those of the first minute, and one for an hour without any.
        assert len(attempts) <= 8 + 6
        since = timestamp(NOON + DUE)
        assert failed[0].keys() >= {"error", "hint", "role_arn"}
        assert "summary" not in failed[0]
        assert not failed[1].keys() & {"error", "hint", "role_arn"}, "that is told once"
        assert re.match(
            rf"still failing: \d+ tries since {since}, expires in ", failed[1]["summary"]
        )
        assert re.search(r"since \S+, expired \d h \d\d min ago$", failed[-1]["summary"])
        expired = events(caplog, "profile_expired")
        assert [(event["level"], event["profile"]) for event in expired] == [
            (logging.ERROR, "deploy")
        ]
        del simulation.sts.failing["deploy"]
        simulation.run_for(5 * MINUTE)
        (recovered,) = events(caplog, "profile_recovered")
        assert recovered["failures"] > 100
        assert recovered["failing_since"] < NOON + HOUR
        assert recovered["failing_for_seconds"] > 5 * 3600
        assert recovered["late_seconds"] == recovered["failing_for_seconds"]
        assert recovered["failed_with"] == "StsUnavailable"
        assert recovered["expired_for_seconds"] == pytest.approx(
            recovered["failing_for_seconds"] - (HOUR - DUE).total_seconds(), abs=2
        )

    def test_what_a_sleep_has_held_up_says_how_late_it_is(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "assumed")
        simulation.start(DEPLOY)
        simulation.pass_time(8 * HOUR)
        simulation.run_for(SECOND)
        _, refreshed = events(caplog, "profile_refreshed")
        assert refreshed["late_seconds"] == (8 * HOUR - DUE).total_seconds()
        (resumed,) = events(caplog, "resumed_from_suspend")
        assert resumed["away_seconds"] == pytest.approx(8 * 3600, abs=20)

    def test_no_hour_of_an_outage_is_silent(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "assumed")
        simulation.sts.failing["deploy"] = unavailable()
        simulation.start(DEPLOY)
        for _ in range(24):
            caplog.clear()
            simulation.run_for(timedelta(minutes=66))  # an hour, and the longest delay
            assert events(caplog, "refresh_failed")

    def test_a_failure_of_another_kind_is_news(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "assumed")
        simulation.sts.failures = [unavailable(), unavailable(), denied(), unavailable()]
        simulation.start(DEPLOY)
        simulation.run_for(5 * MINUTE)
        failed = events(caplog, "refresh_failed")
        assert [(event["attempt"], event["error_code"]) for event in failed] == [
            (1, "StsUnavailable"), (3, "AccessDenied"), (4, "StsUnavailable"),
        ]  # fmt: skip
        assert [event.get("failed_before_with") for event in failed] == [
            None, "StsUnavailable", "AccessDenied",
        ]  # fmt: skip

    def test_a_new_reason_why_an_expired_profile_is_not_refreshed_is_an_error(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = unavailable()
        simulation.run_for(2 * HOUR)
        caplog.clear()
        simulation.sts.failing["deploy"] = denied()
        simulation.run_for(10 * MINUTE)
        (news, *_) = events(caplog, "refresh_failed")
        assert (news["level"], news["error_code"]) == (logging.ERROR, "AccessDenied")
        assert news["hint"] == "ask"

    def test_what_waits_for_somebody_is_told_each_hour(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        simulation.sts.failing["deploy"] = SourceMissingError("no login", hint="log in")
        simulation.start(DEPLOY)
        simulation.run_for(4 * HOUR + MINUTE)
        assert len(events(caplog, "refresh_failed")) == 1
        waits = events(caplog, "profile_blocked")
        assert len(waits) == 4
        assert waits[0]["level"] == logging.WARNING
        assert (waits[0]["hint"], waits[0]["waits_for"]) == ("log in", "somebody's login")

    def test_the_end_of_the_session_in_the_file_counts_where_the_next_one_can_t_be_written(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        simulation.start(DEPLOY)
        simulation.store.failing = CredentialsFileUnwritableError("full", hint="free some space")
        simulation.run_for(59 * MINUTE)
        status = simulation.status("deploy")
        assert (status.state, status.expires_at) == (ProfileState.FAILING, NOON + HOUR)
        simulation.run_for(2 * MINUTE)
        assert simulation.status("deploy").state is ProfileState.EXPIRED
        (expired,) = events(caplog, "profile_expired")
        assert expired["expires_at"] == NOON + HOUR
        simulation.store.failing = None
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_child_says_what_keeps_its_parent(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        simulation.sts.failing["deploy"] = denied()
        simulation.start(DEPLOY, CHILD)
        assert [event["error"] for event in events(caplog, "refresh_failed")] == [
            "no",
            "its source profile deploy has no valid session: AccessDenied",
        ]


class TestRecovery:
    def test_a_job_that_a_stepped_wall_clock_has_run_early_is_armed_again(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.step_wall_clock(24 * HOUR)
        # A pass over the jobs that no heartbeat came before.
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(DUE + SECOND)
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_another_kind_of_failure_begins_with_short_delays(self, simulation: Simulation) -> None:
        simulation.sts.failing["deploy"] = unavailable()
        simulation.start(DEPLOY)
        simulation.run_for(HOUR)
        simulation.sts.failing["deploy"] = denied()
        calls = len(simulation.sts.called)
        while len(simulation.sts.called) == calls:
            simulation.run_for(SECOND)
        simulation.run_for(15 * SECOND)
        assert len(simulation.sts.called) >= calls + 2

    def test_a_source_that_works_again_is_tried_by_all_that_had_nothing_of_it(
        self, simulation: Simulation
    ) -> None:
        gone = SourceUnavailableError("the process failed", hint="wait")
        simulation.sts.failing |= {"deploy": gone, "read": gone}
        simulation.start(DEPLOY, READ)
        simulation.run_for(HOUR)
        del simulation.sts.failing["deploy"], simulation.sts.failing["read"]
        # Whoever asks for one has the other one refreshed too.
        asked(simulation, "deploy")
        simulation.run_for(2 * SECOND)
        assert simulation.status("read").state is ProfileState.VALID


class TestAsking:
    def test_what_is_fresh_is_left_alone_unless_forced(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY, READ)
        outcomes = asked(simulation)
        assert all(outcome.ok and outcome.was_fresh for outcome in outcomes.values())
        outcome = asked(simulation, "deploy", force=True)["deploy"]
        assert outcome.ok
        assert not outcome.was_fresh
        assert simulation.sts.called == ["deploy", "read", "deploy"]

    def test_many_who_ask_at_once_share_one_call(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        futures = [simulation.scheduler.refresh(["deploy"], force=True) for _ in range(5)]
        simulation.jobs.run_due()
        assert all(future["deploy"].result().ok for future in futures)
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_an_unknown_or_disabled_profile_is_a_wrong_usage(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY, role("off", enabled=False))
        for name in ("nope", "off"):
            with pytest.raises(UsageError, match=name):
                simulation.scheduler.refresh([name], force=False)
        with pytest.raises(UsageError, match="nope"):
            simulation.scheduler.statuses(["nope"])
        assert simulation.status("off").state is ProfileState.DISABLED

    def test_whoever_waits_is_told_when_the_daemon_stops(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        future = simulation.scheduler.refresh(["deploy"], force=True)["deploy"]
        simulation.scheduler.stop()
        failure = future.result().failure
        assert failure is not None
        assert "stopping" in failure.hint
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy"]


class TestReload:
    def test_only_what_is_new_is_assumed_and_what_is_gone_is_left(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY, READ)
        simulation.apply(READ, role("new"))
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy", "read", "new"]
        assert [status.profile for status in simulation.scheduler.statuses()] == ["read", "new"]
        simulation.run_for(HOUR)
        assert simulation.sts.called.count("deploy") == 1

    def test_another_role_is_assumed_at_once(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.apply(role("deploy", external_id="changed"))
        simulation.jobs.run_due()
        assert simulation.sts.calls[-1][0].external_id == "changed"

    def test_another_time_of_refresh_takes_no_call(self, simulation: Simulation) -> None:
        simulation.start(DEPLOY)
        simulation.apply(role("deploy", refresh_before=timedelta(minutes=30)))
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy"]
        simulation.run_for(timedelta(minutes=27))
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_a_disabled_profile_is_left_alone_and_taken_up_again(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.apply(role("deploy", enabled=False))
        simulation.run_for(HOUR)
        assert simulation.sts.called == ["deploy"]
        simulation.apply(DEPLOY)
        simulation.jobs.run_due()
        assert simulation.sts.called == ["deploy", "deploy"]

    def test_a_definition_that_changes_in_the_midst_of_its_call_wins(
        self, simulation: Simulation
    ) -> None:
        changed = role("deploy", external_id="changed")

        def reload(_: object) -> None:
            simulation.sts.during_call = lambda _: None
            simulation.apply(changed)

        simulation.sts.during_call = reload
        simulation.start(DEPLOY)
        assert [definition for definition, _ in simulation.sts.calls] == [DEPLOY, changed]
        held = simulation.refresher.session("deploy")
        assert held is not None
        assert held.credentials == simulation.store.profiles["deploy"]
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_profile_that_goes_in_the_midst_of_its_call_does_not_come_back(
        self, simulation: Simulation
    ) -> None:
        simulation.sts.during_call = lambda _: simulation.apply(READ)
        simulation.start(DEPLOY)
        assert [status.profile for status in simulation.scheduler.statuses()] == ["read"]
        assert simulation.refresher.session("deploy") is None


def test_the_real_scheduler_is_never_asleep_for_longer_than_a_heartbeat() -> None:
    beats: list[None] = []
    jobs = HeartbeatScheduler(lambda: beats.append(None))
    jobs.start(paused=False)
    try:
        assert jobs._process_jobs() <= HEARTBEAT.total_seconds()
        assert beats
    finally:
        jobs.shutdown()


class TestAtRest:
    def test_a_beat_asks_nothing_of_profiles_that_are_well(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.start(DEPLOY, READ, CHILD)
        simulation.scheduler.summary()

        def asked(*_: object) -> None:
            raise AssertionError

        for name in ("session", "mfa_session", "source_fingerprint"):
            monkeypatch.setattr(simulation.refresher, name, asked)
        for _ in range(4):
            simulation.pass_time(HEARTBEAT)
            simulation.scheduler.heartbeat()
            summary = simulation.scheduler.summary()
            assert (summary.valid, summary.enabled, summary.next_attempt_at) == (3, 3, NOON + DUE)

    def test_a_session_that_ends_while_nothing_happens_is_not_counted_as_valid(
        self, simulation: Simulation
    ) -> None:
        soon, later = issued(DEPLOY, NOON + HOUR), issued(READ, NOON + 2 * HOUR)
        simulation.start(DEPLOY, READ, stored={"deploy": soon, "read": later})
        counted = [simulation.scheduler.summary().valid]
        for _ in range(2):
            simulation.pass_time(HOUR)
            counted.append(simulation.scheduler.summary().valid)
        assert counted == [2, 1, 0]

    def test_the_next_attempt_is_told_by_the_wall_clock_that_there_is_now(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        assert simulation.scheduler.summary().next_attempt_at == NOON + DUE
        simulation.step_wall_clock(HOUR)
        simulation.scheduler.heartbeat()
        assert simulation.scheduler.summary().next_attempt_at == NOON + DUE + HOUR

    def test_the_summary_is_that_of_all_statuses_whatever_happens(
        self, simulation: Simulation
    ) -> None:
        seen: set[ProfileState] = set()

        def compare() -> None:
            rows = simulation.scheduler.statuses()
            states = [row.state for row in rows if row.state is not ProfileState.DISABLED]
            coming = [row.next_attempt_at for row in rows if row.next_attempt_at]
            summary = simulation.scheduler.summary()
            assert (summary.valid, summary.enabled) == (
                states.count(ProfileState.VALID),
                len(states),
            )
            # What is past is due now.
            found = summary.next_attempt_at
            assert (found and max(found, simulation.clock.now())) == min(coming, default=None)
            seen.update(states)

        simulation.sts.failing["read"] = denied()
        simulation.start(DEPLOY, READ, CHILD)
        simulation.run_for(HOUR, at_each_stop=compare)
        simulation.sources.known.clear()
        simulation.run_for(2 * HOUR, at_each_stop=compare)
        simulation.apply(DEPLOY, role("read", enabled=False), role("other"))
        compare()
        simulation.sources.known["keys"] = FakeSource("keys", "keys 2")
        del simulation.sts.failing["read"]
        simulation.run_for(HOUR, at_each_stop=compare)
        simulation.apply(DEPLOY, READ, CHILD)
        simulation.run_for(HOUR, at_each_stop=compare)
        simulation.scheduler.reconcile({})
        compare()
        later = simulation.clock.now() + 3 * HOUR
        simulation.scheduler.reconcile({"deploy": issued(DEPLOY, later, 9)})
        compare()
        simulation.scheduler.stop()
        compare()
        assert seen >= {ProfileState.VALID, ProfileState.FAILING, ProfileState.NEEDS_LOGIN}


class TestOtherWriters:
    def test_a_profile_that_another_program_set_back_is_put_right_with_no_call(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "assumed")
        simulation.start(DEPLOY, READ)
        held = simulation.store.profiles.copy()
        del simulation.store.profiles["deploy"]
        simulation.scheduler.reconcile(simulation.store.profiles)
        simulation.jobs.run_due()
        assert simulation.store.profiles == held
        assert simulation.sts.called == ["deploy", "read"]
        assert [event["profile"] for event in events(caplog, "profile_overwritten")] == ["deploy"]
        assert [event["profile"] for event in events(caplog, "profile_restored")] == ["deploy"]
        assert simulation.status("deploy").refreshes == 1

    def test_two_that_write_the_same_profile_do_not_keep_each_other_busy(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        writes = simulation.store.writes
        for _ in range(60):
            simulation.scheduler.reconcile({})
            simulation.run_for(SECOND)
        assert 6 <= simulation.store.writes - writes <= 7
        assert simulation.sts.called == ["deploy"]

    def test_a_later_session_that_another_process_wrote_is_adopted(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        later = issued(DEPLOY, NOON + 2 * HOUR, 99)
        simulation.scheduler.reconcile({"deploy": later})
        simulation.run_for(HOUR)
        assert simulation.sts.called == ["deploy"]
        assert simulation.status("deploy").expires_at == NOON + 2 * HOUR

    def test_a_file_that_no_one_can_read_any_more_shows_in_status_and_heals(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.store.failures = [
            CredentialsFileMalformedError(path="f", line=3, problem="no key", hint="fix it")
        ] * 3
        simulation.scheduler.reconcile(None)
        simulation.jobs.run_due()
        status = simulation.status("deploy")
        assert status.state is ProfileState.FAILING
        assert status.last_error is not None
        assert status.last_error.code == "CredentialsFileMalformed"
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID
        assert simulation.sts.called == ["deploy"]


class TestWhileTheFileIsWritten:
    """A call's thread makes the next call; what was called is not done until it is on disk."""

    def test_the_others_are_called_and_nobody_is_told_too_early(
        self, simulation: Simulation
    ) -> None:
        writes: list[Future[None]] = []
        simulation.store.unfinished = writes
        simulation.start(DEPLOY, READ)
        assert simulation.sts.called == ["deploy", "read"]
        assert not simulation.scheduler.first_pass.done()
        assert simulation.status("deploy").refreshes == 0
        # It is under way: nobody who asks makes another call.
        assert asked(simulation, "deploy", force=True) == {}
        assert simulation.sts.called == ["deploy", "read"]

        for written in writes:
            written.set_result(None)
        assert simulation.scheduler.first_pass.done()
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_write_that_fails_is_tried_again_with_no_further_call(
        self, simulation: Simulation
    ) -> None:
        writes: list[Future[None]] = []
        simulation.store.unfinished = writes
        simulation.start(DEPLOY)
        simulation.store.unfinished = None
        writes[0].set_exception(CredentialsFileUnwritableError("full", hint="free some space"))
        assert simulation.status("deploy").state is ProfileState.FAILING
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID
        assert simulation.sts.called == ["deploy"]

    def test_a_slow_disk_does_not_make_an_endpoint_look_as_if_it_hung(
        self, simulation: Simulation
    ) -> None:
        writes: list[Future[None]] = []
        simulation.store.unfinished = writes
        simulation.start(DEPLOY)
        simulation.store.unfinished = None
        simulation.run_for(10 * SECOND)
        writes[0].set_result(None)
        (job,) = simulation.jobs.get_jobs()
        assert job.executor == "default"
