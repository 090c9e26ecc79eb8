from __future__ import annotations

import re
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assumed.engine.events import EventType, ProfileEvent
from assumed.models import DaemonStatus, Failure, ProfileState, ProfileStatus, Status
from assumed.observers.metrics import Metrics
from tests.fakes import NOON
from tests.repository import REPOSITORY

ALERTS = REPOSITORY / "config" / "alerts.yml"
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
DAEMON = DaemonStatus(pid=1, version="0.1.0", started_at=NOON, config="config.yaml")
STATUS = Status(
    daemon=DAEMON,
    profiles=(
        ProfileStatus(
            profile="deploy",
            role_arn="arn",
            source="keys",
            state=ProfileState.FAILING,
            expires_at=NOON + timedelta(hours=1),
            next_attempt_at=NOON + timedelta(minutes=1),
            refreshes=31,
            consecutive_failures=2,
        ),
        ProfileStatus(
            profile='a "new" one', role_arn="arn", source="keys", state=ProfileState.PENDING
        ),
        ProfileStatus(
            profile="off",
            role_arn="arn",
            source="keys",
            state=ProfileState.DISABLED,
            expires_at=NOON,
        ),
    ),
)


def samples(metrics: Metrics, status: Status = STATUS) -> dict[str, float]:
    """Return the samples of the user, by name and the values of the other labels."""
    text = metrics.text(status, file_writes=7, internal_errors={"schedule": 3}).decode()
    return {
        " ".join(
            [sample.name, *(value for key, value in sample.labels.items() if key != "user")]
        ): (sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels["user"] == "jane"
    }


def failed(event_type: EventType, code: str) -> ProfileEvent:
    failure = Failure(code=code, message="", hint="", at=NOON)
    return ProfileEvent(
        event_type=event_type, profile="p", role_arn=None, expires_at=None, failure=failure
    )


def test_text_has_the_status_of_the_daemon_and_its_profiles() -> None:
    shown = samples(Metrics("jane"))
    noon = NOON.timestamp()
    assert shown["assumed_build_info 0.1.0"] == 1
    assert shown["assumed_start_time_seconds"] == noon
    assert shown["assumed_config_rejected"] == 0
    assert shown["assumed_credentials_file_writes_total"] == 7
    assert shown["assumed_internal_errors_total schedule"] == 3
    assert shown["assumed_profile_expiration_timestamp_seconds deploy"] == noon + 3600
    assert shown["assumed_profile_next_attempt_timestamp_seconds deploy"] == noon + 60
    assert shown["assumed_profile_refreshes_total deploy"] == 31
    assert shown["assumed_profile_consecutive_failures deploy"] == 2
    assert {
        name: value for name, value in shown.items() if name.startswith("assumed_profile_state dep")
    } == {
        f"assumed_profile_state deploy {state}": state is ProfileState.FAILING
        for state in ProfileState
    }


def test_text_has_no_expiration_without_a_session_and_only_the_state_if_disabled() -> None:
    shown = samples(Metrics("jane"))
    ends = {name for name in shown if name.startswith("assumed_profile_expiration")}
    assert ends == {"assumed_profile_expiration_timestamp_seconds deploy"}
    off = {name: value for name, value in shown.items() if " off" in name and value}
    assert off == {"assumed_profile_state off disabled": 1}


def test_text_has_the_rejected_configuration_and_the_clock_skew() -> None:
    daemon = DaemonStatus(
        pid=1,
        version="0.1.0",
        started_at=NOON,
        config="config.yaml",
        config_error="wrong",
        clock_skew_seconds=-300,
    )
    shown = samples(Metrics("jane"), Status(daemon=daemon, profiles=()))
    assert shown["assumed_config_rejected"] == 1
    assert shown["assumed_clock_skew_seconds"] == -300


def test_on_event_counts_failures_by_code_including_repeats() -> None:
    metrics = Metrics("jane")
    for _ in range(3):
        metrics.on_event(failed(EventType.FAILED, "AccessDenied"))
    metrics.on_event(failed(EventType.NEEDS_LOGIN, "MfaCodeNeeded"))
    metrics.on_event(failed(EventType.EXPIRED, "AccessDenied"))
    shown = samples(metrics)
    assert {name: value for name, value in shown.items() if "failures_total" in name} == {
        "assumed_refresh_failures_total AccessDenied": 3,
        "assumed_refresh_failures_total MfaCodeNeeded": 1,
    }


def test_record_sts_request_fills_a_histogram() -> None:
    metrics = Metrics("jane")
    for seconds in (0.04, 0.05, 0.06, 3, 100):
        metrics.record_sts_request(seconds)
    shown = samples(metrics)
    name = "assumed_sts_request_duration_seconds"
    assert [shown[f"{name}_bucket {bound}"] for bound in ("0.05", "0.1", "5.0", "+Inf")] == [
        2, 3, 4, 5,
    ]  # fmt: skip
    assert shown[f"{name}_count"] == 5
    assert shown[f"{name}_sum"] == pytest.approx(103.15)


def test_on_event_records_the_lateness_of_a_session() -> None:
    metrics = Metrics("jane")
    late = ProfileEvent(
        event_type=EventType.REFRESHED,
        profile="p",
        role_arn=None,
        expires_at=NOON,
        late=timedelta(seconds=30),
    )
    metrics.on_event(late)
    shown = samples(metrics)
    assert shown["assumed_refresh_lateness_seconds_bucket 15.0"] == 0
    assert shown["assumed_refresh_lateness_seconds_bucket 60.0"] == 1
    assert shown["assumed_refresh_lateness_seconds_sum"] == 30


def test_every_metric_of_the_alert_rules_exists() -> None:
    shown = {name.partition(" ")[0] for name in samples(Metrics("jane"))}
    expressions = re.findall(r"expr: (?:>-\n)?(.*?)\n +for:", ALERTS.read_text(), re.S)
    named = set(re.findall(r"\bassumed_\w+", "\n".join(expressions)))
    assert len(named) >= 5
    assert named <= shown


def test_the_page_of_operations_explains_every_series() -> None:
    text = Metrics("jane").text(STATUS, file_writes=0, internal_errors={"schedule": 0}).decode()
    families = re.findall(r"^# TYPE (\w+) ", text, re.M)
    assert len(families) > 10
    assert [name for name in families if f"`{name}" not in OPERATIONS] == []
