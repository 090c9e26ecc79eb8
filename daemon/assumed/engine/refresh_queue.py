"""The due time of each profile, and the order of chains: one APScheduler job per profile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.base import BaseScheduler

from assumed.clock import Clock, wall_time
from assumed.engine.executor import SLOW_LANE
from assumed.engine.profile_state import ScheduledProfile
from assumed.engine.refresh_policy import ZERO
from assumed.engine.session_store import SessionStore
from assumed.engine.sts_endpoints import StsEndpoints
from assumed.errors import AssumedError, ParentNotReadyError
from assumed.models import ProfileDefinition

_MAX_EARLY_SECONDS = 1.0
_MIN_RESTORE_INTERVAL_SECONDS = 10.0


class RefreshQueue:
    """The due times of all profiles; every method is called under `lock`.

    Args:
        clock: the source of time.
        sessions: of all profiles; a parent with a valid session is not refreshed for its children.
        jobs: APScheduler.
        jitter: draws from 0 to 1.
    """

    def __init__(
        self,
        clock: Clock,
        sessions: SessionStore,
        jobs: BaseScheduler,
        jitter: Callable[[], float],
    ) -> None:
        self.lock = threading.RLock()
        self.jitter = jitter
        self.endpoints = StsEndpoints()
        self.profiles: Mapping[str, ScheduledProfile] = {}
        """By name. Never changed, only replaced, so that a reader needs no lock."""
        self.version = 0
        """A number that changes whenever the summary of all profiles may have changed."""
        self._failing: dict[str, ScheduledProfile] = {}
        """Profiles that have failed; some may have recovered since."""
        self._children: Mapping[str, Sequence[ScheduledProfile]] = {}
        self._clock = clock
        self._sessions = sessions
        self._jobs = jobs
        self._run: Callable[[str, float], None] = _ignore

    def set_runner(self, run: Callable[[str, float], None]) -> None:
        """Set the function of all jobs; call it before the first profile is scheduled.

        Args:
            run: called on a worker thread with the name of a profile and the moment when its
                session expires.
        """
        self._run = run

    def replace_profiles(
        self,
        profiles: Mapping[str, ScheduledProfile],
        definitions: Mapping[str, ProfileDefinition],
    ) -> None:
        """Take the profiles of a configuration, without scheduling or cancelling any.

        Args:
            profiles: by name.
            definitions: their definitions, which `profiles` may not have yet.
        """
        self.profiles = profiles
        children: dict[str, list[ScheduledProfile]] = {}
        for name, definition in definitions.items():
            if definition.parent is not None:
                children.setdefault(definition.parent, []).append(profiles[name])
        self._children = children
        self.version += 1

    def contains(self, profile: ScheduledProfile) -> bool:
        """Whether a profile is still one of the configuration."""
        return self.profiles.get(profile.name) is profile

    def parent(self, profile: ScheduledProfile) -> ScheduledProfile | None:
        """Return the managed profile that a profile is chained to; None if there is none."""
        parent = profile.definition.parent
        return None if parent is None else self.profiles.get(parent)

    def first_failure(self, profile: ScheduledProfile) -> AssumedError | None:
        """Return why the last attempt failed: in a chain, the failure of the parent."""
        error, parent = profile.failures.error, self.parent(profile)
        if isinstance(error, ParentNotReadyError) and parent is not None:
            return self.first_failure(parent)
        return error

    def mark_failing(self, profile: ScheduledProfile) -> None:
        """Record that a profile has failed."""
        self._failing[profile.name] = profile

    def failing(self) -> list[ScheduledProfile]:
        """Return the profiles whose last refresh has failed."""
        self._failing = {
            name: profile
            for name, profile in self._failing.items()
            if profile.failures.failure is not None and self.contains(profile)
        }
        return list(self._failing.values())

    def claim(self, profile: ScheduledProfile) -> None:
        """Begin an attempt: no other one is made until it has ended."""
        if profile.failures.due_since is None:
            profile.failures = replace(profile.failures, due_since=profile.due_at)
        profile.in_flight, profile.due_at = True, None
        self.version += 1

    def attempt(self, profile: ScheduledProfile) -> None:
        """Schedule an attempt now, unless one is under way.

        If the profile is chained to one without a valid session, that one is refreshed first.
        """
        if profile.in_flight:
            return
        parent = self.parent(profile)
        if parent is not None and self._sessions.remaining(parent.name) <= ZERO:
            profile.awaits_parent = True
            if not self.is_coming(parent):
                self.attempt(parent)
            return
        self.schedule_in(profile, ZERO)

    def schedule_refresh(self, profile: ScheduledProfile) -> bool:
        """Schedule a profile when its session is due; return whether the session is fresh."""
        if not profile.definition.enabled:
            self.cancel(profile)
            return False
        due_in = self._sessions.due_in(profile.definition, jitter=self.jitter())
        if due_in <= ZERO:
            self.attempt(profile)
            return False
        self.schedule_in(profile, due_in)
        return True

    def schedule_restore(self, profile: ScheduledProfile) -> None:
        """Schedule a profile to be written again, after another program has changed it."""
        # Two programs that write the same profile would otherwise keep each other busy.
        now = self._clock.boottime()
        due_at = max(now, profile.restored_at + _MIN_RESTORE_INTERVAL_SECONDS)
        profile.restored_at = due_at
        self.schedule_in(profile, timedelta(seconds=due_at - now))

    def retry_soon(self, profile: ScheduledProfile) -> None:
        """Retry a profile within a second, unless an attempt is under way."""
        if not profile.in_flight:
            self.schedule_in(profile, timedelta(seconds=self.jitter()))

    def is_coming(self, profile: ScheduledProfile) -> bool:
        """Whether a profile is being refreshed, or is next."""
        is_due = profile.due_at is not None and profile.due_at <= self._clock.boottime()
        return profile.in_flight or profile.awaits_parent or is_due

    def schedule_in(self, profile: ScheduledProfile, delay: timedelta) -> None:
        """Schedule the next attempt in place of an earlier one; none for a disabled profile."""
        if not profile.definition.enabled:
            return
        profile.awaits_parent = False
        profile.due_at = self._clock.boottime() + max(delay, ZERO).total_seconds()
        self.version += 1
        self.add_job(profile)

    def add_job(self, profile: ScheduledProfile) -> None:
        """Turn `due_at` into a job of APScheduler, which goes by the wall clock."""
        if profile.due_at is None:
            return
        session = self._sessions.get(profile.name)
        self._jobs.add_job(
            self._run,
            "date",
            run_date=wall_time(self._clock, profile.due_at),
            # The session that expires first is refreshed first.
            args=[profile.name, 0.0 if session is None else session.expires_at],
            id=profile.name,
            executor=SLOW_LANE if profile.is_slow else "default",
            replace_existing=True,
            # By default APScheduler drops a job that is over a second late.
            misfire_grace_time=None,
            # APScheduler counts a job as running until after it has scheduled the next one.
            max_instances=2**31,
        )

    def reschedule_all(self) -> None:
        """Add all jobs again after a step of the wall clock; no due time changes."""
        for profile in self.profiles.values():
            self.add_job(profile)
        self.version += 1

    def is_early(self, profile: ScheduledProfile) -> bool:
        """Whether the job has run before its time, because the wall clock was stepped."""
        if profile.due_at is None:
            return False
        return profile.due_at - self._clock.boottime() > _MAX_EARLY_SECONDS

    def cancel(self, profile: ScheduledProfile) -> None:
        """Cancel the scheduled attempt, if there is one."""
        profile.due_at = None
        self.version += 1
        with suppress(JobLookupError):
            self._jobs.remove_job(profile.name)

    def wake_children(self, parent: ScheduledProfile) -> None:
        """Schedule the profiles that wait for this one; after its failure, they report it."""
        for profile in self._children.get(parent.name, ()):
            is_idle = profile.due_at is None and not profile.in_flight
            if profile.awaits_parent or (is_idle and parent.failures.failure is None):
                self.schedule_in(profile, ZERO)


def _ignore(_name: str, _expires_at: float) -> None:
    """Do nothing: no runner was set."""
