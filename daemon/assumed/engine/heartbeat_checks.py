"""The checks of each heartbeat: a stepped clock, a changed source, an expired session."""

from __future__ import annotations

import logging

from assumed.clock import Clock
from assumed.engine.event_log import EventLog
from assumed.engine.internal_errors import Part
from assumed.engine.mfa_sessions import MfaSessionMonitor
from assumed.engine.profile_state import LOGIN_REQUIRED, ScheduledProfile
from assumed.engine.refresh_queue import RefreshQueue
from assumed.engine.refresher import Refresher
from assumed.engine.schedule_watch import ScheduleWatch
from assumed.engine.session_checks import SessionChecker
from assumed.errors import AwsFilesUnreadableError, LocalFaultError
from assumed.logs.events import event

_MIN_STEP_SECONDS = 1.0
# Heartbeats are closer to each other than this if the machine is awake.
_MIN_SUSPEND_SECONDS = 60.0
# A retry alone does not help; a change of the source may.
_DEPENDS_ON_SOURCE = LOGIN_REQUIRED | AwsFilesUnreadableError | LocalFaultError
# The change of a source may go unseen: it may not be in a file, or botocore may not have read it.
_MAX_SECONDS_BETWEEN_ATTEMPTS = 300.0


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
        self._errors = events.errors
        self._checked_at = clock.boottime()
        self._wall_clock_offset = self._offset()

    def run(self) -> None:
        """Run all checks. They read files, and skip the profiles that are valid.

        It never raises, and an error in one check prevents no other one.
        """
        with self._errors.caught(Part.HEARTBEAT):
            if self._is_wall_clock_stepped():
                with self._queue.lock:
                    self._queue.reschedule_all()
        failing: list[ScheduledProfile] = []
        with self._errors.caught(Part.HEARTBEAT), self._queue.lock:
            failing = self._queue.failing()
        for profile in failing:
            with self._errors.caught(Part.HEARTBEAT, profile=profile.name):
                self._retry_changed_source(profile)
        with self._errors.caught(Part.HEARTBEAT):
            for login in self._mfa.pop_expiring():
                with self._queue.lock:
                    self._events.login_expires_soon(login)
        for profile in failing:
            with self._errors.caught(Part.HEARTBEAT, profile=profile.name), self._queue.lock:
                self._events.check_expiry(profile)

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

    def _retry_changed_source(self, profile: ScheduledProfile) -> None:
        """Retry a profile whose source credentials may have changed since it failed."""
        definition = profile.definition
        if profile.in_flight or not isinstance(profile.failures.error, _DEPENDS_ON_SOURCE):
            return
        fingerprint = self._refresher.source_fingerprint(definition)
        with self._queue.lock:
            is_changed = fingerprint != profile.source_fingerprint
            is_due = is_changed or self._waits_too_long(profile)
            if not is_due or profile.in_flight:
                return
            if self._queue.contains(profile) and profile.definition is definition:
                profile.source_fingerprint = fingerprint
                if is_changed:
                    self._events.log(logging.INFO, "source_changed", profile=profile.name)
                self._queue.attempt(profile)

    def _waits_too_long(self, profile: ScheduledProfile) -> bool:
        """Whether nothing but a change is waited for, and the last attempt was long ago."""
        last = profile.failures.last_boottime
        waits = profile.due_at is None and not profile.awaits_parent
        return waits and self._clock.boottime() >= last + _MAX_SECONDS_BETWEEN_ATTEMPTS


class Heartbeat:
    """A heartbeat: all checks, and after them the watch, whatever they have found or broken."""

    def __init__(
        self,
        checks: HeartbeatChecks,
        session_checks: SessionChecker,
        watch: ScheduleWatch,
        events: EventLog,
    ) -> None:
        self._checks = checks
        self._session_checks = session_checks
        self._watch = watch
        self._events = events

    def run(self) -> bool:
        """Return whether every enabled profile will be refreshed; never raise."""
        self._checks.run()
        with self._events.errors.caught(Part.HEARTBEAT):
            self._session_checks.start_due()
        is_intact = self._watch.check()
        self._events.publish()
        return is_intact
