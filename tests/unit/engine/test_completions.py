"""What follows from the end of an attempt: the next refresh, a retry, a hint."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest

from assumed.engine.completions import CompletionHandler
from assumed.engine.heartbeat import HEARTBEAT
from assumed.errors import (
    CredentialsFileUnwritableError,
    SourceMissingError,
    SourceRejectedError,
    SourceUnavailableError,
)
from assumed.models import ProfileState
from tests.fakes import Simulation
from tests.unit.engine.helpers import (
    CHILD,
    DEPLOY,
    HOUR,
    MINUTE,
    READ,
    SECOND,
    denied,
    logged,
    refresh,
    throttled,
    unavailable,
)


class TestRetry:
    def test_a_failing_profile_delays_no_other(self, simulation: Simulation) -> None:
        simulation.sts.failing["deploy"] = denied()
        simulation.start(DEPLOY, READ)
        simulation.run_for(timedelta(hours=5))
        assert simulation.status("read").state is ProfileState.VALID
        assert simulation.status("read").refreshes == 10
        assert simulation.status("deploy").state is ProfileState.FAILING

    def test_a_failure_that_ends_before_the_session_expires_goes_unnoticed(
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

    def test_an_outage_of_hours_ends_the_retries_neither_in_silence_nor_in_a_storm(
        self, simulation: Simulation
    ) -> None:
        simulation.start(DEPLOY)
        simulation.sts.failing["deploy"] = throttled()
        simulation.run_for(timedelta(hours=12))
        assert simulation.status("deploy").state is ProfileState.EXPIRED
        assert 100 < len(simulation.sts.called) < 500
        del simulation.sts.failing["deploy"]
        simulation.run_for(5 * MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_session_that_could_not_be_written_is_written_later_without_another_call(
        self, simulation: Simulation
    ) -> None:
        simulation.store.failures = [CredentialsFileUnwritableError("full", hint="free some")] * 3
        simulation.start(DEPLOY)
        assert simulation.status("deploy").state is ProfileState.FAILING
        simulation.run_for(MINUTE)
        assert simulation.sts.called == ["deploy"]
        assert simulation.store.profiles["deploy"].access_key_id == "ASIADEPLOY1"
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_missing_login_is_retried_every_five_minutes_and_when_the_source_changes(
        self, simulation: Simulation
    ) -> None:
        source = simulation.sources.known.pop("keys")
        simulation.start(DEPLOY)
        assert simulation.status("deploy").state is ProfileState.NEEDS_LOGIN
        assert simulation.status("deploy").next_attempt_at is None
        simulation.run_for(HOUR)
        assert 11 <= simulation.status("deploy").consecutive_failures <= 13
        simulation.sources.known["keys"] = source
        simulation.run_for(HEARTBEAT)
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_a_login_whose_change_was_not_seen_is_found_within_five_minutes(
        self, simulation: Simulation
    ) -> None:
        simulation.sts.failing["deploy"] = SourceMissingError("expired", hint="log in")
        simulation.start(DEPLOY)
        del simulation.sts.failing["deploy"]
        simulation.run_for(4 * MINUTE)
        assert simulation.status("deploy").state is ProfileState.NEEDS_LOGIN
        simulation.run_for(MINUTE + HEARTBEAT)
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_rejected_keys_are_retried_slowly_and_at_once_when_they_change(
        self, simulation: Simulation
    ) -> None:
        # A new access key is rejected for some seconds too: IAM is eventually consistent.
        simulation.sts.failing["deploy"] = SourceRejectedError(
            "no", hint="replace them", code="ExpiredToken"
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

    def test_a_missing_login_is_tried_again_on_request(self, simulation: Simulation) -> None:
        simulation.sts.failing["deploy"] = SourceMissingError("expired", hint="log in")
        simulation.start(DEPLOY)
        outcome = refresh(simulation, "deploy")["deploy"]
        assert outcome.failure is not None
        assert outcome.failure.code == "SourceMissing"
        assert simulation.status("deploy").consecutive_failures == 2

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

    def test_a_source_that_works_again_is_retried_by_all_profiles_that_it_failed(
        self, simulation: Simulation
    ) -> None:
        gone = SourceUnavailableError("the process failed", hint="wait")
        simulation.sts.failing |= {"deploy": gone, "read": gone}
        simulation.start(DEPLOY, READ)
        simulation.run_for(HOUR)
        del simulation.sts.failing["deploy"], simulation.sts.failing["read"]
        # A request for one of them refreshes the other as well.
        refresh(simulation, "deploy")
        simulation.run_for(2 * SECOND)
        assert simulation.status("read").state is ProfileState.VALID


class TestInternalError:
    """Whatever is raised while a result is applied, the profile stays scheduled."""

    def test_an_error_in_the_call_is_logged_and_the_profile_is_retried(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(_: object) -> None:
            simulation.sts.during_call = lambda _: None
            raise ZeroDivisionError

        simulation.sts.during_call = fail
        simulation.start(DEPLOY)
        failure = simulation.status("deploy").last_error
        assert failure is not None
        assert (failure.code, failure.message) == (
            "Unexpected",
            "internal error: ZeroDivisionError",
        )
        assert logged(caplog, "internal_error")[0]["profile"] == "deploy"
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID

    @pytest.mark.parametrize("error", [OSError("disk"), SystemExit(1), KeyboardInterrupt()])
    def test_an_error_before_the_call_is_logged_and_the_profile_is_retried(
        self,
        error: BaseException,
        simulation: Simulation,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(simulation.sources, "fingerprint", _raises(error))
            simulation.start(DEPLOY)
            (event,) = logged(caplog, "internal_error")
            assert event["profile"] == "deploy"
            assert simulation.status("deploy").state is ProfileState.FAILING
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID

    @pytest.mark.parametrize("method", ["_succeeded", "_failed"])
    def test_an_error_while_a_result_is_applied_is_logged_and_the_profile_is_retried(
        self,
        method: str,
        simulation: Simulation,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if method == "_failed":
            simulation.sts.failures = [denied()]
        with monkeypatch.context() as patch:
            patch.setattr(CompletionHandler, method, _raises(ZeroDivisionError()))
            simulation.start(DEPLOY, READ)
            assert {event["profile"] for event in logged(caplog, "internal_error")} >= {"deploy"}
        assert simulation.scheduler.first_pass.done.done()
        simulation.run_for(MINUTE)
        states = {status.state for status in simulation.scheduler.statuses()}
        assert states == {ProfileState.VALID}

    def test_an_observer_that_raises_loses_no_profile_and_no_request(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        simulation.scheduler.subscribe(_raises(ZeroDivisionError()))
        simulation.start(DEPLOY, CHILD)
        assert refresh(simulation, "deploy", force=True)["deploy"].ok
        simulation.run_for(2 * HOUR)
        assert [event["profile"] for event in logged(caplog, "internal_error")[:2]] == [
            "deploy",
            "child",
        ]
        states = {status.state for status in simulation.scheduler.statuses()}
        assert states == {ProfileState.VALID}

    def test_an_observer_that_raises_does_not_block_a_profile_that_waits_for_its_source(
        self, simulation: Simulation
    ) -> None:
        simulation.scheduler.subscribe(_raises(ZeroDivisionError()))
        source = simulation.sources.known.pop("keys")
        simulation.start(DEPLOY)
        simulation.sources.known["keys"] = source
        simulation.run_for(MINUTE)
        assert simulation.status("deploy").state is ProfileState.VALID

    def test_an_unexpected_error_of_a_write_is_logged_and_the_session_is_written_again(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        writes: list[Future[None]] = []
        simulation.store.unfinished = writes
        simulation.start(DEPLOY)
        simulation.store.unfinished = None
        writes[0].set_exception(ZeroDivisionError())
        simulation.run_for(MINUTE)
        assert [event["profile"] for event in logged(caplog, "internal_error")] == ["deploy"]
        assert simulation.status("deploy").state is ProfileState.VALID
        assert simulation.sts.called == ["deploy"]


def _raises(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
