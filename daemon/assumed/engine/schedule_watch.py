"""The invariant of the engine: no enabled profile is ever forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assumed.clock import Clock
from assumed.engine.heartbeat import HeartbeatScheduler
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
# They may be true for a moment between two steps of different threads.
_TO_BE_CONFIRMED = {_JOB_NOT_RUN, _NOT_RUNNING}


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
        is_under_way: whether a thread or a write is working on a profile.
    """

    def __init__(
        self,
        clock: Clock,
        queue: RefreshQueue,
        sessions: SessionStore,
        jobs: HeartbeatScheduler,
        *,
        is_under_way: Callable[[ScheduledProfile], bool],
    ) -> None:
        self._clock = clock
        self._queue = queue
        self._sessions = sessions
        self._jobs = jobs
        self._is_under_way = is_under_way
        self._errors = jobs.errors
        self._suspected: dict[ScheduledProfile, str] = {}
        """What the last check found, and this one has to confirm."""
        self._restored: dict[ScheduledProfile, tuple[float | None, bool]] = {}
        """Profiles whose new attempt has not begun: when it is due, and whether to rely on it."""

    def check(self) -> bool:
        """Refresh the profiles that were lost; never raise.

        Returns:
            Whether no profile is lost any more.
        """
        is_intact = False
        with self._errors.caught(Part.SCHEDULE):
            with self._queue.lock:
                self._restored = {
                    profile: (due_at, is_sure)
                    for profile, (due_at, is_sure) in self._restored.items()
                    if profile.due_at == due_at
                }
                lost = self._find()
                for profile in lost:
                    self._restore(profile)
                is_intact = all(is_sure for _, is_sure in self._restored.values())
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
            if problem in _TO_BE_CONFIRMED and before.get(profile) != problem:
                self._suspected[profile] = found.pop(profile)
        return found

    def _report(self, lost: Mapping[ScheduledProfile, str]) -> None:
        for problem in sorted(set(lost.values())):
            names = ", ".join(profile.name for profile in lost if lost[profile] == problem)
            self._errors.record(Part.SCHEDULE, problem, found=problem, profiles=names)

    def _restore(self, profile: ScheduledProfile) -> None:
        # If the last time was of no use, this one may not be either.
        is_sure = profile not in self._restored
        profile.in_flight = profile.awaits_parent = False
        try:
            self._queue.schedule_in(profile, ZERO)
        except Exception as error:  # noqa: BLE001 - the others have to be refreshed
            is_sure = False
            kind = type(error).__name__
            self._errors.record(Part.SCHEDULE, kind, error, profile=profile.name)
        self._restored[profile] = profile.due_at, is_sure

    def _problem(self, profile: ScheduledProfile) -> str | None:
        """Return why a profile is lost; None if it is not."""
        if profile.in_flight:
            return None if self._is_under_way(profile) else _NOT_RUNNING
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
