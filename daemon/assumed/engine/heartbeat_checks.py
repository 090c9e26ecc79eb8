"""The checks of each heartbeat: a stepped clock, a changed source, an expired session."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from assumed.clock import Clock
from assumed.engine.event_log import EventLog
from assumed.engine.mfa_sessions import MfaSessionMonitor
from assumed.engine.profile_state import LOGIN_REQUIRED, ScheduledProfile
from assumed.engine.refresh_queue import RefreshQueue
from assumed.engine.refresher import Refresher
from assumed.errors import AwsFilesUnreadableError
from assumed.logs.events import event

_MIN_STEP_SECONDS = 1.0
# Heartbeats are closer to each other than this if the machine is awake.
_MIN_SUSPEND_SECONDS = 60.0
# A retry alone does not help; a change of the source may.
_DEPENDS_ON_SOURCE = LOGIN_REQUIRED | AwsFilesUnreadableError


class HeartbeatChecks:
    """Runs the checks of a heartbeat; used by one thread, without the scheduler's lock."""

    def __init__(
        self,
        clock: Clock,
        refresher: Refresher,
        queue: RefreshQueue,
        mfa: MfaSessionMonitor,
        events: EventLog,
    ) -> None:
        self._clock = clock
        self._refresher = refresher
        self._queue = queue
        self._mfa = mfa
        self._events = events
        self._checked_at = clock.boottime()
        self._wall_clock_offset = self._offset()

    def run(self) -> None:
        """Run all checks. They read files, and skip the profiles that are valid."""
        is_stepped = self._is_wall_clock_stepped()
        with self._queue.lock:
            if is_stepped:
                self._queue.reschedule_all()
            failing = self._queue.failing()
        self._retry_changed_sources(failing)
        expiring = self._mfa.pop_expiring()
        with self._queue.lock:
            for profile in failing:
                self._events.check_expiry(profile)
            for login in expiring:
                self._events.login_expires_soon(login)

    def _is_wall_clock_stepped(self) -> bool:
        """Log a suspend or a step since the last heartbeat; return whether there was a step."""
        now = self._clock.boottime()
        away, self._checked_at = now - self._checked_at, now
        if away >= _MIN_SUSPEND_SECONDS:
            event(logging.INFO, "resumed_from_suspend", away_seconds=round(away))
        offset = self._offset()
        step = offset - self._wall_clock_offset
        if abs(step) <= _MIN_STEP_SECONDS:
            return False
        self._wall_clock_offset = offset
        event(logging.INFO, "wall_clock_stepped", seconds=round(step))
        return True

    def _offset(self) -> float:
        """Return how many seconds the wall clock is ahead of the clock that never jumps."""
        return self._clock.now().timestamp() - self._clock.boottime()

    def _retry_changed_sources(self, failing: Iterable[ScheduledProfile]) -> None:
        """Retry the profiles whose source credentials may have changed since they failed."""
        for profile in failing:
            definition = profile.definition
            if profile.in_flight or not isinstance(profile.failures.error, _DEPENDS_ON_SOURCE):
                continue
            fingerprint = self._refresher.source_fingerprint(definition)
            with self._queue.lock:
                if fingerprint == profile.source_fingerprint or profile.in_flight:
                    continue
                if self._queue.contains(profile) and profile.definition is definition:
                    profile.source_fingerprint = fingerprint
                    event(logging.INFO, "source_changed", profile=profile.name)
                    self._queue.attempt(profile)
