"""APScheduler jobs around `refresh`: one date job a profile, armed anew whatever came of the last.

What is decided here is only who waits for whom; when is `schedule`'s to say, how is `refresh`'s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from math import inf

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.base import BaseScheduler

from assumed.clock import Clock
from assumed.engine.event_log import EventLog
from assumed.engine.events import ProfileEvent
from assumed.engine.executor import SLOW_LANE
from assumed.engine.profile_state import WAITS_FOR_LOGIN, ScheduledProfile, StsEndpoint
from assumed.engine.refresh_policy import retry_delay
from assumed.engine.refresher import Refresher
from assumed.engine.status import StatusView, Summary
from assumed.errors import (
    AssumedError,
    AwsFilesUnreadableError,
    ParentNotReadyError,
    RefreshFailedError,
    SourceUnavailableError,
    StsThrottledError,
    StsUnavailableError,
    UnexpectedError,
    UsageError,
)
from assumed.logs.events import event
from assumed.models import (
    Credentials,
    Failure,
    Login,
    Outcome,
    ProfileDefinition,
    ProfileState,
    ProfileStatus,
    RoleSession,
)

_NOTABLE_STEP_SECONDS = 1.0
# Beats are that much apart where nobody slept.
_NOTABLE_PAUSE_SECONDS = 60.0
_BETWEEN_SETTING_RIGHT = timedelta(seconds=10)
_NOW = timedelta(0)
# Longer than this no call takes whose endpoint is well.
_HANGS = timedelta(seconds=2)
_OUTAGE_SECONDS = 1.0
# What is left of a session that could not be refreshed is given to a caller down to this.
_LEAST_GIVEN = timedelta(minutes=1)
# What another try can't mend, and a change of the source can.
_CHANGES_WITH_SOURCE = WAITS_FOR_LOGIN | AwsFilesUnreadableError


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
        self.first_pass: Future[None] = Future()
        """Done when every profile has been tried, or was found fresh."""
        self._lock = threading.RLock()
        self._entries: dict[str, ScheduledProfile] = {}
        self._children: dict[str, list[ScheduledProfile]] = {}
        self._untried: set[str] = set()
        self._endpoints: dict[str, StsEndpoint] = {}
        self._failing: dict[str, ScheduledProfile] = {}
        """All that have failed, and for a while some that did."""
        self._summary: Summary | None = None
        """None where something has changed since."""
        self._wall_clock_offset = self._offset()
        self._beat_at = clock.boottime()
        self._readers = StatusView(clock, refresher)
        self._chronicle = EventLog(clock, refresher, self._readers)

    def subscribe(self, observer: Callable[[ProfileEvent], None]) -> None:
        """Call `observer` with each event, under the lock: it must return at once."""
        self._chronicle.subscribe(observer)

    def update_definitions(
        self, definitions: Mapping[str, ProfileDefinition], stored: Mapping[str, Credentials]
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
                definition.profile: entry or ScheduledProfile(definition)
                for definition, entry in changes
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
            self._summary = None
            self._chronicle.follow_logins(self._entries.values())
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
            The credentials to come, or `RefreshFailedError`.

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
            MfaCodeRejectedError: the code was used already, or STS does not take it.
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
            "login_succeeded",
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
            return tuple(self._readers.status(entry) for entry in entries)

    def summary(self) -> Summary:
        """Return how many profiles are valid, of how many, and when the next attempt is."""
        with self._lock:
            if self._summary is None or self._summary.good_until <= self._clock.boottime():
                self._summary = self._summed_up()
            return self._summary

    def heartbeat(self) -> None:
        """Notice what no job tells: a stepped wall clock, a changed source, an expired session."""
        with self._lock:
            now = self._clock.boottime()
            away, self._beat_at = now - self._beat_at, now
            if away >= _NOTABLE_PAUSE_SECONDS:
                event(logging.INFO, "resumed_from_suspend", away_seconds=round(away))
            offset = self._offset()
            step = offset - self._wall_clock_offset
            if abs(step) > _NOTABLE_STEP_SECONDS:
                self._wall_clock_offset, self._summary = offset, None
                event(logging.INFO, "wall_clock_stepped", seconds=round(step))
                for entry in self._entries.values():
                    self._arm(entry)
            # Of the others there is nothing that no job would tell.
            self._failing = {
                profile: entry
                for profile, entry in self._failing.items()
                if entry.failure is not None and self._entries.get(profile) is entry
            }
            for entry in list(self._failing.values()):
                self._retry_if_source_changed(entry)
                self._chronicle.look(entry)
            self._chronicle.look_at_logins()

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
            self._chronicle.follow_logins(())

    # Planning

    def _plan(self, entry: ScheduledProfile) -> None:
        """Arm a profile by what is known of its session."""
        if not entry.definition.enabled:
            self._disarm(entry)
            return
        self._readers.note(entry)
        due_in = self._refresher.due_in(entry.definition, jitter=self._jitter())
        if due_in > _NOW:
            self._untried.discard(entry.definition.profile)
            self._arm_in(entry, due_in)
        else:
            self._attempt(entry)

    def _redefine(self, entry: ScheduledProfile, definition: ProfileDefinition) -> None:
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
        self, entry: ScheduledProfile, *, force: bool, min_left: timedelta | None = None
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
        answer.set_exception(
            RefreshFailedError(failure.message, hint=failure.hint, code=failure.code)
        )

    def _attempt(self, entry: ScheduledProfile) -> None:
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

    def _parent(self, entry: ScheduledProfile) -> ScheduledProfile | None:
        parent = entry.definition.parent
        return None if parent is None else self._entries.get(parent)

    def _is_coming(self, entry: ScheduledProfile) -> bool:
        is_due = entry.due_at is not None and entry.due_at <= self._clock.boottime()
        return entry.in_flight or entry.awaits_parent or is_due

    def _arm_in(self, entry: ScheduledProfile, delay: timedelta) -> None:
        if not entry.definition.enabled:
            return
        entry.awaits_parent = False
        entry.due_at = self._clock.boottime() + max(delay, _NOW).total_seconds()
        self._summary = None
        self._arm(entry)

    def _arm(self, entry: ScheduledProfile) -> None:
        """Turn `due_at` into a job of APScheduler, which counts in the wall clock's time."""
        if entry.due_at is None:
            return
        self._jobs.add_job(
            self._run,
            "date",
            run_date=self._readers.wall_time(entry.due_at),
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

    def _disarm(self, entry: ScheduledProfile) -> None:
        entry.due_at = None
        self._summary = None
        with suppress(JobLookupError):
            self._jobs.remove_job(entry.definition.profile)

    def _drop(self, entry: ScheduledProfile) -> None:
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
            if entry.due_at is not None and self._is_early(entry.due_at):
                self._arm(entry)
                return
            if entry.due_since is None:
                entry.due_since = entry.due_at
            if self._awaits_slot(entry):
                return
            entry.in_flight, entry.due_at = True, None
            self._summary = None
            definition = entry.definition
        started_at = self._clock.boottime()
        # Before the try, so that a change in the midst of it counts as one.
        source_fingerprint = self._refresher.source_fingerprint(definition)
        refreshed = self._refresher.refresh(definition)
        took = timedelta(seconds=self._clock.boottime() - started_at)

        def finish(refreshed: Future[RoleSession]) -> None:
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
        entry: ScheduledProfile,
        definition: ProfileDefinition,
        result: RoleSession | AssumedError,
        took: timedelta,
    ) -> None:
        if not definition.is_same_call(entry.definition):
            self._attempt(entry)
            return
        if isinstance(result, AssumedError):
            parent = self._parent(entry)
            if isinstance(result, ParentNotReadyError) and parent and self._is_coming(parent):
                entry.awaits_parent = True
                return
            if isinstance(result, ParentNotReadyError) and parent and parent.failure:
                result = result.because_of(parent.failure.code)
            self._failed(entry, result)
            if isinstance(result, StsThrottledError):
                self._endpoint(entry).pace.throttled(self._clock.boottime())
        else:
            self._succeeded(entry, result, took)
        self._untried.discard(entry.definition.profile)
        self._wake_children(entry)
        for profile in self._refresher.take_corrected():
            if not self._entries[profile].in_flight:
                self._plan(self._entries[profile])
        self._look_for_first_pass()

    def _succeeded(self, entry: ScheduledProfile, session: RoleSession, took: timedelta) -> None:
        failed = replace(entry)
        entry.forget_failures()
        entry.expired_at = None
        self._readers.note(entry)
        is_new = entry.access_key_id != session.credentials.access_key_id
        entry.access_key_id = session.credentials.access_key_id
        entry.refreshes += is_new
        if self._repeats:
            due_in = self._refresher.due_in(entry.definition, jitter=self._jitter())
            self._arm_in(entry, due_in)
        self._chronicle.refreshed(entry, session, is_new=is_new, took=took, failed=failed)
        if isinstance(failed.error, SourceUnavailableError):
            self._know_source_works(entry)
        self._answer(entry, None)

    def _know_source_works(self, entry: ScheduledProfile) -> None:
        """Have those try again that the same source had nothing for: its outage is over."""
        for other in self._entries.values():
            if (
                isinstance(other.error, SourceUnavailableError)
                and other.definition.source == entry.definition.source
                and not other.in_flight
            ):
                self._arm_in(other, timedelta(seconds=self._jitter()))

    def _know_endpoint_works(self, entry: ScheduledProfile) -> None:
        """Have those try again that failed since the endpoint worked last: an outage is over."""
        now = self._clock.boottime()
        endpoint = self._endpoint(entry)
        endpoint.pace.succeeded(now)
        worked_at, endpoint.succeeded_at = endpoint.succeeded_at, now
        for other in self._entries.values() if worked_at < now - _OUTAGE_SECONDS else ():
            if (
                isinstance(other.error, StsUnavailableError)
                and worked_at < other.failing_from
                and not other.in_flight
                and self._endpoint(other) is endpoint
            ):
                self._arm_in(other, timedelta(seconds=self._jitter()))

    def _failed(self, entry: ScheduledProfile, error: AssumedError) -> None:
        code_before = None if entry.failure is None else entry.failure.code
        entry.note_failure(error, self._failure(error), now=self._clock.boottime())
        self._failing[entry.definition.profile] = entry
        delay = retry_delay(
            error.retry,
            failures=entry.failures_of_kind,
            left=self._readers.left(entry) or _NOW,
            lifetime=timedelta(seconds=entry.definition.duration_seconds),
            jitter=self._jitter(),
        )
        if delay is None:
            self._disarm(entry)
        elif self._repeats:
            self._arm_in(entry, delay)
        self._chronicle.failed(entry, error, code_before=code_before)
        self._answer(entry, entry.failure)

    def _is_early(self, due_at: float) -> bool:
        """Whether APScheduler, which goes by the wall clock, has run a job before its time."""
        return due_at - self._clock.boottime() > _NOTABLE_STEP_SECONDS

    def _awaits_slot(self, entry: ScheduledProfile) -> bool:
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

    def _endpoint(self, entry: ScheduledProfile) -> StsEndpoint:
        definition = entry.definition
        name = definition.region or f"of {definition.source}"
        return self._endpoints.setdefault(name, StsEndpoint())

    def _ends_at(self, entry: ScheduledProfile) -> float:
        session = self._refresher.session(entry.definition.profile)
        return 0.0 if session is None else session.expires_at

    def _wake_children(self, parent: ScheduledProfile) -> None:
        """Whoever waits for this profile goes on: after a failure, to say that it can't."""
        for entry in self._children.get(parent.definition.profile, []):
            is_waiting = entry.due_at is None and not entry.in_flight
            if entry.awaits_parent or (is_waiting and parent.failure is None):
                self._arm_in(entry, _NOW)

    def _answer(self, entry: ScheduledProfile, failure: Failure | None) -> None:
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

    def _summed_up(self) -> Summary:
        enabled = [entry for entry in self._entries.values() if entry.definition.enabled]
        valid = [entry for entry in enabled if self._readers.state(entry) is ProfileState.VALID]
        sessions = [self._readers.session(entry) for entry in valid]
        due_at = min((entry.due_at for entry in enabled if entry.due_at), default=None)
        return Summary(
            valid=len(valid),
            enabled=len(enabled),
            next_attempt_at=self._readers.coming(due_at),
            good_until=min((session.expires_at for session in sessions if session), default=inf),
        )

    def _retry_if_source_changed(self, entry: ScheduledProfile) -> None:
        if not isinstance(entry.error, _CHANGES_WITH_SOURCE) or entry.in_flight:
            return
        fingerprint = self._refresher.source_fingerprint(entry.definition)
        if fingerprint != entry.source_fingerprint:
            entry.source_fingerprint = fingerprint
            event(logging.INFO, "source_changed", profile=entry.definition.profile)
            self._attempt(entry)

    def _set_right(self, entry: ScheduledProfile, *, is_news: bool) -> None:
        profile = entry.definition.profile
        self._refresher.mark_unstored(profile)
        if is_news:
            event(
                logging.WARNING,
                "profile_overwritten",
                profile=profile,
                hint="another program changed it in the credentials file; it is written again",
            )
        # Two that write the same profile would otherwise keep each other busy.
        now = self._clock.boottime()
        due_at = max(now, entry.set_right_at + _BETWEEN_SETTING_RIGHT.total_seconds())
        entry.set_right_at = due_at
        self._arm_in(entry, timedelta(seconds=due_at - now))

    def _entry(self, profile: str) -> ScheduledProfile:
        try:
            return self._entries[profile]
        except KeyError:
            raise UsageError(
                f"profile {profile} is not in the configuration",
                hint=f"known are: {', '.join(self._entries) or 'none'}",
            ) from None

    def _enabled_entry(self, profile: str) -> ScheduledProfile:
        entry = self._entry(profile)
        if not entry.definition.enabled:
            raise UsageError(
                f"profile {profile} is disabled in the configuration",
                hint="take `enabled: false` away there",
            )
        return entry

    def _failure(self, error: AssumedError) -> Failure:
        return Failure(
            code=error.code, message=error.message, hint=error.hint, at=self._clock.now()
        )

    def _offset(self) -> float:
        """Return how many seconds the wall clock is ahead of the clock that never jumps."""
        return self._clock.now().timestamp() - self._clock.boottime()


def _result(profile: str, refreshed: Future[RoleSession]) -> RoleSession | AssumedError:
    error = refreshed.exception()
    if error is None:
        return refreshed.result()
    if isinstance(error, AssumedError):
        return error
    # A defect must not end the refreshing.
    event(logging.ERROR, "internal_error", profile=profile, exc_info=error)
    return UnexpectedError(
        f"profile {profile}: {type(error).__name__}: this is a mistake in assumed",
        hint="please report it with the traceback in the log; it is tried again",
    )


def _least_given(session: RoleSession) -> timedelta:
    # The share is for sessions that last seconds, as those of an embedded AWS do.
    return min(_LEAST_GIVEN, session.lifetime / 10)
