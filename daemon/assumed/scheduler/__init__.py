"""APScheduler jobs around `refresh`: one date job a profile, armed anew whatever came of the last.

What is decided here is only who waits for whom; when is `schedule`'s to say, how is `refresh`'s.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler

from assumed.clock import Clock
from assumed.errors import (
    AssumedError,
    ParentNotReady,
    RefreshFailed,
    SourceMissing,
    SourceRejected,
    StsThrottled,
    StsUnavailable,
    UnexpectedError,
    UsageError,
)
from assumed.log import event
from assumed.model import (
    Credentials,
    Failure,
    Login,
    MfaSession,
    Outcome,
    ProfileState,
    ProfileStatus,
    RoleDefinition,
    Session,
    Source,
)
from assumed.refresh import Refresher
from assumed.schedule import retry_delay
from assumed.scheduler.notices import Happening, Notice
from assumed.scheduler.pace import Pace
from assumed.scheduler.words import still_failing

HEARTBEAT = timedelta(seconds=15)
_NOTABLE_STEP = timedelta(seconds=1)
_SHORTEST_BEAT_SECONDS = 1
_BETWEEN_SETTING_RIGHT = timedelta(seconds=10)
_NOW = timedelta(0)
# Longer than this no call takes whose endpoint is well.
_HANGS = timedelta(seconds=2)
_OUTAGE_SECONDS = 1.0
SLOW_LANE = "slow lane"
"""The executor of profiles whose last call hung."""
# What is left of a session that could not be refreshed is given to a caller down to this.
_LEAST_GIVEN = timedelta(minutes=1)
_LOGIN_ENDS_SOON = timedelta(hours=2)
# The machine slept, or something held it up.
_NOTABLY_LATE = timedelta(minutes=1)
# What goes on failing is in the log of each hour.
_SILENCE_SECONDS = 3600.0
# Somebody has to act, and as soon as they did it is tried again.
_WAITS_FOR_SOURCE = SourceMissing | SourceRejected


class HeartbeatScheduler(BackgroundScheduler):  # type: ignore[misc]
    """APScheduler's background scheduler, awake at least once each `every`.

    By itself it waits on the monotonic clock until the next job, however far that is. That clock
    stands still while the machine sleeps, and the wait knows nothing of a step of the wall clock.
    """

    def __init__(self, beat: Callable[[], None], *, every: timedelta = HEARTBEAT) -> None:
        """Arrange nothing yet.

        Args:
            beat: called from each pass over the jobs, at most once a second.
            every: how long the scheduler sleeps at the most; positive.
        """
        super().__init__(timezone="UTC")
        self._beat = beat
        self._every = every.total_seconds()
        self._last_beat = -math.inf
        self._is_asked = False

    def beat_soon(self) -> None:
        """Have `beat` called as soon as a second has gone by since it was; from any thread."""
        self._is_asked = True
        self.wakeup()

    def _process_jobs(self) -> float:
        longest = self._every
        next_beat_in = self._last_beat + _SHORTEST_BEAT_SECONDS - time.monotonic()
        if next_beat_in <= 0:
            self._last_beat = time.monotonic()
            self._is_asked = False
            self._beat()
        if self._is_asked:
            longest = max(0.0, self._last_beat + _SHORTEST_BEAT_SECONDS - time.monotonic())
        wait: float | None = None
        try:
            wait = super()._process_jobs()
        except JobLookupError:
            # A stop forgets all jobs, that one too which was handed out at this very moment.
            if self.running:
                raise
        return longest if wait is None else min(wait, longest)


@dataclass(slots=True)
class _Endpoint:
    """What all profiles of one endpoint share; guarded by the scheduler's lock."""

    pace: Pace = field(default_factory=Pace)
    succeeded_at: float = -math.inf


@dataclass(slots=True)
class _Entry:
    """What the scheduler knows of one profile; guarded by the scheduler's lock."""

    definition: RoleDefinition
    due_at: float | None = None
    """Seconds of `Clock.boottime()`; None while in flight and while it waits for somebody."""
    due_since: float | None = None
    """When the first try was due of the refresh that is under way."""
    in_flight: bool = False
    awaits_parent: bool = False
    refreshes: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    failing_from: float = math.inf
    """The same, in seconds of `Clock.boottime()`."""
    error: AssumedError | None = None
    failure: Failure | None = None
    source_fingerprint: str | None = None
    said_expired: bool = False
    told: set[Happening] = field(default_factory=set)
    """Which failures were told since the last refresh that worked."""
    warned_at: float = -math.inf
    """When the log showed the last of them."""
    access_key_id: str | None = None
    """Of the session that was written last."""
    set_right_at: float = -math.inf
    hung: bool = False
    """The last call was so slow that the next one keeps out of the others' way."""
    slot_of: int | None = None
    """The pace's generation that a slot for the next call was given out by."""
    waiters: list[Future[Outcome]] = field(default_factory=list)

    def forget_failures(self) -> None:
        """Know of none any more."""
        self.failures, self.failing_since, self.failing_from = 0, None, math.inf
        self.error, self.failure, self.due_since = None, None, None
        self.told.clear()


class RefreshScheduler:
    """Keeps every profile of a configuration fresh; safe to use from many threads."""

    def __init__(
        self,
        *,
        clock: Clock,
        refresher: Refresher,
        jobs: BaseScheduler,
        jitter: Callable[[], float],
        repeats: bool = True,
    ) -> None:
        """Arrange nothing yet.

        Args:
            clock: the source of time.
            refresher: refreshes one profile, and holds the sessions.
            jobs: APScheduler, started and shut down by the caller; `heartbeat` has to be called
                from its passes.
            jitter: draws from 0 to 1.
            repeats: plan the next refresh of each profile; else only what is asked for is done.
        """
        self._clock = clock
        self._refresher = refresher
        self._jobs = jobs
        self._jitter = jitter
        self._repeats = repeats
        self.tell: Callable[[Notice], None] = lambda _: None
        """Called with what happens to the profiles, under the lock: it has to return at once."""
        self.first_pass: Future[None] = Future()
        """Done when every profile has been tried, or was found fresh."""
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}
        self._children: dict[str, list[_Entry]] = {}
        self._untried: set[str] = set()
        self._endpoints: dict[str, _Endpoint] = {}
        self._wall_clock_offset = self._offset()
        self._said_login_ends: dict[MfaSession, datetime | None] = {}
        self._said_needs_login: set[Source] = set()

    def apply(
        self, definitions: Mapping[str, RoleDefinition], stored: Mapping[str, Credentials]
    ) -> None:
        """Take over a configuration, the first or a changed one; only what differs is planned.

        Args:
            definitions: by profile; parents of chains among them.
            stored: the credentials with our mark that the file holds.
        """
        with self._lock:
            self._refresher.define(definitions)
            self._refresher.keep(stored)
            for profile in [name for name in self._entries if name not in definitions]:
                self._drop(self._entries.pop(profile))
            changes = [
                (definition, self._entries.get(profile))
                for profile, definition in definitions.items()
            ]
            self._entries = {
                definition.profile: entry or _Entry(definition) for definition, entry in changes
            }
            self._children = {}
            for definition, _ in changes:
                if definition.parent is not None:
                    child = self._entries[definition.profile]
                    self._children.setdefault(definition.parent, []).append(child)
            enabled = {name for name, definition in definitions.items() if definition.enabled}
            new = {definition.profile for definition, entry in changes if entry is None}
            self._untried = (self._untried | new) & enabled
            for definition, entry in changes:
                if not self._repeats:
                    continue
                if entry is None:
                    self._plan(self._entries[definition.profile])
                elif entry.definition != definition:
                    self._redefine(entry, definition)
            self._look_for_first_pass()

    def refresh(
        self, profiles: Sequence[str], *, force: bool, min_left: timedelta | None = None
    ) -> dict[str, Future[Outcome]]:
        """Refresh profiles now; what is still fresh is left alone unless forced.

        Args:
            profiles: names; none for all that are enabled.
            force: also refresh what is still fresh.
            min_left: fresh is what has at least so much left; None for what is not due yet.

        Returns:
            The outcome to come of each profile.

        Raises:
            UsageError: a name that is not in the configuration, or is disabled there.
        """
        with self._lock:
            entries = [self._enabled_entry(profile) for profile in profiles] or [
                entry for entry in self._entries.values() if entry.definition.enabled
            ]
            return {
                entry.definition.profile: self._ask(entry, force=force, min_left=min_left)
                for entry in entries
            }

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        """Return a profile's credentials, refreshed first where too little of them is left.

        Where that fails, what is left of the old ones is given if it is over a minute.

        Args:
            profile: a name.
            min_left: of a session's lifetime no more than half counts, so that whoever asks for
                15 minutes of a session of 15 does not have it refreshed at each call.

        Returns:
            The credentials to come, or `RefreshFailed`.

        Raises:
            UsageError: a name that is not in the configuration, or is disabled there.
        """
        answer: Future[Credentials] = Future()
        answer.set_running_or_notify_cancel()  # As in `_ask`: whoever waits may go.
        with self._lock:
            entry = self._enabled_entry(profile)
            held = self._refresher.session(profile)
            if held is not None:
                left = self._refresher.left(profile)
                # A retry is planned: more calls by everyone who asks would not bring it sooner.
                least = _least_given(held)
                is_given = entry.failure is not None and left > least
                if is_given or left >= max(min(min_left, held.lifetime / 2), least):
                    answer.set_result(held.credentials)
                    return answer
            refreshed = self._ask(entry, force=True)
        refreshed.add_done_callback(lambda done: self._give(profile, done.result(), answer))
        return answer

    def log_in(self, profile: str, code: str) -> Login:
        """Start the MFA session that a profile hangs on; returns when STS has answered.

        Raises:
            UsageError: a name that is not in the configuration, or needs no code; no code.
            MfaCodeRefused: the code was used already, or STS does not take it.
            AssumedError: the long-term keys can't be had, STS can't be reached.
        """
        with self._lock:
            definition = self._entry(profile).definition
            login = self._refresher.mfa_session(definition)
        if login is None:
            raise UsageError(
                f"profile {profile} has no mfa_serial: it needs no code",
                hint="see `assumed status` for what it needs",
            )
        expires_at = self._refresher.logins.start(login, code)
        event(
            logging.INFO,
            "login_done",
            profile=profile,
            source=str(login),
            mfa_serial=login.serial,
            expires_at=expires_at,
        )
        return Login(profile=profile, mfa_serial=login.serial, expires_at=expires_at)

    def statuses(self, profiles: Iterable[str] = ()) -> tuple[ProfileStatus, ...]:
        """Return the status of each profile, in the order of the configuration.

        Args:
            profiles: names; none for all.

        Raises:
            UsageError: a name that is not in the configuration.
        """
        with self._lock:
            entries = [self._entry(name) for name in profiles] or list(self._entries.values())
            return tuple(self._status(entry) for entry in entries)

    def summary(self) -> tuple[int, int, datetime | None]:
        """Return how many profiles are valid, of how many, and when the next attempt is."""
        with self._lock:
            enabled = [entry for entry in self._entries.values() if entry.definition.enabled]
            valid = sum(self._state(entry) is ProfileState.VALID for entry in enabled)
            due_at = min((entry.due_at for entry in enabled if entry.due_at), default=None)
            return valid, len(enabled), None if due_at is None else self._wall_time(due_at)

    def heartbeat(self) -> None:
        """Notice what no job tells: a stepped wall clock, a changed source, an expired session."""
        with self._lock:
            offset = self._offset()
            step = offset - self._wall_clock_offset
            if abs(step) > _NOTABLE_STEP:
                self._wall_clock_offset = offset
                event(logging.INFO, "wall_clock_stepped", seconds=round(step.total_seconds()))
                for entry in self._entries.values():
                    self._arm(entry)
            for entry in self._entries.values():
                self._retry_if_source_changed(entry)
                self._say_if_expired(entry)
                self._say_if_login_ends(entry)

    def reconcile(self, stored: Mapping[str, Credentials] | None) -> None:
        """Take notice of what another program made of the file, and put right what it set back.

        Args:
            stored: the credentials with our mark that the file holds; None where it can't be read.
        """
        with self._lock:
            for entry in self._entries.values():
                definition = entry.definition
                held = self._refresher.session(definition.profile)
                if held is None or not held.is_stored or entry.in_flight or not definition.enabled:
                    continue
                found = None if stored is None else stored.get(definition.profile)
                if found is not None and found.is_same_as(held.credentials):
                    continue
                if found is not None and self._refresher.adopt(definition, found):
                    self._plan(entry)
                elif self._refresher.left(definition.profile) > _NOW:
                    self._set_right(entry, is_news=stored is not None)

    def stop(self) -> None:
        """Start no refresh any more; whoever waits for one is told."""
        with self._lock:
            for entry in self._entries.values():
                self._drop(entry)
            self._entries.clear()

    # Planning

    def _plan(self, entry: _Entry) -> None:
        """Arm a profile by what is known of its session."""
        if not entry.definition.enabled:
            self._disarm(entry)
            return
        due_in = self._refresher.due_in(entry.definition, jitter=self._jitter())
        if due_in > _NOW:
            self._untried.discard(entry.definition.profile)
            self._arm_in(entry, due_in)
        else:
            self._attempt(entry)

    def _redefine(self, entry: _Entry, definition: RoleDefinition) -> None:
        is_same_call = entry.definition.is_same_call(definition)
        entry.definition = definition
        entry.forget_failures()
        if entry.in_flight:
            return  # `_finish` sees that the definition is another one.
        if is_same_call or not definition.enabled:
            self._plan(entry)
        else:
            self._attempt(entry)

    def _ask(
        self, entry: _Entry, *, force: bool, min_left: timedelta | None = None
    ) -> Future[Outcome]:
        answer: Future[Outcome] = Future()
        answer.set_running_or_notify_cancel()  # Whoever waits may go; the refresh goes on.
        definition = entry.definition
        due_in = self._refresher.due_in(definition, jitter=0)
        is_fresh = due_in > _NOW and entry.failure is None
        if min_left is not None:
            is_fresh = self._refresher.is_in_place(definition) and (
                self._refresher.left(definition.profile) >= min_left
            )
        if is_fresh and not force:
            session = self._refresher.session(definition.profile)
            answer.set_result(
                Outcome(
                    profile=definition.profile,
                    was_fresh=True,
                    expires_at=session.credentials.expiration if session else None,
                )
            )
            return answer
        entry.waiters.append(answer)
        self._attempt(entry)
        return answer

    def _give(self, profile: str, outcome: Outcome, answer: Future[Credentials]) -> None:
        held = self._refresher.session(profile)
        if held is not None and self._refresher.left(profile) > _least_given(held):
            answer.set_result(held.credentials)
            return
        failure = outcome.failure or self._failure(
            UsageError(f"profile {profile} has no session", hint="ask again")
        )
        answer.set_exception(RefreshFailed(failure.message, hint=failure.hint, code=failure.code))

    def _attempt(self, entry: _Entry) -> None:
        """Refresh now; where the parent of a chain has no valid session, that one first."""
        if entry.in_flight:
            return
        parent = self._parent(entry)
        if parent is not None and self._refresher.left(parent.definition.profile) <= _NOW:
            entry.awaits_parent = True
            if not self._is_coming(parent):
                self._attempt(parent)
            return
        self._arm_in(entry, _NOW)

    def _parent(self, entry: _Entry) -> _Entry | None:
        parent = entry.definition.parent
        return None if parent is None else self._entries.get(parent)

    def _is_coming(self, entry: _Entry) -> bool:
        is_due = entry.due_at is not None and entry.due_at <= self._clock.boottime()
        return entry.in_flight or entry.awaits_parent or is_due

    def _arm_in(self, entry: _Entry, delay: timedelta) -> None:
        if not entry.definition.enabled:
            return
        entry.awaits_parent = False
        entry.due_at = self._clock.boottime() + max(delay, _NOW).total_seconds()
        self._arm(entry)

    def _arm(self, entry: _Entry) -> None:
        """Turn `due_at` into a job of APScheduler, which counts in the wall clock's time."""
        if entry.due_at is None:
            return
        self._jobs.add_job(
            self._run,
            "date",
            run_date=self._wall_time(entry.due_at),
            # What is least likely to last until its turn is taken first.
            args=[entry.definition.profile, self._ends_at(entry)],
            id=entry.definition.profile,
            executor=SLOW_LANE if entry.hung else "default",
            replace_existing=True,
            # By default a job that is over a second late is dropped for good.
            misfire_grace_time=None,
            # APScheduler counts a job as running until after it has armed the next one.
            max_instances=2**31,
        )

    def _disarm(self, entry: _Entry) -> None:
        entry.due_at = None
        with suppress(JobLookupError):
            self._jobs.remove_job(entry.definition.profile)

    def _drop(self, entry: _Entry) -> None:
        self._disarm(entry)
        gone = UsageError(
            f"profile {entry.definition.profile} is not refreshed any more",
            hint="it left the configuration, or the daemon is stopping",
        )
        self._answer(entry, self._failure(gone))

    # Running

    def _run(self, profile: str, _ends_at: float) -> None:
        """The job: refresh once, and whatever came of it arm the next."""
        with self._lock:
            entry = self._entries.get(profile)
            if entry is None or entry.in_flight or not entry.definition.enabled:
                return
            if entry.due_since is None:
                entry.due_since = entry.due_at
            if self._awaits_slot(entry):
                return
            entry.in_flight, entry.due_at = True, None
            definition = entry.definition
        started_at = self._clock.boottime()
        # Before the try, so that a change in the midst of it counts as one.
        source_fingerprint = self._refresher.source_fingerprint(definition)
        refreshed = self._refresher.refresh(definition)
        took = timedelta(seconds=self._clock.boottime() - started_at)

        def finish(refreshed: Future[Session]) -> None:
            result = _result(profile, refreshed)
            with self._lock:
                entry.in_flight = False
                entry.hung = took > _HANGS
                entry.source_fingerprint = source_fingerprint
                if self._entries.get(profile) is entry:
                    self._finish(entry, definition, result, took)

        if not refreshed.done() or refreshed.exception() is None:
            # STS has answered; the file is written while this thread makes the next call.
            with self._lock:
                self._know_endpoint_works(entry)
        refreshed.add_done_callback(finish)

    def _finish(
        self,
        entry: _Entry,
        definition: RoleDefinition,
        result: Session | AssumedError,
        took: timedelta,
    ) -> None:
        if not definition.is_same_call(entry.definition):
            self._attempt(entry)
            return
        if isinstance(result, AssumedError):
            parent = self._parent(entry)
            if isinstance(result, ParentNotReady) and parent and self._is_coming(parent):
                entry.awaits_parent = True
                return
            self._failed(entry, result)
            if isinstance(result, StsThrottled):
                self._endpoint(entry).pace.throttled(self._clock.boottime())
        else:
            self._succeeded(entry, result, took)
        self._untried.discard(entry.definition.profile)
        self._wake_children(entry)
        for profile in self._refresher.take_corrected():
            if not self._entries[profile].in_flight:
                self._plan(self._entries[profile])
        self._look_for_first_pass()

    def _succeeded(self, entry: _Entry, session: Session, took: timedelta) -> None:
        definition = entry.definition
        failures, failing_since = entry.failures, entry.failing_since
        now = self._clock.boottime()
        failing_for = timedelta(seconds=now - entry.failing_from) if failures else None
        late = timedelta(seconds=now - (now if entry.due_since is None else entry.due_since))
        entry.forget_failures()
        entry.said_expired = False
        self._said_needs_login.discard(definition.source)
        is_new = entry.access_key_id != session.credentials.access_key_id
        entry.access_key_id = session.credentials.access_key_id
        entry.refreshes += is_new
        name = "profile_refreshed" if is_new else "profile_rewritten"
        if self._repeats:
            self._arm_in(entry, self._refresher.due_in(definition, jitter=self._jitter()))
        event(
            logging.INFO,
            "profile_recovered" if failures else name,
            profile=definition.profile,
            role_arn=definition.role_arn,
            expires_at=session.credentials.expiration,
            seconds_left=_whole_seconds(self._refresher.left(definition.profile)),
            next_attempt_at=self._next_attempt_at(entry),
            access_key_id=session.credentials.access_key_id,
            took_seconds=round(took.total_seconds(), 3),
            late_seconds=_whole_seconds(late) if late >= _NOTABLY_LATE else None,
            failures=failures or None,
            failing_since=failing_since,
            failing_for_seconds=None if failing_for is None else _whole_seconds(failing_for),
        )
        if is_new:
            self._tell_of(entry, Happening.REFRESHED, late=late)
        if failures:
            self._tell_of(entry, Happening.RECOVERED)
        self._answer(entry, None)

    def _know_endpoint_works(self, entry: _Entry) -> None:
        """Have those try again that failed since the endpoint worked last: an outage is over."""
        now = self._clock.boottime()
        endpoint = self._endpoint(entry)
        endpoint.pace.succeeded(now)
        worked_at, endpoint.succeeded_at = endpoint.succeeded_at, now
        for other in self._entries.values() if worked_at < now - _OUTAGE_SECONDS else ():
            if (
                isinstance(other.error, StsUnavailable)
                and worked_at < other.failing_from
                and not other.in_flight
                and self._endpoint(other) is endpoint
            ):
                self._arm_in(other, timedelta(seconds=self._jitter()))

    def _failed(self, entry: _Entry, error: AssumedError) -> None:
        definition = entry.definition
        is_news = entry.failure is None or entry.failure.code != error.code
        entry.failures += 1
        entry.error, entry.failure = error, self._failure(error)
        entry.failing_since = entry.failing_since or entry.failure.at
        entry.failing_from = min(entry.failing_from, self._clock.boottime())
        session = self._refresher.session(definition.profile)
        left = self._refresher.left(definition.profile)
        delay = retry_delay(
            error.retry,
            failures=entry.failures,
            left=left,
            lifetime=timedelta(seconds=definition.duration_seconds),
            jitter=self._jitter(),
        )
        if delay is None:
            self._disarm(entry)
        elif self._repeats:
            self._arm_in(entry, delay)
        # Repeats are summed up: the 2nd, 4th, 8th… failure says how many there were.
        is_power_of_two = entry.failures & (entry.failures - 1) == 0
        now = self._clock.boottime()
        is_shown = is_news or is_power_of_two or now >= entry.warned_at + _SILENCE_SECONDS
        if is_shown:
            entry.warned_at = now
        event(
            logging.WARNING if is_shown else logging.DEBUG,
            "refresh_failed",
            profile=definition.profile,
            summary=still_failing(entry.failures, entry.failing_since, left if session else None)
            if entry.failures > 1
            else None,
            role_arn=definition.role_arn,
            error_code=error.code,
            error=error.message,
            hint=error.hint,
            attempt=entry.failures,
            failing_since=entry.failing_since if entry.failures > 1 else None,
            seconds_left=_whole_seconds(left) if session else None,
            next_attempt_at=self._next_attempt_at(entry),
            waits_for="a change of its source" if delay is None else None,
        )
        self._tell_failure(entry, error)
        self._answer(entry, entry.failure)

    def _awaits_slot(self, entry: _Entry) -> bool:
        """Whether the endpoint's pace has the call wait; then it is armed for its slot."""
        pace = self._endpoint(entry).pace
        if entry.slot_of == pace.generation:
            entry.slot_of = None
            return False
        now = self._clock.boottime()
        at = pace.slot(now)
        entry.slot_of = pace.generation if at > now else None
        if entry.slot_of is None:
            return False
        self._arm_in(entry, timedelta(seconds=at - now))
        return True

    def _endpoint(self, entry: _Entry) -> _Endpoint:
        definition = entry.definition
        name = definition.region or f"of {definition.source}"
        return self._endpoints.setdefault(name, _Endpoint())

    def _ends_at(self, entry: _Entry) -> float:
        session = self._refresher.session(entry.definition.profile)
        return 0.0 if session is None else session.expires_at

    def _wake_children(self, parent: _Entry) -> None:
        """Whoever waits for this profile goes on: after a failure, to say that it can't."""
        for entry in self._children.get(parent.definition.profile, []):
            is_waiting = entry.due_at is None and not entry.in_flight
            if entry.awaits_parent or (is_waiting and parent.failure is None):
                self._arm_in(entry, _NOW)

    def _answer(self, entry: _Entry, failure: Failure | None) -> None:
        session = self._refresher.session(entry.definition.profile)
        waiters, entry.waiters = entry.waiters, []
        for waiter in waiters:
            waiter.set_result(
                Outcome(
                    profile=entry.definition.profile,
                    expires_at=session.credentials.expiration if session else None,
                    failure=failure,
                )
            )

    def _look_for_first_pass(self) -> None:
        if not self._untried and not self.first_pass.done():
            self.first_pass.set_result(None)

    # Noticing

    def _retry_if_source_changed(self, entry: _Entry) -> None:
        if not isinstance(entry.error, _WAITS_FOR_SOURCE) or entry.in_flight:
            return
        fingerprint = self._refresher.source_fingerprint(entry.definition)
        if fingerprint != entry.source_fingerprint:
            entry.source_fingerprint = fingerprint
            event(logging.INFO, "source_changed", profile=entry.definition.profile)
            self._attempt(entry)

    def _set_right(self, entry: _Entry, *, is_news: bool) -> None:
        profile = entry.definition.profile
        self._refresher.mark_unstored(profile)
        if is_news:
            event(
                logging.WARNING,
                "profile_set_back",
                profile=profile,
                hint="another program changed it in the credentials file; it is written again",
            )
        # Two that write the same profile would otherwise keep each other busy.
        now = self._clock.boottime()
        due_at = max(now, entry.set_right_at + _BETWEEN_SETTING_RIGHT.total_seconds())
        entry.set_right_at = due_at
        self._arm_in(entry, timedelta(seconds=due_at - now))

    def _say_if_expired(self, entry: _Entry) -> None:
        if entry.failure is None or entry.said_expired:
            return
        session = self._refresher.session(entry.definition.profile)
        if session is not None and self._refresher.left(entry.definition.profile) <= _NOW:
            entry.said_expired = True
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
                next_attempt_at=self._next_attempt_at(entry),
            )
            self._tell_of(entry, Happening.EXPIRED)

    def _say_if_login_ends(self, entry: _Entry) -> None:
        login = self._refresher.mfa_session(entry.definition)
        if login is None or login.process or not entry.definition.enabled:
            return
        left = self._refresher.logins.left(login)
        if not _NOW < left <= min(_LOGIN_ENDS_SOON, login.lifetime / 2):
            return
        expires_at = self._refresher.logins.expires_at(login)
        if self._said_login_ends.get(login) != expires_at:
            self._said_login_ends[login] = expires_at
            event(
                logging.WARNING,
                "login_ends_soon",
                profile=entry.definition.profile,
                source=str(login),
                expires_at=expires_at,
                seconds_left=_whole_seconds(left),
                hint=f"`assumed login {entry.definition.profile}` starts the next session at any "
                "time before that",
            )
            self.tell(
                Notice(
                    happening=Happening.LOGIN_ENDS_SOON,
                    profile=entry.definition.profile,
                    role_arn=entry.definition.role_arn,
                    expires_at=expires_at,
                )
            )

    # Telling

    def _tell_failure(self, entry: _Entry, error: AssumedError) -> None:
        happening, is_repeat = Happening.FAILED, Happening.FAILED in entry.told
        if isinstance(error, _WAITS_FOR_SOURCE):
            # One login serves all profiles of a source.
            source = entry.definition.source
            is_repeat = Happening.NEEDS_LOGIN in entry.told or source in self._said_needs_login
            self._said_needs_login.add(source)
            happening = Happening.NEEDS_LOGIN
        entry.told.add(happening)
        self._tell_of(entry, happening, is_repeat=is_repeat)

    def _tell_of(
        self,
        entry: _Entry,
        happening: Happening,
        *,
        is_repeat: bool = False,
        late: timedelta | None = None,
    ) -> None:
        session = self._refresher.session(entry.definition.profile)
        self.tell(
            Notice(
                happening=happening,
                profile=entry.definition.profile,
                role_arn=entry.definition.role_arn,
                expires_at=session.credentials.expiration if session else None,
                failure=entry.failure,
                is_repeat=is_repeat,
                late=late,
            )
        )

    def _entry(self, profile: str) -> _Entry:
        try:
            return self._entries[profile]
        except KeyError:
            raise UsageError(
                f"profile {profile} is not in the configuration",
                hint=f"known are: {', '.join(self._entries) or 'none'}",
            ) from None

    def _enabled_entry(self, profile: str) -> _Entry:
        entry = self._entry(profile)
        if not entry.definition.enabled:
            raise UsageError(
                f"profile {profile} is disabled in the configuration",
                hint="take `enabled: false` away there",
            )
        return entry

    def _status(self, entry: _Entry) -> ProfileStatus:
        definition = entry.definition
        session = self._refresher.session(definition.profile)
        left = self._refresher.left(definition.profile)
        login = self._refresher.mfa_session(definition)
        return ProfileStatus(
            profile=definition.profile,
            role_arn=definition.role_arn,
            source=str(definition.source),
            store=definition.store,
            state=self._state(entry),
            expires_at=session.credentials.expiration if session else None,
            seconds_left=_whole_seconds(left) if session else None,
            lifetime_seconds=_whole_seconds(session.lifetime) if session else None,
            refreshed_at=session.refreshed_at if session else None,
            next_attempt_at=self._next_attempt_at(entry),
            refreshes=entry.refreshes,
            consecutive_failures=entry.failures,
            last_error=entry.failure,
            mfa_serial=login.serial if login else None,
            login_expires_at=self._refresher.logins.expires_at(login) if login else None,
        )

    def _state(self, entry: _Entry) -> ProfileState:
        profile = entry.definition.profile
        if not entry.definition.enabled:
            return ProfileState.DISABLED
        if isinstance(entry.error, _WAITS_FOR_SOURCE):
            return ProfileState.NEEDS_LOGIN
        session = self._refresher.session(profile)
        if session is not None and self._refresher.left(profile) <= _NOW:
            return ProfileState.EXPIRED
        if entry.failure is not None:
            return ProfileState.FAILING
        return ProfileState.PENDING if session is None else ProfileState.VALID

    def _failure(self, error: AssumedError) -> Failure:
        return Failure(
            code=error.code, message=error.message, hint=error.hint, at=self._clock.now()
        )

    def _next_attempt_at(self, entry: _Entry) -> datetime | None:
        return None if entry.due_at is None else self._wall_time(entry.due_at)

    def _wall_time(self, boottime: float) -> datetime:
        return self._clock.now() + timedelta(seconds=boottime - self._clock.boottime())

    def _offset(self) -> timedelta:
        """Return how the wall clock stands to the clock that never jumps."""
        epoch = datetime.fromtimestamp(0, UTC)
        return self._clock.now() - epoch - timedelta(seconds=self._clock.boottime())


def _result(profile: str, refreshed: Future[Session]) -> Session | AssumedError:
    error = refreshed.exception()
    if error is None:
        return refreshed.result()
    if isinstance(error, AssumedError):
        return error
    # A defect must not end the refreshing.
    event(logging.ERROR, "defect", profile=profile, defect=error)
    return UnexpectedError(
        f"profile {profile}: {type(error).__name__}: this is a mistake in assumed",
        hint="please report it with the traceback in the log; it is tried again",
    )


def _least_given(session: Session) -> timedelta:
    # The share is for sessions that last seconds, as those of an embedded AWS do.
    return min(_LEAST_GIVEN, session.lifetime / 10)


def _whole_seconds(left: timedelta) -> int:
    return max(0, int(left.total_seconds()))
