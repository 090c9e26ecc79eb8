from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assumed.engine.events import EventType, ProfileEvent
from assumed.models import DaemonStatus, Failure, ProfileState, ProfileStatus, Status
from assumed.observers.metrics import Metrics
from tests.fakes import NOON
from tests.repository import REPOSITORY

ALERTS = REPOSITORY / "config" / "alerts.yml"
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
CASES = Path(__file__).with_name("alerts_cases.yml")
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
    """Each sample that is shown, by its name and the values of its labels."""
    text = metrics.text(status, commits=7).decode()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def failed(event_type: EventType, code: str) -> ProfileEvent:
    failure = Failure(code=code, message="", hint="", at=NOON)
    return ProfileEvent(
        event_type=event_type, profile="p", role_arn=None, expires_at=None, failure=failure
    )


def test_the_daemon_and_its_profiles_are_shown_as_they_are_at_that_moment() -> None:
    shown = samples(Metrics())
    noon = NOON.timestamp()
    assert shown["assumed_build_info 0.1.0"] == 1
    assert shown["assumed_start_time_seconds"] == noon
    assert shown["assumed_configuration_refused"] == 0
    assert shown["assumed_credentials_file_commits_total"] == 7
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


def test_a_profile_with_no_session_has_no_end_and_a_disabled_one_nothing_but_its_state() -> None:
    shown = samples(Metrics())
    ends = {name for name in shown if name.startswith("assumed_profile_expiration")}
    assert ends == {"assumed_profile_expiration_timestamp_seconds deploy"}
    off = {name: value for name, value in shown.items() if " off" in name and value}
    assert off == {"assumed_profile_state off disabled": 1}


def test_a_wrong_configuration_and_a_wrong_clock_are_shown() -> None:
    daemon = DaemonStatus(
        pid=1,
        version="0.1.0",
        started_at=NOON,
        config="config.yaml",
        config_error="wrong",
        clock_skew_seconds=-300,
    )
    shown = samples(Metrics(), Status(daemon=daemon, profiles=()))
    assert shown["assumed_configuration_refused"] == 1
    assert shown["assumed_clock_skew_seconds"] == -300


def test_failures_are_counted_by_their_code_repeats_too_and_nothing_else_is() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.tell(failed(EventType.FAILED, "AccessDenied"))
    metrics.tell(failed(EventType.NEEDS_LOGIN, "MfaCodeNeeded"))
    metrics.tell(failed(EventType.EXPIRED, "AccessDenied"))
    shown = samples(metrics)
    assert {name: value for name, value in shown.items() if "failures_total" in name} == {
        "assumed_refresh_failures_total AccessDenied": 3,
        "assumed_refresh_failures_total MfaCodeNeeded": 1,
    }


def test_a_histogram_counts_what_is_not_above_each_bound() -> None:
    metrics = Metrics()
    for seconds in (0.04, 0.05, 0.06, 3, 100):
        metrics.sts_took(seconds)
    shown = samples(metrics)
    name = "assumed_sts_request_duration_seconds"
    assert [shown[f"{name}_bucket {bound}"] for bound in ("0.05", "0.1", "5.0", "+Inf")] == [
        2, 3, 4, 5,
    ]  # fmt: skip
    assert shown[f"{name}_count"] == 5
    assert shown[f"{name}_sum"] == pytest.approx(103.15)


def test_the_lateness_of_a_new_session_is_counted() -> None:
    metrics = Metrics()
    late = ProfileEvent(
        event_type=EventType.REFRESHED,
        profile="p",
        role_arn=None,
        expires_at=NOON,
        late=timedelta(seconds=30),
    )
    metrics.tell(late)
    shown = samples(metrics)
    assert shown["assumed_refresh_lateness_seconds_bucket 15.0"] == 0
    assert shown["assumed_refresh_lateness_seconds_bucket 60.0"] == 1
    assert shown["assumed_refresh_lateness_seconds_sum"] == 30


def test_a_daemon_whose_metrics_nobody_asks_for_does_not_pay_for_the_library() -> None:
    look = "import sys, assumed.app.daemon; print('prometheus_client' in sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", look], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_every_series_of_the_alert_rules_is_there() -> None:
    shown = {name.partition(" ")[0] for name in samples(Metrics())}
    expressions = re.findall(r"expr: (?:>-\n)?(.*?)\n +for:", ALERTS.read_text(), re.S)
    named = set(re.findall(r"\bassumed_\w+", "\n".join(expressions)))
    assert len(named) >= 5
    assert named <= shown


def test_the_page_of_operations_explains_every_series() -> None:
    text = Metrics().text(STATUS, commits=0).decode()
    families = re.findall(r"^# TYPE (\w+) ", text, re.M)
    assert len(families) > 10
    assert [name for name in families if f"`{name}" not in OPERATIONS] == []


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("NOT TESTED: config/alerts.yml by promtool, which is in Debian's `prometheus`")
    return found


@pytest.mark.parametrize("arguments", [["check", ALERTS], ["test", CASES]], ids=["check", "test"])
def test_promtool_finds_the_alert_rules_right(promtool: str, arguments: list[str]) -> None:
    what, file = arguments
    done = subprocess.run(  # noqa: S603
        [promtool, what, "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_the_metrics_well_named(promtool: str) -> None:
    done = subprocess.run(  # noqa: S603
        [promtool, "check", "metrics"],
        input=Metrics().text(STATUS, commits=7),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
