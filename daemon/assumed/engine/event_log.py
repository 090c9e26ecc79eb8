"""The log messages about profiles, and the events that hooks and metrics observe."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

from assumed.clock import Clock
from assumed.engine.events import EventType, ProfileEvent
from assumed.engine.internal_errors import InternalErrors, Part
from assumed.engine.mfa_sessions import ExpiringLogin
from assumed.engine.profile_state import LOGIN_REQUIRED, FailureStreak, ScheduledProfile
from assumed.engine.refresh_policy import ZERO
from assumed.engine.status import StatusView, whole_seconds
from assumed.errors import AssumedError, ParentNotReadyError, RetryPolicy
from assumed.logs import event, timestamp
from assumed.models import Login, MfaSession, RoleSession, Source
from assumed.sts.errors import split_statement
from assumed.text import format_duration

# A refresh that is later was delayed, or the machine was suspended.
_MIN_LATE = timedelta(minutes=1)
# Repeated failures: at most one line a minute, and about one an hour.
_MIN_REPEAT_INTERVAL_SECONDS = 60.0
_REMINDER_INTERVAL_SECONDS = 3600.0


class EventLog:
    """Logs what happens to profiles and notifies the observers; used under the scheduler's lock.

    The log and the observers may have to wait for a disk or for another thread. So under the lock,
    what they get is only collected; `publish` passes it on.

    Args:
        clock: the source of time.
        view: the status of profiles.
        errors: catches what an observer raises; the other parts of the engine use it as well.
    """

    def __init__(self, clock: Clock, view: StatusView, errors: InternalErrors) -> None:
        self._clock = clock
        self._view = view
        self.errors = errors
        self._observers: list[Callable[[ProfileEvent], None]] = []
        self._unpublished: deque[Callable[[], None]] = deque()
        self._publishing = threading.RLock()
        self._login_required: set[Source] = set()
        """The sources for which observers were notified that a login is required."""

    def subscribe(self, observer: Callable[[ProfileEvent], None]) -> None:
        """Call `observer` with each event, by one thread at a time."""
        self._observers.append(observer)

    def publish(self) -> None:
        """Log what was collected and notify the observers; call it without the scheduler's lock.

        It never raises.
        """
        with self._publishing:
            while self._unpublished:
                self._unpublished.popleft()()

    def log(self, level: int, name: str, /, **fields: object) -> None:
        """Log one event, as `logs.event` does."""
        self._unpublished.append(lambda: event(level, name, exc_info=None, **fields))

    def refreshed(
        self,
        profile: ScheduledProfile,
        session: RoleSession,
        *,
        is_new: bool,
        took: timedelta,
        before: FailureStreak,
    ) -> None:
        """Log a successful refresh.

        Args:
            profile: as it is now, with the next refresh scheduled.
            session: its session.
            is_new: it is not the session that readers had before, written again.
            took: how long STS took.
            before: the failures that have ended with it.
        """
        now = self._clock.boottime()
        late = ZERO if before.due_since is None else timedelta(seconds=now - before.due_since)
        self._login_required.discard(profile.definition.source)
        name = "profile_refreshed" if is_new else "profile_restored"
        self.log(
            logging.INFO,
            "profile_recovered" if before.count else name,
            profile=profile.name,
            role_arn=profile.definition.role_arn,
            expires_at=session.credentials.expiration,
            seconds_left=whole_seconds(self._view.remaining(profile) or ZERO),
            next_attempt_at=self._view.next_attempt_at(profile),
            access_key_id=session.credentials.access_key_id,
            took_seconds=round(took.total_seconds(), 3),
            # In a recovery, `failing_for_seconds` says it.
            late_seconds=whole_seconds(late) if late >= _MIN_LATE and not before.count else None,
            failures=before.count or None,
            failing_since=before.since,
            failing_for_seconds=round(now - before.since_boottime) if before.count else None,
            failed_with=before.error.code if before.error else None,
            expired_for_seconds=None
            if before.expired_at is None
            else round(now - before.expired_at),
        )
        if is_new:
            self._notify(profile, EventType.REFRESHED, late=late)
        if before.count:
            self._notify(profile, EventType.RECOVERED)

    def failed(
        self, profile: ScheduledProfile, error: AssumedError, *, code_before: str | None
    ) -> None:
        """Log a failed refresh: in full the first time, summarized when it repeats.

        Args:
            profile: as it is now, with the retry scheduled.
            error: the failure.
            code_before: the code of the failure before, if there was one.
        """
        failures = profile.failures
        is_news = code_before != error.code
        is_power_of_two = failures.count & (failures.count - 1) == 0
        silence = self._clock.boottime() - failures.warned_at
        # What waits for a change has its own reminder: an attempt in between is no news.
        is_shown = is_news or (
            error.retry is not RetryPolicy.ON_CHANGE
            and silence
            >= (_MIN_REPEAT_INTERVAL_SECONDS if is_power_of_two else _REMINDER_INTERVAL_SECONDS)
        )
        level = logging.DEBUG
        if is_shown:
            profile.failures = replace(failures, warned_at=self._clock.boottime())
            is_new_reason = is_news and failures.expired_at is not None
            level = logging.ERROR if is_new_reason else logging.WARNING
        remaining = self._view.remaining(profile)
        self.log(
            level,
            "refresh_failed",
            profile=profile.name,
            summary=_repeat_summary(remaining) if failures.count > 1 else None,
            role_arn=profile.definition.role_arn if is_news else None,
            error_code=error.code,
            error=error.message if is_news else None,
            hint=_hint(failures) if is_news else None,
            failed_before_with=code_before if is_news else None,
            attempts=failures.count,
            failing_since=failures.since if failures.count > 1 else None,
            seconds_left=None if remaining is None else whole_seconds(remaining),
            next_attempt_at=self._view.next_attempt_at(profile),
            waits_for=_waits_for(error),
        )
        self._notify_failure(profile, error)

    def overwritten(self, profile: ScheduledProfile) -> None:
        """Log that another program has changed a profile in the credentials file."""
        self.log(
            logging.WARNING,
            "profile_overwritten",
            profile=profile.name,
            hint="another program changed it in the credentials file; the daemon restores it",
        )

    def check_expiry(self, profile: ScheduledProfile) -> None:
        """Log the expiration of a failing profile, and a reminder every hour."""
        failures = profile.failures
        if failures.failure is None:
            return
        session, remaining = self._view.session(profile), self._view.remaining(profile)
        if failures.expired_at is None and session and remaining is not None and remaining <= ZERO:
            profile.failures = replace(failures, expired_at=session.expires_at)
            self._log_expired(profile, session)
        elif self._clock.boottime() >= failures.warned_at + _REMINDER_INTERVAL_SECONDS:
            self._log_reminder(profile)

    def login_succeeded(self, login: Login, session: MfaSession) -> None:
        """Log that a code has started an MFA session."""
        self.log(
            logging.INFO,
            "login_succeeded",
            profile=login.profile,
            source=str(session),
            mfa_serial=login.mfa_serial,
            expires_at=login.expires_at,
        )

    def login_expires_soon(self, login: ExpiringLogin) -> None:
        """Log that an MFA session expires soon, with all profiles that depend on it."""
        first = login.profiles[0]
        self.log(
            logging.WARNING,
            "login_expires_soon",
            profile=first.name,
            profiles=", ".join(profile.name for profile in login.profiles),
            source=str(login.session),
            expires_at=login.expires_at,
            seconds_left=whole_seconds(login.remaining),
            hint=f"start the next session with `assumed login {first.name}` before that",
        )
        self._emit(
            ProfileEvent(
                event_type=EventType.LOGIN_EXPIRES_SOON,
                profile=first.name,
                role_arn=first.definition.role_arn,
                expires_at=login.expires_at,
            )
        )

    def _log_expired(self, profile: ScheduledProfile, session: RoleSession) -> None:
        profile.failures = replace(profile.failures, warned_at=self._clock.boottime())
        failures, failure = profile.failures, profile.failures.failure
        self.log(
            logging.ERROR,
            "profile_expired",
            profile=profile.name,
            role_arn=profile.definition.role_arn,
            expires_at=session.credentials.expiration,
            error_code=failure.code if failure else None,
            error=failure.message if failure else None,
            hint=_hint(failures),
            attempts=failures.count,
            failing_since=failures.since,
            next_attempt_at=self._view.next_attempt_at(profile),
            waits_for=_waits_for(failures.error),
        )
        self._notify(profile, EventType.EXPIRED)

    def _log_reminder(self, profile: ScheduledProfile) -> None:
        """Log a profile that is not retried, and would be silent all night."""
        failures = profile.failures
        waits_for = _waits_for(failures.error)
        if waits_for is None or profile.in_flight or profile.due_at is not None:
            return
        profile.failures = replace(failures, warned_at=self._clock.boottime())
        self.log(
            logging.WARNING,
            "profile_blocked",
            profile=profile.name,
            summary=_wait_summary(failures, waits_for, self._view.remaining(profile)),
            error_code=failures.error.code if failures.error else None,
            hint=_hint(failures),
        )

    def _notify_failure(self, profile: ScheduledProfile, error: AssumedError) -> None:
        failures, event_type = profile.failures, EventType.FAILED
        is_repeat = event_type in failures.notified
        if isinstance(error, LOGIN_REQUIRED):
            # One login serves all profiles of a source.
            event_type, source = EventType.NEEDS_LOGIN, profile.definition.source
            is_repeat = event_type in failures.notified or source in self._login_required
            self._login_required.add(source)
        profile.failures = replace(failures, notified=failures.notified | {event_type})
        self._notify(profile, event_type, is_repeat=is_repeat)

    def _notify(
        self,
        profile: ScheduledProfile,
        event_type: EventType,
        *,
        is_repeat: bool = False,
        late: timedelta | None = None,
    ) -> None:
        if not self._observers:
            return
        session = self._view.session(profile)
        self._emit(
            ProfileEvent(
                event_type=event_type,
                profile=profile.name,
                role_arn=profile.definition.role_arn,
                expires_at=session.credentials.expiration if session else None,
                failure=profile.failures.failure,
                is_repeat=is_repeat,
                late=late,
            )
        )

    def _emit(self, profile_event: ProfileEvent) -> None:
        for observer in self._observers:
            self._unpublished.append(partial(self._observe, observer, profile_event))

    def _observe(
        self, observer: Callable[[ProfileEvent], None], profile_event: ProfileEvent
    ) -> None:
        with self.errors.caught(Part.OBSERVER, profile=profile_event.profile):
            observer(profile_event)


def _repeat_summary(remaining: timedelta | None) -> str:
    """Return what the fields of a repeated failure do not say."""
    if remaining is not None and remaining > ZERO:
        return "still failing"
    return f"still failing, {_session_end(remaining)}"


def _wait_summary(failures: FailureStreak, waits_for: str, remaining: timedelta | None) -> str:
    """Return a summary such as `waiting for deploy since …, expired 1h05m ago`."""
    began_at = failures.failure.at if failures.failure else None
    if failures.count == failures.count_of_kind:
        began_at = failures.since
    since = f" since {timestamp(began_at)}" if began_at else ""
    return f"waiting for {waits_for}{since}, {_session_end(remaining)}"


def _session_end(remaining: timedelta | None) -> str:
    if remaining is None:
        return "no session yet"
    if remaining > ZERO:
        return f"expires in {format_duration(remaining)}"
    return f"expired {format_duration(-remaining)} ago"


def _waits_for(error: AssumedError | None) -> str | None:
    """Return what has to change before a retry; None if one is scheduled anyway."""
    if error is None or error.retry is not RetryPolicy.ON_CHANGE:
        return None
    return error.parent if isinstance(error, ParentNotReadyError) else "source credentials"


def _hint(failures: FailureStreak) -> str | None:
    """Return the hint of the last failure, without JSON, which the log would escape."""
    if failures.failure is None:
        return None
    hint, statement = split_statement(failures.failure.hint)
    if statement is None:
        return hint
    return f"{hint}; `assumed check --live` prints the statement for the trust policy"
