"""What the scheduler knows of each profile and of each endpoint; guarded by its lock."""

from __future__ import annotations

import math
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime

from assumed.engine.events import EventType
from assumed.engine.rate_limiter import RateLimiter
from assumed.errors import AssumedError, SourceMissingError, SourceRejectedError
from assumed.models import Failure, Outcome, ProfileDefinition, RoleSession

WAITS_FOR_LOGIN = SourceMissingError | SourceRejectedError
"""Somebody has to act, and as soon as they did it is tried again."""


@dataclass(slots=True)
class StsEndpoint:
    """What all profiles of one endpoint share."""

    pace: RateLimiter = field(default_factory=RateLimiter)
    succeeded_at: float = -math.inf


@dataclass(slots=True)
class ScheduledProfile:
    """What is known of one profile. Moments are seconds of `Clock.boottime()`."""

    definition: ProfileDefinition
    due_at: float | None = None
    """None while in flight and while it waits for somebody."""
    due_since: float | None = None
    """When the first try was due of the refresh that is under way."""
    in_flight: bool = False
    awaits_parent: bool = False
    in_file: RoleSession | None = None
    """The last session that was known to be in the credentials file."""
    refreshes: int = 0
    access_key_id: str | None = None
    """Of the session that was written last."""
    failures: int = 0
    failures_of_kind: int = 0
    """Those in a row that are tried again in the same way as the last one."""
    failing_since: datetime | None = None
    failing_from: float = math.inf
    """The same moment as `failing_since`."""
    error: AssumedError | None = None
    failure: Failure | None = None
    source_fingerprint: str | None = None
    told: set[EventType] = field(default_factory=set)
    """Which failures were told since the last refresh that worked."""
    warned_at: float = -math.inf
    """When the log showed the last of them."""
    expired_at: float | None = None
    """When the session ended that its readers have, if that was told."""
    set_right_at: float = -math.inf
    hung: bool = False
    """The last call was so slow that the next one keeps out of the others' way."""
    slot_of: int | None = None
    """The pace's generation that a slot for the next call was given out by."""
    waiters: list[Future[Outcome]] = field(default_factory=list)

    def note_failure(self, error: AssumedError, failure: Failure, *, now: float) -> None:
        """Know of one more failure in a row."""
        is_same_kind = self.error is not None and self.error.retry is error.retry
        self.failures += 1
        self.failures_of_kind = self.failures_of_kind + 1 if is_same_kind else 1
        self.error, self.failure = error, failure
        self.failing_since = self.failing_since or failure.at
        self.failing_from = min(self.failing_from, now)

    def forget_failures(self) -> None:
        """Know of none any more."""
        self.failures, self.failures_of_kind = 0, 0
        self.failing_since, self.failing_from = None, math.inf
        self.error, self.failure, self.due_since = None, None, None
        self.told.clear()
