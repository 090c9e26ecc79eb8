"""The consequences of an attempt: the next refresh, a retry, log messages."""

from __future__ import annotations

from datetime import timedelta

from assumed.clock import Clock
from assumed.engine.attempts import Attempt, internal_error
from assumed.engine.event_log import EventLog
from assumed.engine.internal_errors import Part
from assumed.engine.profile_state import FailureStreak, ScheduledProfile
from assumed.engine.refresh_policy import ZERO, RetriedBy, is_temporary, retry_delay
from assumed.engine.refresh_queue import RefreshQueue
from assumed.engine.session_store import SessionStore
from assumed.errors import (
    AssumedError,
    ParentNotReadyError,
    SourceUnavailableError,
    UnexpectedError,
)
from assumed.models import Failure, RoleSession

# A session that is due at once, for whatever reason, must not become a storm of calls.
_MIN_INTERVAL = timedelta(seconds=1)
# No call to a working endpoint takes longer than this.
_MAX_USUAL_CALL = timedelta(seconds=2)


class CompletionHandler:
    """Applies the results of attempts; called under the scheduler's lock, by one thread at a time.

    Args:
        clock: the source of time.
        sessions: record which session has reached its readers.
        queue: where the next attempt is scheduled.
        events: where the result is logged.
        retried_by: who retries; if it is the user, only what `is_temporary` is scheduled.
    """

    def __init__(
        self,
        clock: Clock,
        sessions: SessionStore,
        queue: RefreshQueue,
        events: EventLog,
        *,
        retried_by: RetriedBy,
    ) -> None:
        self._clock = clock
        self._sessions = sessions
        self._queue = queue
        self._events = events
        self._retried_by = retried_by
        self._repeats = retried_by is not RetriedBy.USER

    def apply(self, attempt: Attempt) -> bool:
        """Apply the result of an attempt.

        The profile stays scheduled, also after an unexpected error.

        Returns:
            Whether the refresh has ended with it; else another attempt follows at once.
        """
        profile = attempt.profile
        profile.in_flight = False
        profile.is_slow = attempt.took > _MAX_USUAL_CALL
        profile.source_fingerprint = attempt.prepared.source_fingerprint
        if not self._queue.contains(profile):
            return False
        try:
            return self._apply(attempt)
        except Exception as error:  # noqa: BLE001 - an error here must not lose the profile
            self._record(profile, error)
            self._recover(profile, error)
            return True

    def _apply(self, attempt: Attempt) -> bool:
        profile, result = attempt.profile, attempt.result()
        if isinstance(result, UnexpectedError):
            self._record(profile, attempt.error)
        if not attempt.definition.is_same_call(profile.definition):
            self._queue.attempt(profile)
            return False
        if isinstance(result, RoleSession):
            self._succeeded(attempt, result)
            return True
        parent = self._queue.parent(profile)
        if isinstance(result, ParentNotReadyError) and parent is not None:
            if self._queue.is_coming(parent):
                profile.awaits_parent = True
                return False
            if parent.failures.failure is not None:
                result = result.because_of(parent.failures.failure.code)
        self._failed(profile, result)
        return True

    def _succeeded(self, attempt: Attempt, session: RoleSession) -> None:
        profile, before = attempt.profile, attempt.profile.failures
        is_new = self._sessions.mark_stored(attempt.definition, session)
        due_in = self._sessions.due_in(profile.definition, jitter=self._queue.jitter())
        # Last of what may raise, so that the retries after an error here become ever rarer.
        profile.failures = FailureStreak()
        profile.refreshes += is_new
        if self._repeats:
            self._queue.schedule_in(profile, max(due_in, _MIN_INTERVAL))
        self._events.refreshed(profile, session, is_new=is_new, took=attempt.took, before=before)
        if isinstance(before.error, SourceUnavailableError):
            self._retry_same_source(profile)

    def _retry_same_source(self, profile: ScheduledProfile) -> None:
        """Retry the profiles that the same source had no credentials for: its outage is over."""
        for other in self._queue.profiles.values():
            if (
                isinstance(other.failures.error, SourceUnavailableError)
                and other.definition.source == profile.definition.source
            ):
                self._queue.retry_soon(other)

    def _failed(self, profile: ScheduledProfile, error: AssumedError) -> None:
        before = profile.failures
        self._schedule_retry(profile, error)
        code_before = None if before.failure is None else before.failure.code
        self._events.failed(profile, error, code_before=code_before)

    def _recover(self, profile: ScheduledProfile, error: BaseException) -> None:
        """Make sure that a profile is scheduled whose result could not be applied."""
        if profile.due_at is None:
            self._schedule_retry(profile, internal_error(error))
        else:
            self._queue.add_job(profile)

    def _schedule_retry(self, profile: ScheduledProfile, error: AssumedError) -> None:
        failure = Failure(
            code=error.code,
            message=error.message,
            hint=self._retried_by.complete_hint(error),
            at=self._clock.now(),
        )
        profile.failures = profile.failures.add(error, failure, now=self._clock.boottime())
        self._queue.mark_failing(profile)
        delay = retry_delay(
            error.retry,
            failures=profile.failures.count_of_kind,
            remaining=self._remaining(profile),
            lifetime=timedelta(seconds=profile.definition.duration_seconds),
            jitter=self._queue.jitter(),
        )
        if delay is None:
            self._queue.cancel(profile)
        elif self._repeats or is_temporary(error):
            self._queue.schedule_in(profile, delay)

    def _record(self, profile: ScheduledProfile, error: BaseException | None) -> None:
        kind = type(error).__name__
        self._events.errors.record(Part.REFRESH, kind, error, profile=profile.name)

    def _remaining(self, profile: ScheduledProfile) -> timedelta:
        session = self._sessions.visible(profile.definition)
        if session is None:
            return ZERO
        return timedelta(seconds=session.expires_at - self._clock.boottime())
