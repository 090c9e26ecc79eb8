"""The log messages about profiles."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest

from assumed.errors import (
    AssumeRoleDeniedError,
    CredentialsFileUnwritableError,
    SourceMissingError,
)
from assumed.logs import timestamp
from assumed.models import ProfileState
from tests.fakes import NOON, Simulation
from tests.unit.engine.helpers import (
    CHILD,
    DEPLOY,
    DUE,
    HOUR,
    MINUTE,
    SECOND,
    denied,
    logged,
    unavailable,
)


def test_a_refresh_is_one_line_with_everything_about_it(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "assumed")
    simulation.start(DEPLOY)
    assert logged(caplog, "profile_refreshed") == [
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


def test_repeated_failures_are_summarized_and_their_end_is_logged(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    simulation.start(DEPLOY)
    simulation.sts.failing["deploy"] = unavailable()
    simulation.run_for(timedelta(hours=6))
    failed = logged(caplog, "refresh_failed")
    attempts = [event["attempts"] for event in failed]
    assert {1, 8, 16, 32, 64, 128} <= set(attempts)
    # The powers of two but for those of the first minute, and one for an hour without any.
    assert len(attempts) <= 8 + 6
    assert failed[0].keys() >= {"error", "hint", "role_arn"}
    assert "summary" not in failed[0]
    assert not failed[1].keys() & {"error", "hint", "role_arn"}, "they are logged once"
    assert failed[1]["summary"] == "still failing"
    assert failed[1]["seconds_left"] > 0
    assert all(event["failing_since"] == NOON + DUE for event in failed[1:])
    assert re.fullmatch(r"still failing, expired \dh\d\dm ago", failed[-1]["summary"])
    expired = logged(caplog, "profile_expired")
    assert [(event["level"], event["profile"]) for event in expired] == [(logging.ERROR, "deploy")]
    del simulation.sts.failing["deploy"]
    simulation.run_for(5 * MINUTE)
    (recovered,) = logged(caplog, "profile_recovered")
    assert recovered["failures"] > 100
    assert recovered["failing_since"] < NOON + HOUR
    assert recovered["failing_for_seconds"] > 5 * 3600
    assert "late_seconds" not in recovered, "failing_for_seconds says it"
    assert recovered["failed_with"] == "StsUnavailable"
    assert recovered["expired_for_seconds"] == pytest.approx(
        recovered["failing_for_seconds"] - (HOUR - DUE).total_seconds(), abs=2
    )


def test_a_refresh_after_a_suspend_logs_how_late_it_is(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    simulation.start(DEPLOY)
    simulation.pass_time(8 * HOUR)
    simulation.run_for(SECOND)
    _, refreshed = logged(caplog, "profile_refreshed")
    assert refreshed["late_seconds"] == (8 * HOUR - DUE).total_seconds()
    (resumed,) = logged(caplog, "resumed_from_suspend")
    assert resumed["away_seconds"] == pytest.approx(8 * 3600, abs=20)


def test_no_hour_of_an_outage_is_silent(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    simulation.sts.failing["deploy"] = unavailable()
    simulation.start(DEPLOY)
    for _ in range(24):
        caplog.clear()
        simulation.run_for(timedelta(minutes=66))  # an hour, and the longest delay
        assert logged(caplog, "refresh_failed")


def test_a_failure_of_another_kind_is_news(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    simulation.sts.failures = [unavailable(), unavailable(), denied(), unavailable()]
    simulation.start(DEPLOY)
    simulation.run_for(5 * MINUTE)
    failed = logged(caplog, "refresh_failed")
    assert [(event["attempts"], event["error_code"]) for event in failed] == [
        (1, "StsUnavailable"), (3, "AccessDenied"), (4, "StsUnavailable"),
    ]  # fmt: skip
    assert [event.get("failed_before_with") for event in failed] == [
        None, "StsUnavailable", "AccessDenied",
    ]  # fmt: skip


def test_a_new_reason_why_an_expired_profile_is_not_refreshed_is_an_error(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.start(DEPLOY)
    simulation.sts.failing["deploy"] = unavailable()
    simulation.run_for(2 * HOUR)
    caplog.clear()
    simulation.sts.failing["deploy"] = denied()
    simulation.run_for(10 * MINUTE)
    (news, *_) = logged(caplog, "refresh_failed")
    assert (news["level"], news["error_code"]) == (logging.ERROR, "AccessDenied")
    assert news["hint"] == "ask"


def test_a_profile_that_waits_for_a_login_is_logged_every_hour(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.sts.failing["deploy"] = SourceMissingError("no login", hint="log in")
    simulation.start(DEPLOY)
    simulation.run_for(4 * HOUR + MINUTE)
    assert len(logged(caplog, "refresh_failed")) == 1
    waits = logged(caplog, "profile_blocked")
    assert len(waits) == 4
    assert waits[0]["level"] == logging.WARNING
    assert waits[0]["hint"] == "log in"
    since = timestamp(NOON)
    assert waits[0]["summary"] == f"waiting for source credentials since {since}, no session yet"


def test_a_blocked_profile_names_what_it_waits_for(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.start(DEPLOY, CHILD)
    simulation.sts.failing["deploy"] = SourceMissingError("no login", hint="log in")
    simulation.run_for(3 * HOUR)
    expired = {event["profile"]: event for event in logged(caplog, "profile_expired")}
    assert expired["deploy"]["waits_for"] == "source credentials"
    assert expired["child"]["waits_for"] == "deploy"
    assert not any("next_attempt_at" in event for event in expired.values())
    blocked = {event["profile"]: event for event in logged(caplog, "profile_blocked")}
    assert re.fullmatch(
        r"waiting for deploy since \S+Z, expired \dh\d\dm ago", blocked["child"]["summary"]
    )


def test_a_profile_waits_since_the_failure_that_only_a_login_ends(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.sts.failing["deploy"] = denied()
    simulation.start(DEPLOY)
    simulation.run_for(HOUR)
    simulation.sts.failing["deploy"] = SourceMissingError("no login", hint="log in")
    simulation.run_for(2 * HOUR)
    blocked, *_ = logged(caplog, "profile_blocked")
    since = re.search(r" since (\S+),", blocked["summary"])
    assert since is not None
    assert since[1] >= timestamp(NOON + HOUR)


def test_no_reminder_is_logged_in_the_heartbeat_that_schedules_a_retry(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    simulation.sts.failing["deploy"] = SourceMissingError("no login", hint="log in")
    simulation.start(DEPLOY)
    simulation.run_for(HOUR - MINUTE)
    # One heartbeat after all of that: it finds the reminder due and the source changed.
    simulation.pass_time(8 * HOUR)
    simulation.sources.known["keys"].fingerprint = "keys 2"
    simulation.sts.failing.clear()
    simulation.run_for(SECOND)
    assert logged(caplog, "source_changed")
    assert logged(caplog, "profile_recovered")
    assert not logged(caplog, "profile_blocked")


@pytest.mark.parametrize("advice", ["", "; the daemon will retry"])
def test_a_hint_in_the_log_has_no_json(
    simulation: Simulation, caplog: pytest.LogCaptureFixture, advice: str
) -> None:
    hint = f'allow it. In the trust policy: {{"Effect": "Allow"}}{advice}'
    simulation.sts.failing["deploy"] = AssumeRoleDeniedError("no", hint=hint)
    simulation.start(DEPLOY)
    failed, *_ = logged(caplog, "refresh_failed")
    assert failed["hint"].startswith("allow it;")
    assert '"' not in failed["hint"]
    assert failed["hint"].endswith(
        "`assumed check --live` prints the statement for the trust policy"
    )
    failure = simulation.status("deploy").last_error
    assert failure is not None
    assert '{"Effect": "Allow"}' in failure.hint


def test_the_session_in_the_file_counts_while_the_next_one_cannot_be_written(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.start(DEPLOY)
    simulation.store.failing = CredentialsFileUnwritableError("full", hint="free some space")
    simulation.run_for(59 * MINUTE)
    status = simulation.status("deploy")
    assert (status.state, status.expires_at) == (ProfileState.FAILING, NOON + HOUR)
    simulation.run_for(2 * MINUTE)
    assert simulation.status("deploy").state is ProfileState.EXPIRED
    (expired,) = logged(caplog, "profile_expired")
    assert expired["expires_at"] == NOON + HOUR
    simulation.store.failing = None
    simulation.run_for(MINUTE)
    assert simulation.status("deploy").state is ProfileState.VALID


def test_a_child_logs_why_its_parent_failed(
    simulation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    simulation.sts.failing["deploy"] = denied()
    simulation.start(DEPLOY, CHILD)
    assert [event["error"] for event in logged(caplog, "refresh_failed")] == [
        "no",
        "its source profile deploy has no valid session: AccessDenied",
    ]
