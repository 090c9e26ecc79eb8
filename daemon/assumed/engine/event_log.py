"""What is told of the profiles: a line in the log, and a notice to hooks and metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from assumed.clock import Clock
from assumed.engine.events import EventType, ProfileEvent
from assumed.engine.profile_state import WAITS_FOR_LOGIN, ScheduledProfile
from assumed.engine.refresher import Refresher
from assumed.engine.status import StatusView, whole_seconds
from assumed.engine.words import still_failing
from assumed.errors import AssumedError, RetryPolicy
from assumed.logs.events import event
from assumed.models import LOGIN_EXPIRY_WARNING, MfaSession, RoleSession, Source

_NOW = timedelta(0)
# The machine slept, or something held it up.
_NOTABLY_LATE = timedelta(minutes=1)
# A repeat is no news within a minute, and what goes on failing is in the log of each hour.
_BETWEEN_REPEATS_SECONDS = 60.0
_SILENCE_SECONDS = 3600.0


class EventLog:
    """Tells what happens; used under the scheduler's lock."""

    def __init__(self, clock: Clock, refresher: Refresher, readers: StatusView) -> None:
        self._clock = clock
        self._refresher = refresher
        self._readers = readers
        self._observers: list[Callable[[ProfileEvent], None]] = []
        self._hanging: Mapping[MfaSession, Sequence[ScheduledProfile]] = {}
        """Which profiles hang on each MFA session that somebody has to start."""
        self._login_ends: dict[MfaSession, datetime | None] = {}
        """Of which end of each MFA session was told."""
        self._needs_login: set[Source] = set()
        """Of which sources was told that somebody has to log in."""

    def subscribe(self, observer: Callable[[ProfileEvent], None]) -> None:
        """Call `observer` with each event; it must return at once."""
        self._observers.append(observer)

    def refreshed(
        self,
        entry: ScheduledProfile,
        session: RoleSession,
        *,
        is_new: bool,
        took: timedelta,
        failed: ScheduledProfile,
    ) -> None:
        """Tell of a refresh that worked.

        Args:
            entry: as it is now, with the next refresh planned.
            session: that there is now.
            is_new: it is another one than before, and not the same that was written again.
            took: how long STS took.
            failed: the entry as it was before, with the failures that are over.
        """
        now = self._clock.boottime()
        late = timedelta(seconds=now - (now if failed.due_since is None else failed.due_since))
        self._needs_login.discard(entry.definition.source)
        name = "profile_refreshed" if is_new else "profile_restored"
        event(
            logging.INFO,
            "profile_recovered" if failed.failures else name,
            profile=entry.definition.profile,
            role_arn=entry.definition.role_arn,
            expires_at=session.credentials.expiration,
            seconds_left=whole_seconds(self._readers.left(entry) or _NOW),
            next_attempt_at=self._readers.coming(entry.due_at),
            access_key_id=session.credentials.access_key_id,
            took_seconds=round(took.total_seconds(), 3),
            late_seconds=whole_seconds(late) if late >= _NOTABLY_LATE else None,
            failures=failed.failures or None,
            failing_since=failed.failing_since,
            failing_for_seconds=round(now - failed.failing_from) if failed.failures else None,
            failed_with=failed.error.code if failed.error else None,
            expired_for_seconds=None
            if failed.expired_at is None
            else round(now - failed.expired_at),
        )
        if is_new:
            self._notice(entry, EventType.REFRESHED, late=late)
        if failed.failures:
            self._notice(entry, EventType.RECOVERED)

    def failed(
        self, entry: ScheduledProfile, error: AssumedError, *, code_before: str | None
    ) -> None:
        """Tell of a refresh that failed, whole at the first time, and then summed up.

        Args:
            entry: as it is now, with the next try planned.
            error: why.
            code_before: of the failure before, where there was one.
        """
        is_news = code_before != error.code
        is_power_of_two = entry.failures & (entry.failures - 1) == 0
        silence = self._clock.boottime() - entry.warned_at
        is_shown = is_news or silence >= (
            _BETWEEN_REPEATS_SECONDS if is_power_of_two else _SILENCE_SECONDS
        )
        level = logging.DEBUG
        if is_shown:
            entry.warned_at = self._clock.boottime()
            is_new_reason = is_news and entry.expired_at is not None
            level = logging.ERROR if is_new_reason else logging.WARNING
        left = self._readers.left(entry)
        assert entry.failing_since is not None  # noqa: S101 - by `ScheduledProfile.note_failure`
        event(
            level,
            "refresh_failed",
            profile=entry.definition.profile,
            summary=still_failing(entry.failures, entry.failing_since, left)
            if entry.failures > 1
            else None,
            role_arn=entry.definition.role_arn if is_news else None,
            error_code=error.code,
            error=error.message if is_news else None,
            hint=error.hint if is_news else None,
            failed_before_with=code_before if is_news else None,
            attempt=entry.failures,
            failing_since=entry.failing_since if entry.failures > 1 else None,
            seconds_left=None if left is None else whole_seconds(left),
            next_attempt_at=self._readers.coming(entry.due_at),
            waits_for=_waits_for(error),
        )
        self._notice_failure(entry, error)

    def look(self, entry: ScheduledProfile) -> None:
        """Tell what time alone brings: the end of a session, an hour of silence, of a login."""
        if entry.failure is None:
            return
        session, left = self._readers.session(entry), self._readers.left(entry)
        if entry.expired_at is None and session and left is not None and left <= _NOW:
            entry.expired_at = session.expires_at
            self._say_expired(entry, session)
        elif self._clock.boottime() >= entry.warned_at + _SILENCE_SECONDS:
            self._say_still_waiting(entry)

    def follow_logins(self, entries: Iterable[ScheduledProfile]) -> None:
        """Know which profiles hang on which MFA session, from now on."""
        hanging: dict[MfaSession, list[ScheduledProfile]] = {}
        for entry in entries:
            login = self._refresher.mfa_session(entry.definition)
            if login is not None and not login.process and entry.definition.enabled:
                hanging.setdefault(login, []).append(entry)
        self._hanging = hanging

    def look_at_logins(self) -> None:
        """Tell of each MFA session that ends soon, with all profiles that hang on it."""
        for login, hanging in self._hanging.items():
            self._say_if_ending(login, hanging)

    def _say_expired(self, entry: ScheduledProfile, session: RoleSession) -> None:
        assert entry.failure is not None  # noqa: S101 - `look` has looked
        entry.warned_at = self._clock.boottime()
        event(
            logging.ERROR,
            "profile_expired",
            profile=entry.definition.profile,
            role_arn=entry.definition.role_arn,
            expires_at=session.credentials.expiration,
            error_code=entry.failure.code,
            error=entry.failure.message,
            hint=entry.failure.hint,
            attempt=entry.failures,
            failing_since=entry.failing_since,
            next_attempt_at=self._readers.coming(entry.due_at),
        )
        self._notice(entry, EventType.EXPIRED)

    def _say_still_waiting(self, entry: ScheduledProfile) -> None:
        """What is not tried again by itself would be silent all night."""
        error = entry.error
        if error is None or error.retry is not RetryPolicy.ON_CHANGE or entry.failing_since is None:
            return
        entry.warned_at = self._clock.boottime()
        left = self._readers.left(entry)
        event(
            logging.WARNING,
            "profile_blocked",
            profile=entry.definition.profile,
            summary=still_failing(entry.failures, entry.failing_since, left),
            error_code=error.code,
            hint=error.hint,
            waits_for=_waits_for(error),
        )

    def _say_if_ending(self, login: MfaSession, hanging: Sequence[ScheduledProfile]) -> None:
        left = self._refresher.logins.remaining(login)
        if not _NOW < left <= min(LOGIN_EXPIRY_WARNING, login.lifetime / 2):
            return
        expires_at = self._refresher.logins.expires_at(login)
        if self._login_ends.get(login) == expires_at:
            return
        self._login_ends[login] = expires_at
        definition = hanging[0].definition
        event(
            logging.WARNING,
            "login_expires_soon",
            profile=definition.profile,
            profiles=", ".join(entry.definition.profile for entry in hanging),
            source=str(login),
            expires_at=expires_at,
            seconds_left=whole_seconds(left),
            hint=f"`assumed login {definition.profile}` starts the next session at any "
            "time before that",
        )
        self._emit(
            ProfileEvent(
                event_type=EventType.LOGIN_ENDS_SOON,
                profile=definition.profile,
                role_arn=definition.role_arn,
                expires_at=expires_at,
            )
        )

    def _notice_failure(self, entry: ScheduledProfile, error: AssumedError) -> None:
        event_type, is_repeat = EventType.FAILED, EventType.FAILED in entry.told
        if isinstance(error, WAITS_FOR_LOGIN):
            # One login serves all profiles of a source.
            source = entry.definition.source
            is_repeat = EventType.NEEDS_LOGIN in entry.told or source in self._needs_login
            self._needs_login.add(source)
            event_type = EventType.NEEDS_LOGIN
        entry.told.add(event_type)
        self._notice(entry, event_type, is_repeat=is_repeat)

    def _emit(self, profile_event: ProfileEvent) -> None:
        for observer in self._observers:
            observer(profile_event)

    def _notice(
        self,
        entry: ScheduledProfile,
        event_type: EventType,
        *,
        is_repeat: bool = False,
        late: timedelta | None = None,
    ) -> None:
        session = self._readers.session(entry)
        self._emit(
            ProfileEvent(
                event_type=event_type,
                profile=entry.definition.profile,
                role_arn=entry.definition.role_arn,
                expires_at=session.credentials.expiration if session else None,
                failure=entry.failure,
                is_repeat=is_repeat,
                late=late,
            )
        )


def _waits_for(error: AssumedError) -> str | None:
    if error.retry is not RetryPolicy.ON_CHANGE:
        return None
    return "somebody's login" if isinstance(error, WAITS_FOR_LOGIN) else "its source profile"
