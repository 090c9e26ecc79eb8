"""When the MFA sessions that profiles depend on expire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from assumed.clock import Clock
from assumed.engine.profile_state import ScheduledProfile
from assumed.engine.refresh_policy import ZERO
from assumed.engine.refresher import Refresher
from assumed.models import LOGIN_EXPIRY_WARNING, MfaSession, ProfileDefinition


@dataclass(frozen=True, slots=True)
class ExpiringLogin:
    """An MFA session that expires soon, and that the user has to start again.

    Args:
        session: which.
        profiles: that depend on it.
        expires_at: by the clock of STS; aware UTC.
        remaining: until then.
    """

    session: MfaSession
    profiles: Sequence[ScheduledProfile]
    expires_at: datetime
    remaining: timedelta


class MfaSessionMonitor:
    """Caches when each MFA session expires, so that a status reads no file.

    `read…` and `pop_expiring` read files: call them without the scheduler's lock.
    """

    def __init__(self, clock: Clock, refresher: Refresher) -> None:
        self._clock = clock
        self._refresher = refresher
        self._profiles: Mapping[MfaSession, Sequence[ScheduledProfile]] = {}
        """Which profiles depend on each MFA session."""
        self._expirations: dict[MfaSession, tuple[datetime, float]] = {}
        """By the clock of STS, and in seconds of `Clock.boottime()`."""
        self._reported: dict[MfaSession, datetime] = {}

    def track(self, profiles: Iterable[ScheduledProfile]) -> None:
        """Take the profiles of a configuration."""
        by_session: dict[MfaSession, list[ScheduledProfile]] = {}
        for profile in profiles:
            session = self._refresher.mfa_session(profile.definition)
            if session is not None:
                by_session.setdefault(session, []).append(profile)
        self._profiles = by_session

    def read(self) -> None:
        """Look up when each tracked session expires."""
        for session in self._profiles:
            self.read_one(session)

    def read_of(self, definition: ProfileDefinition) -> None:
        """Look up when the session expires that a profile depends on, if it depends on one."""
        session = self._refresher.mfa_session(definition)
        if session is not None:
            self.read_one(session)

    def read_one(self, session: MfaSession) -> timedelta:
        """Look up when one session expires; return how long it still lasts."""
        logins = self._refresher.logins
        remaining = logins.remaining(session)
        expires_at = logins.expires_at(session) if remaining > ZERO else None
        if expires_at is None:
            self._expirations.pop(session, None)
            return ZERO
        boottime = self._clock.boottime() + remaining.total_seconds()
        self._expirations[session] = expires_at, boottime
        return remaining

    def expires_at(self, session: MfaSession) -> datetime | None:
        """Return the expiration of a session as it was read last; None if there is no session."""
        known = self._expirations.get(session)
        return known[0] if known is not None and known[1] > self._clock.boottime() else None

    def pop_expiring(self) -> list[ExpiringLogin]:
        """Look up all sessions, and return those that expire soon, each expiration once.

        A session whose code is printed by a command is left out: the user need not act.
        """
        expiring = []
        for session, profiles in self._profiles.items():
            remaining = self.read_one(session)
            enabled = [profile for profile in profiles if profile.definition.enabled]
            if session.process or not enabled:
                continue
            if not ZERO < remaining <= min(LOGIN_EXPIRY_WARNING, session.lifetime / 2):
                continue
            expires_at = self.expires_at(session)
            if expires_at is not None and self._reported.get(session) != expires_at:
                self._reported[session] = expires_at
                expiring.append(ExpiringLogin(session, enabled, expires_at, remaining))
        return expiring
