"""The engine's interface: keeps the profiles of a configuration refreshed.

| to change | open |
| --- | --- |
| when a refresh or a retry is due | `refresh_policy` |
| the order of chains, the jobs of APScheduler | `refresh_queue` |
| the calls to STS, rate limits, outages | `attempts`, `refresher`, `sts_endpoints` |
| the consequences of a result | `completions` |
| the sessions and their expiration | `session_store` |
| whether a session from the file still works | `session_checks` |
| log messages, the status | `event_log`, `status` |

The queue's lock guards the state of the profiles. No thread that holds it reads a file or uses the
network, and a status is read without it. Requests and attempts that have ended arrive in an inbox.
The thread of APScheduler processes the inbox; no other thread applies a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from datetime import timedelta
from difflib import get_close_matches
from functools import partial

from assumed.clock import Clock
from assumed.engine.attempts import Attempt, AttemptRunner
from assumed.engine.completions import CompletionHandler
from assumed.engine.event_log import EventLog
from assumed.engine.events import ProfileEvent
from assumed.engine.heartbeat import HeartbeatScheduler, Inbox
from assumed.engine.heartbeat_checks import Heartbeat, HeartbeatChecks
from assumed.engine.internal_errors import InternalErrors, Part
from assumed.engine.logins import LoginHandler
from assumed.engine.mfa_sessions import MfaSessionMonitor
from assumed.engine.profile_state import FailureStreak, ScheduledProfile
from assumed.engine.reconciliation import reconcile
from assumed.engine.refresh_policy import RetriedBy, is_temporary
from assumed.engine.refresh_queue import RefreshQueue
from assumed.engine.refresher import Refresher
from assumed.engine.requests import (
    CredentialsRequest,
    ProfileRequest,
    RefreshRequest,
    no_longer_refreshed,
)
from assumed.engine.schedule_watch import ScheduleWatch
from assumed.engine.session_checks import SessionCheck, SessionChecker
from assumed.engine.status import StatusView, Summary
from assumed.errors import UsageError
from assumed.models import (
    Credentials,
    Failure,
    Login,
    Outcome,
    ProfileDefinition,
    ProfileStatus,
)

_Answer = Callable[[], None]
"""Answers a request; called without the lock, since it runs the callbacks of a client."""


class FirstPass:
    """Tracks which profiles have not been tried yet; only `check` is called without the lock."""

    def __init__(self) -> None:
        self.done: Future[None] = Future()
        """Done when every profile has been tried, or was found fresh."""
        self._untried: set[str] = set()

    def expect(
        self, definitions: Mapping[str, ProfileDefinition], *, new: AbstractSet[str]
    ) -> None:
        """Take a configuration: its new profiles are not tried yet, disabled ones never are."""
        enabled = {name for name, definition in definitions.items() if definition.enabled}
        self._untried = (self._untried | new) & enabled

    def tried(self, profile: str) -> None:
        """Record that a profile has been tried, or is fresh."""
        self._untried.discard(profile)

    def check(self) -> None:
        """Mark the first pass as done once every profile has been tried."""
        if self._untried or self.done.done():
            return
        # Two threads may have come this far.
        with suppress(InvalidStateError):
            self.done.set_result(None)


class RefreshScheduler:
    """Keeps every profile of a configuration refreshed; safe to use from many threads."""

    def __init__(
        self,
        *,
        clock: Clock,
        refresher: Refresher,
        jobs: HeartbeatScheduler,
        jitter: Callable[[], float],
        retried_by: RetriedBy = RetriedBy.PROCESS,
    ) -> None:
        """Create a scheduler without profiles.

        Args:
            clock: the source of time.
            refresher: makes the calls, and has the sessions.
            jobs: started and shut down by the caller; its beat has to call `heartbeat` if
                this scheduler repeats its refreshes.
            jitter: draws from 0 to 1.
            retried_by: who retries a failed refresh; if it is the user, none is scheduled at all.
        """
        self._clock = clock
        self._refresher = refresher
        self._repeats = retried_by is not RetriedBy.USER
        self._inbox = Inbox[Attempt | ProfileRequest | SessionCheck](jobs.wakeup)
        self._queue = RefreshQueue(clock, refresher.sessions, jobs, jitter)
        self._mfa = MfaSessionMonitor(clock, refresher)
        self._view = StatusView(clock, refresher, self._mfa)
        self._events = EventLog(clock, self._view, jobs.errors)
        self._completions = CompletionHandler(
            clock, refresher.sessions, self._queue, self._events, retried_by=retried_by
        )
        self._session_checks = SessionChecker(clock, refresher, self._queue, jobs, self._inbox.put)
        checks = HeartbeatChecks(clock, refresher, self._queue, self._mfa, self._events)
        watch = ScheduleWatch(clock, self._queue, refresher.sessions, jobs)
        self._heartbeat = Heartbeat(checks, self._session_checks, watch, self._events)
        self.first_pass = FirstPass()
        runner = AttemptRunner(clock, refresher, self._queue, self._mfa, self._inbox.put)
        self._queue.set_runner(runner.run)
        jobs.on_pass(self._process_inbox)

    @property
    def errors(self) -> InternalErrors:
        """The errors of this program that were caught."""
        return self._events.errors

    def subscribe(self, observer: Callable[[ProfileEvent], None]) -> None:
        """Call `observer` with each event, on the scheduler's thread: it must return soon."""
        self._events.subscribe(observer)

    def update_definitions(
        self, definitions: Mapping[str, ProfileDefinition], stored: Mapping[str, Credentials]
    ) -> None:
        """Take a configuration, the first or a changed one; only what differs is scheduled.

        Not for an event loop: it takes the lock, and reads the files of MFA sessions.

        Args:
            definitions: by profile; parents of chains among them.
            stored: the credentials with our mark that the file holds.
        """
        answers: list[_Answer] = []
        with self._queue.lock:
            self._refresher.set_definitions(definitions)
            with self.errors.caught(Part.REFRESH):
                self._refresher.sessions.load_stored_sessions(stored)
            before = self._queue.profiles
            for name, profile in before.items():
                if name not in definitions:
                    answers += self._drop(profile)
            profiles = {
                name: before.get(name) or ScheduledProfile(definition)
                for name, definition in definitions.items()
            }
            self._queue.replace_profiles(profiles, definitions)
            self.first_pass.expect(definitions, new=definitions.keys() - before.keys())
            for name, definition in definitions.items() if self._repeats else ():
                with self.errors.caught(Part.REFRESH, profile=name):
                    if name not in before:
                        self._schedule(profiles[name])
                    elif profiles[name].definition != definition:
                        answers += self._redefine(profiles[name], definition)
            self._mfa.track(profiles.values())
        self._mfa.read()
        self.first_pass.check()
        for answer in answers:
            answer()

    def refresh(
        self,
        profiles: Sequence[str],
        *,
        force: bool,
        min_left: timedelta | None = None,
        persists: bool = False,
    ) -> dict[str, Future[Outcome]]:
        """Refresh profiles now; what is still fresh is left alone unless forced.

        May be called from an event loop: it takes no lock.

        Args:
            profiles: names; none for all that are enabled.
            force: also refresh what is still fresh.
            min_left: a session is fresh if it has this much remaining; None if it is not due.
            persists: a throttled or unreachable STS is no outcome: wait for the retries.

        Returns:
            The future outcome of each profile.

        Raises:
            UsageError: a name that is not in the configuration, or is disabled there.
        """
        known = self._queue.profiles
        names = [_enabled(known, name).name for name in profiles] or [
            profile.name for profile in known.values() if profile.definition.enabled
        ]
        requests = [RefreshRequest(name, force, min_left, persists) for name in names]
        for request in requests:
            self._submit(known[request.profile], request)
        return {request.profile: request.future for request in requests}

    def credentials(
        self, profile: str, *, min_left: timedelta, persists: bool = False
    ) -> Future[Credentials]:
        """Return a profile's credentials, refreshed first if too little remains of them.

        If the refresh fails, the old ones are returned while they last for over a minute. May be
        called from an event loop: it takes no lock.

        Args:
            profile: a name.
            min_left: how long they must still last; at most half of a session's lifetime counts.
            persists: a throttled or unreachable STS is no failure: wait for the retries.

        Returns:
            The future credentials; it fails with `RefreshFailedError`.

        Raises:
            UsageError: a name that is not in the configuration, or is disabled there.
        """
        request = CredentialsRequest(profile, min_left, persists)
        self._submit(_enabled(self._queue.profiles, profile), request)
        return request.future

    def log_in(self, profile: str, code: str) -> Login:
        """Start the MFA session that a profile depends on; returns once STS has answered.

        Not for an event loop: it uses the network.

        Raises:
            UsageError: the profile is not in the configuration, or needs no code; not a code.
            AssumedError: STS rejects the code or cannot be reached, or there are no keys.
        """
        logins = LoginHandler(
            self._refresher,
            self._mfa,
            self._events,
            lambda name: self.refresh([name], force=True)[name].result(),
        )
        return logins.log_in(_find(self._queue.profiles, profile).definition, code)

    def statuses(self, profiles: Iterable[str] = ()) -> tuple[ProfileStatus, ...]:
        """Return the status of each profile, in the order of the configuration.

        May be called from an event loop: it takes no lock and reads no file.

        Args:
            profiles: names; none for all.

        Raises:
            UsageError: a name that is not in the configuration.
        """
        known = self._queue.profiles
        chosen = [_find(known, name) for name in profiles] or list(known.values())
        return tuple(self._view.status(profile) for profile in chosen)

    def summary(self) -> Summary:
        """Return how many profiles are valid, of how many, and when the next attempt is.

        May be called from an event loop: it takes no lock and reads no file.
        """
        return self._view.summary(self._queue.profiles.values(), version=self._queue.version)

    def heartbeat(self) -> bool:
        """Notice what no job reports: a stepped clock, a changed source, an expired session.

        Called by the scheduler's own thread, once a second at most. It reads files, never raises,
        and returns whether every enabled profile will be refreshed.
        """
        return self._heartbeat.run()

    def reconcile(self, stored: Mapping[str, Credentials] | None) -> None:
        """Adopt or undo what another program has changed in the file.

        Not for an event loop: it takes the lock.

        Args:
            stored: the credentials with our mark that the file holds; None if it can't be read.
        """
        with self._queue.lock:
            reconcile(stored, self._queue, self._refresher.sessions, self._events)
        self._events.publish()

    def stop(self) -> None:
        """Start no further refresh; pending requests fail.

        Not for an event loop: it takes the lock.
        """
        answers: list[_Answer] = []
        with self._queue.lock:
            for profile in self._queue.profiles.values():
                answers += self._drop(profile)
            self._queue.replace_profiles({}, {})
            self._mfa.track(())
            self._inbox.close()
        for answer in answers:
            answer()
        self._process_inbox()

    def _submit(self, profile: ScheduledProfile, request: ProfileRequest) -> None:
        sessions = self._refresher.sessions
        if request.is_satisfied(profile.definition, profile.failures.failure, sessions):
            request.answer(sessions, was_fresh=True)
            return
        self._inbox.put(request)
        if self._inbox.is_closed:
            self._process_inbox()

    def _process_inbox(self) -> None:
        """Apply the attempts that have ended, and accept requests; never raises."""
        for item in self._inbox.drain():
            answers: list[_Answer] = []
            with self.errors.caught(Part.SCHEDULER), self._queue.lock:
                match item:
                    case Attempt():
                        # First of all, so that the watch finds the profile if this goes wrong.
                        item.profile.attempt = None
                        answers = self._complete(item)
                    case SessionCheck():
                        self._session_checks.apply(item)
                    case _:
                        answers = self._accept(item)
            self._events.publish()
            with self.errors.caught(Part.SCHEDULER):
                self.first_pass.check()
            for answer in answers:
                with self.errors.caught(Part.SCHEDULER):
                    answer()

    def _complete(self, attempt: Attempt) -> list[_Answer]:
        profile = attempt.profile
        if not self._completions.apply(attempt):
            return []
        self.first_pass.tried(profile.name)
        self._queue.wake_children(profile)
        may_pass = is_temporary(self._queue.first_failure(profile))
        return self._pop_answers(profile, profile.failures.failure, may_pass=may_pass)

    def _accept(self, request: ProfileRequest) -> list[_Answer]:
        sessions = self._refresher.sessions
        profile = self._queue.profiles.get(request.profile)
        if profile is None or not profile.definition.enabled:
            failure = no_longer_refreshed(self._clock.now())
            return [partial(request.answer, sessions, failure)]
        if request.is_satisfied(profile.definition, profile.failures.failure, sessions):
            return [partial(request.answer, sessions, was_fresh=True)]
        profile.requests.append(request)
        self._queue.attempt(profile)
        return []

    def _schedule(self, profile: ScheduledProfile) -> None:
        """Schedule a profile when its session is due."""
        if self._queue.schedule_refresh(profile):
            self.first_pass.tried(profile.name)

    def _redefine(self, profile: ScheduledProfile, definition: ProfileDefinition) -> list[_Answer]:
        is_same_call = profile.definition.is_same_call(definition)
        profile.definition = definition
        profile.failures = FailureStreak(expired_at=profile.failures.expired_at)
        if not definition.enabled:
            return self._drop(profile)
        # An attempt that is under way notices the new definition when it ends.
        if not profile.in_flight:
            if is_same_call:
                self._schedule(profile)
            else:
                self._queue.attempt(profile)
        return []

    def _drop(self, profile: ScheduledProfile) -> list[_Answer]:
        self._queue.cancel(profile)
        return self._pop_answers(profile, no_longer_refreshed(self._clock.now()))

    def _pop_answers(
        self, profile: ScheduledProfile, failure: Failure | None, *, may_pass: bool = False
    ) -> list[_Answer]:
        sessions = self._refresher.sessions
        requests = profile.pop_requests(failure, sessions, may_pass=may_pass)
        return [partial(request.answer, sessions, failure) for request in requests]


def require_enabled(definitions: Mapping[str, ProfileDefinition], profiles: Iterable[str]) -> None:
    """Require that profiles are defined and enabled.

    Raises:
        UsageError: one is not in the configuration, or is disabled there.
    """
    for name in profiles:
        definition = definitions.get(name)
        if definition is None:
            raise _unknown(name, definitions)
        if not definition.enabled:
            raise UsageError(
                f"profile {name} is disabled in the configuration",
                hint="remove `enabled: false` there",
            )


def _find(profiles: Mapping[str, ScheduledProfile], name: str) -> ScheduledProfile:
    try:
        return profiles[name]
    except KeyError:
        raise _unknown(name, profiles) from None


def _enabled(profiles: Mapping[str, ScheduledProfile], name: str) -> ScheduledProfile:
    profile = _find(profiles, name)
    require_enabled({name: profile.definition}, [name])
    return profile


def _unknown(name: str, known: Iterable[str]) -> UsageError:
    names = list(known)
    nearest = get_close_matches(name, names, 1)
    hint = f"defined profiles: {', '.join(names) or 'none'}"
    return UsageError(
        f"profile {name} is not in the configuration",
        hint=f"did you mean {nearest[0]}? {hint}" if nearest else hint,
    )
