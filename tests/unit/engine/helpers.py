"""What the tests of the engine have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from assumed.errors import AssumeRoleDeniedError, StsThrottledError, StsUnavailableError
from assumed.logs.events import event_fields
from assumed.models import Outcome
from tests.fakes import Simulation, role

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
# With the jitter of the fixture, 0.5: 40 % and 5.5 % of the hour before the expiration.
DUE = timedelta(minutes=32, seconds=42)
DEPLOY, READ = role("deploy"), role("read")
CHILD, GRANDCHILD = role("child", parent="deploy"), role("grandchild", parent="child")


def unavailable() -> StsUnavailableError:
    return StsUnavailableError("no answer", hint="wait")


def throttled() -> StsThrottledError:
    return StsThrottledError("too many calls", hint="wait")


def denied() -> AssumeRoleDeniedError:
    return AssumeRoleDeniedError("no", hint="ask")


def refresh(simulation: Simulation, *profiles: str, force: bool = False) -> dict[str, Outcome]:
    """Request a refresh, run what is due, and return the outcomes that are there by then."""
    futures = simulation.scheduler.refresh(profiles, force=force)
    simulation.jobs.run_due()
    return {name: future.result() for name, future in futures.items() if future.done()}


def logged(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    """Return the level and the fields of each event of this name."""
    found = [record for record in caplog.records if record.getMessage() == name]
    return [{"level": record.levelno, **event_fields(record)} for record in found]
