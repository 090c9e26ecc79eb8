"""What the readers of a profile have, and what `status` says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from assumed.clock import Clock
from assumed.engine.profile_state import WAITS_FOR_LOGIN, ScheduledProfile
from assumed.engine.refresher import Refresher
from assumed.models import ProfileState, ProfileStatus, RoleSession, StorageMode

_NOW = timedelta(0)


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of all profiles together."""

    valid: int
    enabled: int
    next_attempt_at: datetime | None
    good_until: float
    """When the first of the valid sessions ends, in seconds of `Clock.boottime()`."""


class StatusView:
    """Tells what readers of profiles have: not a session that could not be written yet."""

    def __init__(self, clock: Clock, refresher: Refresher) -> None:
        self._clock = clock
        self._refresher = refresher

    def session(self, entry: ScheduledProfile) -> RoleSession | None:
        """Return the session that readers find where they look; None where there is none."""
        held = self._refresher.session(entry.definition.profile)
        if held is None or held.is_stored or entry.definition.store is StorageMode.MEMORY:
            return held
        return entry.in_file

    def left(self, entry: ScheduledProfile) -> timedelta | None:
        """Return what is left of that session, negative where it has ended; None for none."""
        session = self.session(entry)
        if session is None:
            return None
        return timedelta(seconds=session.expires_at - self._clock.boottime())

    def note(self, entry: ScheduledProfile) -> None:
        """Take notice of what the file holds now."""
        held = self._refresher.session(entry.definition.profile)
        if held is not None and held.is_stored:
            entry.in_file = held

    def state(self, entry: ScheduledProfile) -> ProfileState:
        """Return the state of a profile."""
        if not entry.definition.enabled:
            return ProfileState.DISABLED
        if isinstance(entry.error, WAITS_FOR_LOGIN):
            return ProfileState.NEEDS_LOGIN
        left = self.left(entry)
        if left is not None and left <= _NOW:
            return ProfileState.EXPIRED
        if entry.failure is not None:
            return ProfileState.FAILING
        return ProfileState.PENDING if left is None else ProfileState.VALID

    def status(self, entry: ScheduledProfile) -> ProfileStatus:
        """Return the row of a profile."""
        definition = entry.definition
        session, left = self.session(entry), self.left(entry)
        login = self._refresher.mfa_session(definition)
        return ProfileStatus(
            profile=definition.profile,
            role_arn=definition.role_arn,
            source=str(definition.source),
            store=definition.store,
            state=self.state(entry),
            expires_at=session.credentials.expiration if session else None,
            seconds_left=None if left is None else whole_seconds(left),
            lifetime_seconds=whole_seconds(session.lifetime) if session else None,
            refreshed_at=session.refreshed_at if session else None,
            next_attempt_at=self.coming(entry.due_at),
            refreshes=entry.refreshes,
            consecutive_failures=entry.failures,
            last_error=entry.failure,
            mfa_serial=login.serial if login else None,
            login_expires_at=self._refresher.logins.expires_at(login) if login else None,
        )

    def coming(self, due_at: float | None) -> datetime | None:
        """Return when that is, by the wall clock: now for what is past, None for None."""
        return None if due_at is None else self.wall_time(max(due_at, self._clock.boottime()))

    def wall_time(self, boottime: float) -> datetime:
        """Return what the wall clock shows at a moment of `Clock.boottime()`."""
        return self._clock.now() + timedelta(seconds=boottime - self._clock.boottime())


def whole_seconds(left: timedelta) -> int:
    """Return whole seconds, and none for a time that is over."""
    return max(0, int(left.total_seconds()))
