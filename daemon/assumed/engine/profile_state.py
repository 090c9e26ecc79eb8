"""The state of one profile: when it is due, its failures, the requests for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime

from assumed.engine.events import EventType
from assumed.engine.requests import ProfileRequest
from assumed.engine.session_store import SessionStore
from assumed.engine.sts_endpoints import StsEndpoint
from assumed.errors import AssumedError, SourceMissingError, SourceRejectedError
from assumed.models import Failure, ProfileDefinition
from assumed.progress import Progress

LOGIN_REQUIRED = SourceMissingError | SourceRejectedError
"""Failures that end once the user has logged in, or replaced the keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureStreak:
    """The failures since the last successful refresh; never changed, only replaced.

    Args:
        due_since: when the first attempt was due, in seconds of `Clock.boottime()`; None before it.
        count: how many in a row.
        count_of_kind: how many in a row that are retried in the same way as the last one.
        since: when the first one was; aware UTC.
        since_boottime: the same moment, in seconds of `Clock.boottime()`.
        last_boottime: when the last one was, in seconds of `Clock.boottime()`.
        error: the last one.
        failure: the last one, as the status shows it.
        notified: the events that observers were notified of.
        warned_at: when the log last showed one of them, in seconds of `Clock.boottime()`.
        expired_at: when the session of the readers expired, once that was logged.
    """

    due_since: float | None = None
    count: int = 0
    count_of_kind: int = 0
    since: datetime | None = None
    since_boottime: float = math.inf
    last_boottime: float = math.inf
    error: AssumedError | None = None
    failure: Failure | None = None
    notified: frozenset[EventType] = frozenset()
    warned_at: float = -math.inf
    expired_at: float | None = None

    def add(self, error: AssumedError, failure: Failure, *, now: float) -> FailureStreak:
        """Return the streak with one more failure."""
        is_same_kind = self.error is not None and self.error.retry is error.retry
        return replace(
            self,
            count=self.count + 1,
            count_of_kind=self.count_of_kind + 1 if is_same_kind else 1,
            since=self.since or failure.at,
            since_boottime=min(self.since_boottime, now),
            last_boottime=now,
            error=error,
            failure=failure,
        )


@dataclass(slots=True, eq=False)
class ScheduledProfile:
    """One profile; changed under the scheduler's lock only.

    Moments are seconds of `Clock.boottime()`.

    Args:
        definition: its current definition.
        due_at: when it is refreshed next; None while that is under way, or waits for something.
        in_flight: an attempt is under way, or its session is being written.
        attempt: that one, until its result is applied; there is none only after an error.
        awaits_parent: it is refreshed as soon as its parent was.
        refreshes: how many new sessions it has got.
        failures: since the last successful refresh.
        source_fingerprint: of its source, before the last attempt.
        endpoint: that the last attempt called; None if it is not known.
        is_slow: the last call took so long that the next one must not delay others.
        restored_at: when it was last scheduled to be written again.
        requests: that are answered by the next result.
        progress: of the last attempt; it has no wait if none is under way.
        name: of the profile; it stays the same.
    """

    definition: ProfileDefinition
    due_at: float | None = None
    in_flight: bool = False
    attempt: object | None = None
    awaits_parent: bool = False
    refreshes: int = 0
    failures: FailureStreak = FailureStreak()
    source_fingerprint: str | None = None
    endpoint: StsEndpoint | None = None
    is_slow: bool = False
    restored_at: float = -math.inf
    requests: list[ProfileRequest] = field(default_factory=list)
    progress: Progress | None = None
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.definition.profile

    def pop_requests(
        self, failure: Failure | None, sessions: SessionStore, *, may_pass: bool
    ) -> list[ProfileRequest]:
        """Remove the requests that have to be answered now, and return them.

        Args:
            failure: of the last attempt.
            sessions: of all profiles.
            may_pass: whether the failure does not answer the requests that wait for a retry.
        """
        requests, self.requests = self.requests, []
        for request in requests if may_pass else ():
            if request.persists and not request.is_satisfied(self.definition, failure, sessions):
                self.requests.append(request)
        return [request for request in requests if request not in self.requests]
