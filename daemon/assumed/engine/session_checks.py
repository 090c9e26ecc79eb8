"""Checks the sessions that were found in the file: one GetCallerIdentity with each of them.

The response shows whether the session still works, and the time of the endpoint that issued it.
Until then only the wall clock says how long the session lasts.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from assumed.clock import Clock
from assumed.engine.attempts import internal_error
from assumed.engine.executor import SLOW_LANE
from assumed.engine.heartbeat import HeartbeatScheduler
from assumed.engine.internal_errors import Part
from assumed.engine.profile_state import ScheduledProfile
from assumed.engine.refresh_policy import ZERO, retry_delay
from assumed.engine.refresh_queue import RefreshQueue
from assumed.engine.refresher import PreparedCall, Refresher
from assumed.engine.sts_endpoints import StsEndpoint
from assumed.errors import (
    AssumedError,
    RetryPolicy,
    SourceRejectedError,
    StsRequestRejectedError,
    StsThrottledError,
)
from assumed.logs.events import event
from assumed.models import Credentials, ProfileDefinition

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, eq=False)
class SessionCheck:
    """The data of one check; filled in as it proceeds.

    Args:
        profile: whose session is checked.
        definition: as it was when the check began.
        credentials: the session.
        failures: how many checks of it have failed before.
        next_at: when it is made, in seconds of `Clock.boottime()`; infinity while it is under way,
            and if the endpoint does not know the call.
        asked_at: when STS was asked, in seconds of `Clock.boottime()`.
        answered_at: the time of STS in its response, aware UTC; None if there was none.
        error: why there was none.
        endpoint: the quota that the call uses; None if it is not known.
    """

    profile: ScheduledProfile
    definition: ProfileDefinition
    credentials: Credentials
    failures: int = 0
    next_at: float = -math.inf
    asked_at: float = 0.0
    answered_at: datetime | None = None
    error: BaseException | None = None
    endpoint: StsEndpoint | None = None


class SessionChecker:
    """Makes the checks on worker threads, and applies their results.

    Args:
        clock: the source of time.
        refresher: makes the calls, and has the sessions.
        queue: the profiles; its lock is held while `apply` is called.
        jobs: APScheduler; errors of this program are kept in its errors.
        deliver: called with each check that has ended, from any thread; it returns at once.
    """

    def __init__(
        self,
        clock: Clock,
        refresher: Refresher,
        queue: RefreshQueue,
        jobs: HeartbeatScheduler,
        deliver: Callable[[SessionCheck], None],
    ) -> None:
        self._clock = clock
        self._refresher = refresher
        self._sessions = refresher.sessions
        self._queue = queue
        self._jobs = jobs
        self._deliver = deliver
        self._checks: dict[str, SessionCheck] = {}
        """The current check of each profile with an unconfirmed session."""

    def start_due(self) -> None:
        """Apply the wall clock to unconfirmed sessions, and start the checks that are due."""
        with self._queue.lock:
            now, wall_clock = self._clock.boottime(), self._clock.now()
            before, self._checks = self._checks, {}
            for name, session in self._sessions.unconfirmed().items():
                profile = self._queue.profiles.get(name)
                if profile is None:
                    continue
                key = session.credentials.access_key_id
                if self._sessions.bound(name, key, now=wall_clock, at=now, is_confirmed=False):
                    self._reschedule(profile)
                if not profile.definition.enabled:
                    continue
                check = before.get(name)
                if check is None or check.credentials != session.credentials:
                    check = SessionCheck(profile, profile.definition, session.credentials)
                self._checks[name] = check
                # The refresh that is coming replaces the session.
                if check.next_at <= now and not self._queue.is_coming(profile):
                    check.next_at = math.inf
                    check.definition = profile.definition
                    self._submit(check)

    def apply(self, check: SessionCheck) -> None:
        """Apply the result of a check."""
        profile, key = check.profile, check.credentials.access_key_id
        if self._checks.get(profile.name) is not check:
            return
        if check.answered_at is not None:
            is_earlier = self._sessions.bound(
                profile.name, key, now=check.answered_at, at=check.asked_at, is_confirmed=True
            )
            if is_earlier:
                self._reschedule(profile)
            self._retry_others(check)
        elif isinstance(check.error, SourceRejectedError):
            self._reject(check, check.error)
        else:
            self._retry(check)

    def _submit(self, check: SessionCheck) -> None:
        self._jobs.add_job(
            self._run,
            "date",
            # Long ago, so that no step of the wall clock delays it.
            run_date=_LONG_AGO,
            # Of the jobs that wait, the refreshes come first.
            args=[check, math.inf],
            # No name of a profile has a line feed.
            id=f"{check.profile.name}\n",
            replace_existing=True,
            executor=SLOW_LANE,
            misfire_grace_time=None,
        )

    def _run(self, check: SessionCheck, _priority: float) -> None:
        try:
            prepared = self._refresher.prepare(check.definition)
            if self._is_held_back(check, prepared):
                return
            check.asked_at = self._clock.boottime()
            check.answered_at = self._refresher.check_session(
                check.definition, check.credentials, prepared
            )
        except BaseException as error:  # noqa: BLE001 - else the check would stay under way
            check.error = error
        self._deliver(check)

    def _is_held_back(self, check: SessionCheck, prepared: PreparedCall) -> bool:
        """Whether the rate limit delays the call; then a later heartbeat makes it."""
        if prepared.endpoint is None:
            return False
        # The session signs the call, so it counts against the account of the role.
        check.endpoint = StsEndpoint(prepared.endpoint.url, check.credentials.account_id)
        with self._queue.lock:
            now = self._clock.boottime()
            at = self._queue.endpoints.reserve(
                check.endpoint, f"session of {check.profile.name}", now
            )
            if at > now:
                check.next_at = at
            return at > now

    def _reject(self, check: SessionCheck, error: SourceRejectedError) -> None:
        """Refresh a profile at once, since its session does not work."""
        self._sessions.expire(check.profile.name, check.credentials.access_key_id)
        self._queue.version += 1
        event(
            logging.WARNING,
            "session_rejected",
            profile=check.profile.name,
            role_arn=check.definition.role_arn,
            access_key_id=check.credentials.access_key_id,
            error_code=error.code,
            error=error.message,
            hint="the session in the credentials file does not work: it is refreshed now",
        )
        self._queue.attempt(check.profile)

    def _retry(self, check: SessionCheck) -> None:
        error = check.error
        if isinstance(error, StsThrottledError) and check.endpoint is not None:
            self._queue.endpoints.throttled(check.endpoint, self._clock.boottime())
        if not isinstance(error, AssumedError):
            kind = type(error).__name__
            self._jobs.errors.record(Part.REFRESH, kind, error, profile=check.profile.name)
            error = internal_error(error)
        check.failures += 1
        check.error = None
        delay = retry_delay(
            RetryPolicy.BACK_OFF,
            failures=check.failures,
            remaining=self._sessions.remaining(check.profile.name),
            lifetime=timedelta(seconds=check.definition.duration_seconds),
            jitter=self._queue.jitter(),
        )
        # An endpoint that does not know the call will not learn it.
        is_final = isinstance(error, StsRequestRejectedError)
        wait = math.inf if is_final else (delay or ZERO).total_seconds()
        check.next_at = self._clock.boottime() + wait
        event(
            logging.DEBUG,
            "session_check_failed",
            profile=check.profile.name,
            error_code=error.code,
            error=error.message,
            attempts=check.failures,
        )

    def _retry_others(self, check: SessionCheck) -> None:
        """Retry the checks that failed at an endpoint which has just answered."""
        now = self._clock.boottime()
        for other in self._checks.values():
            # It is infinite while a check is under way.
            if other.failures and other.endpoint == check.endpoint and other.next_at < math.inf:
                other.next_at = min(other.next_at, now)

    def _reschedule(self, profile: ScheduledProfile) -> None:
        """Schedule a profile again whose session expires earlier than was known."""
        self._queue.version += 1
        # A failing profile is retried often enough.
        if not profile.in_flight and profile.failures.failure is None:
            self._queue.schedule_refresh(profile)
