"""The invariant of the engine: no enabled profile is ever forgotten."""

from __future__ import annotations

from collections.abc import Mapping

from assumed.clock import Clock
from assumed.engine.heartbeat import HEARTBEAT, HeartbeatScheduler
from assumed.engine.internal_errors import Part
from assumed.engine.profile_state import ScheduledProfile
from assumed.engine.refresh_policy import ZERO
from assumed.engine.refresh_queue import RefreshQueue
from assumed.engine.session_store import SessionStore
from assumed.errors import ParentNotReadyError, RetryPolicy

# A job that is due starts in the next pass, and then waits for a thread.
_MAX_SECONDS_OVERDUE = 5.0
# The heartbeat tries what waits for a change at least every 300 s.
_MAX_SECONDS_WAITING = 360.0

_NOT_SCHEDULED = "no attempt is scheduled"
_NO_JOB = "its attempt is due, and has no job"
_JOB_NOT_RUN = "its attempt is due, and its job was not started"
_NOT_RUNNING = "its attempt has ended without a result"
_PARENT_NOT_DUE = "it waits for a source profile that is not being refreshed"


class ScheduleWatch:
    """Finds profiles that would never be refreshed again because of an error in this program.

    Each enabled profile has an attempt under way, or has one scheduled, or waits for something that
    the heartbeat looks at: its parent, or a change of its source. Whatever has gone wrong, a
    profile for which none of this is true is refreshed at once. It costs a comparison for each
    profile that is fine.

    Args:
        clock: the source of time.
        queue: the profiles and their due times.
        sessions: of all profiles.
        jobs: runs the attempts; what was found is counted and logged in its errors.
    """

    def __init__(
        self,
        clock: Clock,
        queue: RefreshQueue,
        sessions: SessionStore,
        jobs: HeartbeatScheduler,
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._sessions = sessions
        self._jobs = jobs
        self._errors = jobs.errors
        self._suspected: dict[ScheduledProfile, float | None] = {}
        """When the attempts were due whose jobs the last check found not started."""
        self._restored: dict[ScheduledProfile, tuple[float, bool]] = {}
        """When their new attempts are due, and whether to rely on that."""

    def check(self) -> bool:
        """Refresh the profiles that were lost; never raise.

        Returns:
            Whether no profile is lost any more.
        """
        is_intact = False
        with self._errors.caught(Part.SCHEDULE):
            with self._queue.lock:
                recently = self._clock.boottime() - HEARTBEAT.total_seconds()
                self._restored = {
                    profile: (due_at, is_sure)
                    for profile, (due_at, is_sure) in self._restored.items()
                    if profile.due_at == due_at or due_at > recently
                }
                lost = self._find()
                for profile in lost:
                    self._restore(profile)
                is_intact = all(
                    is_sure or profile.due_at != due_at
                    for profile, (due_at, is_sure) in self._restored.items()
                )
            self._report(lost)
        return is_intact

    def _find(self) -> dict[ScheduledProfile, str]:
        found = {
            profile: problem
            for profile in self._queue.profiles.values()
            if profile.definition.enabled and (problem := self._problem(profile)) is not None
        }
        before, self._suspected = self._suspected, {}
        for profile, problem in list(found.items()):
            # After a suspend, the pass that follows this heartbeat starts it.
            if problem == _JOB_NOT_RUN and before.get(profile) != profile.due_at:
                self._suspected[profile] = profile.due_at
                del found[profile]
        return found

    def _report(self, lost: Mapping[ScheduledProfile, str]) -> None:
        for problem in sorted(set(lost.values())):
            names = ", ".join(profile.name for profile in lost if lost[profile] == problem)
            self._errors.record(Part.SCHEDULE, problem, found=problem, profiles=names)

    def _restore(self, profile: ScheduledProfile) -> None:
        delay, is_sure = ZERO, True
        if profile in self._restored:
            # It was of no use: not as fast as errors come, and systemd has to know.
            delay, is_sure = HEARTBEAT, False
        profile.in_flight = profile.awaits_parent = False
        try:
            self._queue.schedule_in(profile, delay)
        except Exception as error:  # noqa: BLE001 - the others have to be refreshed
            is_sure = False
            kind = type(error).__name__
            self._errors.record(Part.SCHEDULE, kind, error, profile=profile.name)
        due_at = self._clock.boottime() if profile.due_at is None else profile.due_at
        self._restored[profile] = due_at, is_sure

    def _problem(self, profile: ScheduledProfile) -> str | None:
        """Return why a profile is lost; None if it is not."""
        if profile.in_flight:
            return _NOT_RUNNING if profile.attempt is None else None
        if profile.due_at is not None:
            if profile.due_at > self._clock.boottime() - _MAX_SECONDS_OVERDUE:
                return None
            return self._problem_of_job(profile.name)
        if profile.awaits_parent:
            return None if self._is_parent_coming(profile) else _PARENT_NOT_DUE
        return None if self._waits_for_change(profile) else _NOT_SCHEDULED

    def _problem_of_job(self, name: str) -> str | None:
        if self._jobs.is_submitted(name):
            return None
        return _NO_JOB if self._jobs.get_job(name) is None else _JOB_NOT_RUN

    def _is_parent_coming(self, profile: ScheduledProfile) -> bool:
        """Whether the refresh of the parent, successful or not, will schedule this profile."""
        parent = self._queue.parent(profile)
        if parent is None:
            return False
        return self._queue.is_coming(parent) or self._sessions.remaining(parent.name) <= ZERO

    def _waits_for_change(self, profile: ScheduledProfile) -> bool:
        """Whether something will schedule this profile, other than the time."""
        error = profile.failures.error
        if error is None or error.retry is not RetryPolicy.ON_CHANGE:
            return False
        if isinstance(error, ParentNotReadyError):
            parent = self._queue.parent(profile)
            is_failing = parent is not None and parent.failures.failure is not None
            return is_failing or self._is_parent_coming(profile)
        return self._clock.boottime() < profile.failures.last_boottime + _MAX_SECONDS_WAITING
