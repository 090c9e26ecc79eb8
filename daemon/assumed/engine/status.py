"""The status of profiles, as commands, metrics and systemd show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from assumed.clock import Clock, wall_time
from assumed.engine.mfa_sessions import MfaSessionMonitor
from assumed.engine.profile_state import LOGIN_REQUIRED, FailureStreak, ScheduledProfile
from assumed.engine.refresh_policy import ZERO
from assumed.engine.refresher import Refresher
from assumed.models import MfaCode, ProfileDefinition, ProfileState, ProfileStatus, RoleSession
from assumed.progress import Wait


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of all profiles together."""

    valid: int
    enabled: int
    next_attempt_at: datetime | None
    good_until: float
    """When the first of the valid sessions expires, in seconds of `Clock.boottime()`."""


class StatusView:
    """Derives a profile's status from its bookkeeping and its session.

    It takes no lock and reads no file. What it reads is replaced whole, so that each part of a
    status is of one moment; a refresh that ends just then may show in one part before the other.
    """

    def __init__(self, clock: Clock, refresher: Refresher, mfa: MfaSessionMonitor) -> None:
        self._clock = clock
        self._refresher = refresher
        self._mfa = mfa
        self._summary: tuple[int, Summary] | None = None

    def session(self, profile: ScheduledProfile) -> RoleSession | None:
        """Return the session that readers of a profile find; None if there is none."""
        return self._refresher.sessions.visible(profile.definition)

    def remaining(self, profile: ScheduledProfile) -> timedelta | None:
        """Return how long that session lasts, negative once expired; None if there is none."""
        session = self.session(profile)
        if session is None:
            return None
        return timedelta(seconds=session.expires_at - self._clock.boottime())

    def state(self, profile: ScheduledProfile) -> ProfileState:
        """Return the state of a profile."""
        return _state(profile.definition, profile.failures, self.remaining(profile))

    def status(self, profile: ScheduledProfile) -> ProfileStatus:
        """Return the status of a profile."""
        definition, failures = profile.definition, profile.failures
        session = self._refresher.sessions.visible(definition)
        remaining = (
            timedelta(seconds=session.expires_at - self._clock.boottime()) if session else None
        )
        mfa_session = self._refresher.mfa_session(definition)
        # Each role session is started with its own code, and needs the next one when it ends.
        code = definition.source if isinstance(definition.source, MfaCode) else None
        device = mfa_session or code
        is_valid = remaining is not None and remaining > ZERO
        until = session.credentials.expiration if code and session and is_valid else None
        wait = self._wait(profile)
        return ProfileStatus(
            profile=definition.profile,
            role_arn=definition.role_arn,
            source=str(definition.source),
            store=definition.store,
            state=_state(definition, failures, remaining),
            expires_at=session.credentials.expiration if session else None,
            seconds_left=None if remaining is None else whole_seconds(remaining),
            lifetime_seconds=whole_seconds(session.lifetime) if session else None,
            refreshed_at=session.refreshed_at if session else None,
            next_attempt_at=self.next_attempt_at(profile),
            refreshes=profile.refreshes,
            consecutive_failures=failures.count,
            last_error=failures.failure,
            mfa_serial=device.serial if device else None,
            login_expires_at=self._mfa.expires_at(mfa_session) if mfa_session else until,
            waiting_for=None if wait is None else wait.reason,
            waiting_seconds=None if wait is None else self._seconds_since(wait.since),
            region=definition.region,
            config_profiles=definition.config_profiles,
        )

    def next_attempt_at(self, profile: ScheduledProfile) -> datetime | None:
        """Return when a profile is refreshed next, by the wall clock; None if not scheduled."""
        return self._upcoming(profile.due_at)

    @staticmethod
    def _wait(profile: ScheduledProfile) -> Wait | None:
        progress = profile.progress
        return progress.current if progress is not None and profile.in_flight else None

    def _seconds_since(self, boottime: float) -> int:
        return whole_seconds(timedelta(seconds=self._clock.boottime() - boottime))

    def summary(self, profiles: Iterable[ScheduledProfile], *, version: int) -> Summary:
        """Return how many profiles are valid, of how many, and when the next attempt is.

        Args:
            profiles: all of them.
            version: of `profiles`; the last summary is returned again while it is the same.
        """
        if self._summary is not None:
            known_version, known = self._summary
            if known_version == version and known.good_until > self._clock.boottime():
                return known
        summary = self._summarize(profiles)
        self._summary = version, summary
        return summary

    def _summarize(self, profiles: Iterable[ScheduledProfile]) -> Summary:
        enabled = [profile for profile in profiles if profile.definition.enabled]
        valid = [profile for profile in enabled if self.state(profile) is ProfileState.VALID]
        sessions = [self.session(profile) for profile in valid]
        due_at = min((due for profile in enabled if (due := profile.due_at)), default=None)
        return Summary(
            valid=len(valid),
            enabled=len(enabled),
            next_attempt_at=self._upcoming(due_at),
            good_until=min((session.expires_at for session in sessions if session), default=inf),
        )

    def _upcoming(self, due_at: float | None) -> datetime | None:
        """Return a moment by the wall clock; now if it has passed."""
        if due_at is None:
            return None
        return wall_time(self._clock, max(due_at, self._clock.boottime()))


def whole_seconds(span: timedelta) -> int:
    """Return whole seconds; 0 for a span that is over."""
    return max(0, int(span.total_seconds()))


def _state(
    definition: ProfileDefinition, failures: FailureStreak, remaining: timedelta | None
) -> ProfileState:
    if not definition.enabled:
        return ProfileState.DISABLED
    if isinstance(failures.error, LOGIN_REQUIRED):
        return ProfileState.NEEDS_LOGIN
    if remaining is not None and remaining <= ZERO:
        return ProfileState.EXPIRED
    if failures.failure is not None:
        return ProfileState.FAILING
    return ProfileState.PENDING if remaining is None else ProfileState.VALID
