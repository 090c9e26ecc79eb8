"""One attempt to refresh a profile: made on a worker thread, applied on the scheduler's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from assumed.clock import Clock
from assumed.engine.mfa_sessions import MfaSessionMonitor
from assumed.engine.profile_state import ScheduledProfile
from assumed.engine.refresh_policy import ZERO
from assumed.engine.refresh_queue import RefreshQueue
from assumed.engine.refresher import PreparedCall, Refresher
from assumed.errors import (
    AssumedError,
    LocalFaultError,
    StsThrottledError,
    StsUnavailableError,
    UnexpectedError,
)
from assumed.fsutil import local_fault_hint, shortage
from assumed.local_faults import LOCAL_FAULTS
from assumed.models import ProfileDefinition, RoleSession
from assumed.progress import Progress, record_progress

# An outage is over if nothing has worked for longer than this before.
_MIN_OUTAGE_SECONDS = 1.0
_UNPREPARED = PreparedCall()


@dataclass(slots=True, eq=False)
class Attempt:
    """The data of one attempt; filled in as it proceeds.

    Args:
        profile: whose session is refreshed.
        definition: as it was when the attempt began.
        started_at: in seconds of `Clock.boottime()`.
        progress: what it waits for.
        prepared: what was known before the call.
        took: how long the call took, without the write.
        session: the one that was issued.
        error: the reason why there is none, or why it could not be stored.
    """

    profile: ScheduledProfile
    definition: ProfileDefinition
    started_at: float
    progress: Progress
    prepared: PreparedCall = _UNPREPARED
    took: timedelta = ZERO
    session: RoleSession | None = None
    error: BaseException | None = None

    def result(self) -> RoleSession | AssumedError:
        """Return the session, or the error; `UnexpectedError` for a bug in assumed."""
        if self.error is None and self.session is not None:
            return self.session
        if isinstance(self.error, AssumedError):
            return self.error
        if isinstance(self.error, MemoryError | RuntimeError) and (found := shortage(self.error)):
            return LocalFaultError(str(found.strerror), hint=local_fault_hint(found))
        return internal_error(self.error)


class AttemptRunner:
    """Makes attempts on the worker threads of APScheduler; safe to use from many of them.

    Args:
        clock: the source of time.
        refresher: makes the calls.
        queue: the due times; its lock is held while they change, and never during a call.
        mfa: is kept up to date, for a call may have started an MFA session.
        deliver: called with each attempt that has ended, from any thread; it returns at once.
    """

    def __init__(
        self,
        clock: Clock,
        refresher: Refresher,
        queue: RefreshQueue,
        mfa: MfaSessionMonitor,
        deliver: Callable[[Attempt], None],
    ) -> None:
        self._clock = clock
        self._refresher = refresher
        self._queue = queue
        self._mfa = mfa
        self._endpoints = queue.endpoints
        self._deliver = deliver

    def run(self, name: str, _expires_at: float) -> None:
        """Make one attempt for a profile, if it is due.

        It returns while the session is still being written, so that the thread can make the next
        call. `deliver` gets the attempt in any case, also after an unexpected error.

        Args:
            name: of the profile.
            _expires_at: of its session; the executor takes the smallest first.
        """
        attempt = self._claim(name)
        if attempt is None:
            return
        try:
            with record_progress(attempt.progress):
                written = self._refresh(attempt)
        except BaseException as error:  # noqa: BLE001 - else the profile would stay in flight
            attempt.error = error
            if isinstance(error, LocalFaultError | MemoryError | RuntimeError):
                LOCAL_FAULTS.report(error)
            self._end(attempt)
            return
        if written is not None:
            written.add_done_callback(partial(self._written, attempt))

    def _claim(self, name: str) -> Attempt | None:
        with self._queue.lock:
            profile = self._queue.profiles.get(name)
            if profile is None or profile.in_flight or not profile.definition.enabled:
                return None
            if self._queue.is_early(profile):
                self._queue.add_job(profile)
                return None
            self._queue.claim(profile)
            now, progress = self._clock.boottime(), Progress(self._clock.boottime)
            attempt = Attempt(profile, profile.definition, now, progress)
            profile.attempt, profile.progress = attempt, progress
            return attempt

    def _refresh(self, attempt: Attempt) -> Future[None] | None:
        """Call STS and have the session stored; None if the call has to wait."""
        definition = attempt.definition
        attempt.prepared = self._refresher.prepare(definition)
        session = self._refresher.sessions.unstored(definition)
        if session is None and self._is_held_back(attempt):
            return None
        try:
            if session is None:
                session = self._assume(attempt)
                self._record_success(attempt)
                self._mfa.read_of(definition)
            attempt.session = session
            # Until the write is done, also after this thread has returned.
            attempt.progress.begin("the write of the credentials file")
            return self._refresher.store_session(definition, session)
        finally:
            attempt.took = timedelta(seconds=self._clock.boottime() - attempt.started_at)

    def _assume(self, attempt: Attempt) -> RoleSession:
        try:
            return self._refresher.assume(attempt.definition, attempt.prepared)
        except StsThrottledError:
            self._record_throttling(attempt)
            raise

    def _is_held_back(self, attempt: Attempt) -> bool:
        """Whether the rate limit delays the call; then it is scheduled for its turn."""
        profile, endpoint = attempt.profile, attempt.prepared.endpoint
        with self._queue.lock:
            profile.endpoint = endpoint
            if endpoint is None:
                return False
            now = self._clock.boottime()
            at = self._endpoints.reserve(endpoint, profile.name, now)
            if at <= now:
                return False
            profile.in_flight, profile.attempt = False, None
            if self._queue.contains(profile):
                self._queue.schedule_in(profile, timedelta(seconds=at - now))
            return True

    def _record_success(self, attempt: Attempt) -> None:
        """Record that the endpoint works; at the end of an outage, retry what failed in it.

        The others need not wait until the session is on disk.
        """
        endpoint = attempt.prepared.endpoint
        if endpoint is None:
            return
        with self._queue.lock:
            now = self._clock.boottime()
            worked_at = self._endpoints.succeeded(endpoint, now)
            if worked_at >= now - _MIN_OUTAGE_SECONDS:
                return
            for other in self._queue.profiles.values():
                if (
                    isinstance(other.failures.error, StsUnavailableError)
                    and worked_at < other.failures.since_boottime
                    and other.endpoint == endpoint
                ):
                    self._queue.retry_soon(other)

    def _record_throttling(self, attempt: Attempt) -> None:
        if attempt.prepared.endpoint is not None:
            with self._queue.lock:
                self._endpoints.throttled(attempt.prepared.endpoint, self._clock.boottime())

    def _written(self, attempt: Attempt, written: Future[None]) -> None:
        """Pass on a finished write; runs on the thread of the store."""
        try:
            attempt.error = written.exception()
        except CancelledError as error:
            attempt.error = error
        self._end(attempt)

    def _end(self, attempt: Attempt) -> None:
        """Deliver an attempt that has ended, in whatever way."""
        try:
            self._deliver(attempt)
        except BaseException:
            # The watch finds the profile.
            attempt.profile.attempt = None
            raise


def internal_error(error: BaseException | None) -> UnexpectedError:
    """Return the failure of a profile for an error that is a bug in assumed."""
    return UnexpectedError(
        f"internal error: {type(error).__name__}",
        hint="please report it with the traceback in the log",
    )
