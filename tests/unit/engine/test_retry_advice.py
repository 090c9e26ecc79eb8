"""The hint of a failed refresh says who retries: the daemon, or the user."""

from __future__ import annotations

from datetime import timedelta

import pytest
from freezegun import freeze_time

from assumed.engine.refresh_policy import RetriedBy
from assumed.errors import AssumedError, RefreshFailedError, SourceMissingError, StsUnavailableError
from assumed.logs.events import event_fields
from tests.fakes import NOON, Simulation, role

UNAVAILABLE = StsUnavailableError("no route", hint="check the network")
MISSING = SourceMissingError("no login", hint="`aws sso login`")


@pytest.mark.parametrize(
    ("retried_by", "error", "hint"),
    [
        (RetriedBy.DAEMON, UNAVAILABLE, "check the network; the daemon will retry"),
        (RetriedBy.DAEMON, MISSING, "`aws sso login`; the daemon will retry after that"),
        (RetriedBy.USER, UNAVAILABLE, "check the network; then run the command again"),
        (RetriedBy.USER, MISSING, "`aws sso login`; then run the command again"),
        (RetriedBy.PROCESS, UNAVAILABLE, "check the network"),
        (RetriedBy.PROCESS, MISSING, "`aws sso login`"),
    ],
)
def test_status_outcome_and_log_say_who_retries(
    retried_by: RetriedBy, error: AssumedError, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    with freeze_time(NOON) as frozen:
        simulation = Simulation(frozen, retried_by=retried_by)  # type: ignore[arg-type]
        simulation.sts.failing["deploy"] = error
        simulation.start(role("deploy"))
        outcome = simulation.scheduler.refresh(["deploy"], force=True)["deploy"]
        credentials = simulation.scheduler.credentials("deploy", min_left=timedelta(minutes=1))
        simulation.jobs.run_due()
        last_error = simulation.status("deploy").last_error
    assert last_error is not None
    assert last_error.hint == hint
    failure = outcome.result().failure
    assert failure is not None
    assert failure.hint == hint
    with pytest.raises(RefreshFailedError) as raised:
        credentials.result()
    assert raised.value.message == f"profile deploy: {error.message}"
    assert raised.value.hint == hint
    logged = [event_fields(record) for record in caplog.records]
    assert [fields["hint"] for fields in logged if "hint" in fields] == [hint]
