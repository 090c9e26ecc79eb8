"""Small typed fakes of everything that touches the outside world."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from botocore.session import Session as BotocoreSession
from freezegun.api import FrozenDateTimeFactory

from assumed.engine.events import ProfileEvent
from assumed.engine.executor import SLOW_LANE
from assumed.engine.heartbeat import HEARTBEAT, HeartbeatScheduler
from assumed.engine.refresh_policy import RetriedBy
from assumed.engine.refresher import Refresher
from assumed.engine.scheduler import RefreshScheduler
from assumed.errors import (
    AssumedError,
    LongTermKeysError,
    SourceMissingError,
    SourceRejectedError,
    StsUnavailableError,
)
from assumed.models import (
    Credentials,
    ManagedProfile,
    MfaCode,
    MfaSession,
    ProfileDefinition,
    ProfileStatus,
    RootSource,
    SessionTokenResponse,
    SourceAuthentication,
    SourceCredentials,
    SourceProfile,
    TemporaryCredentials,
)
from assumed.sts.client import AssumedRole, CallerIdentity

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LONG_TERM = SourceCredentials("AKIAEXAMPLE", "long-term-secret", None)


class FakeClock:
    """A clock that only a test moves; the wall clock can be stepped alone."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now
        self._boottime = 1000.0

    def now(self) -> datetime:
        return self._now

    def boottime(self) -> float:
        return self._boottime

    def advance(self, by: timedelta) -> None:
        self._now += by
        self._boottime += by.total_seconds()

    def step_wall_clock(self, by: timedelta) -> None:
        self._now += by


class FakeSource:
    account_id: str | None = None
    # One for all: it is slow to create, and no fake reads it.
    botocore_session = BotocoreSession()

    def __init__(self, name: str, fingerprint: str) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.times_forgotten = 0
        self.own: TemporaryCredentials | None = None
        self.replaced: list[str | None] = []

    def credentials(self) -> SourceCredentials:
        return LONG_TERM

    def temporary(self, *, other_than: str | None) -> TemporaryCredentials:
        self.replaced.append(other_than)
        if self.own is None:
            raise LongTermKeysError(f"{self.name} holds long-term keys", hint="give it a role_arn")
        return self.own

    def forget(self) -> None:
        self.times_forgotten += 1


class FakeLogins:
    """MFA sessions that all expire at `ends_at`."""

    def __init__(self) -> None:
        self.clock: FakeClock | None = None
        self.ends_at: datetime | None = None
        self.codes: list[str] = []

    def expires_at(self, source: MfaSession) -> datetime | None:
        return self.ends_at

    def remaining(self, source: MfaSession) -> timedelta:
        if self.ends_at is None or self.clock is None:
            return timedelta(0)
        return self.ends_at - self.clock.now()

    def supply(self, source: MfaCode, code: str) -> None:
        self.codes.append(code)

    def start(self, source: MfaSession, code: str) -> datetime:
        self.codes.append(code)
        assert self.ends_at is not None
        return self.ends_at


class FakeSources:
    """Source profiles by name; one that is not in `known` is missing."""

    directories: frozenset[Path] = frozenset()

    @property
    def mfa(self) -> FakeLogins:
        return self.logins

    def __init__(self, *names: str) -> None:
        self.logins = FakeLogins()
        self.known = {name: FakeSource(name, f"{name} 1") for name in names}

    def resolve(self, source: RootSource, config_profiles: Sequence[str] = ()) -> Any:
        name = self._name(source)
        if name not in self.known:
            raise SourceMissingError(f"profile {name} does not exist", hint="add it")
        return self.known[name]

    def fingerprint(self, source: RootSource, config_profiles: Sequence[str] = ()) -> str | None:
        name = self._name(source)
        return self.known[name].fingerprint if name in self.known else None

    def account_id(self, source: RootSource) -> str | None:
        return self.known[self._name(source)].account_id

    def _name(self, source: RootSource) -> str:
        return source.name if isinstance(source, SourceProfile) else str(source)


class FakeSts:
    """Issues sessions; its clock is `skew` ahead of the local one."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.skew = timedelta(0)
        self.wrong_clocks: dict[str, timedelta] = {}
        """How far the clock of an endpoint is ahead of STS's, by region."""
        self.wrong_dates: dict[str, timedelta] = {}
        """How far the `Date` of an endpoint is ahead of its clock, by region."""
        self.ends: dict[str, float] = {}
        """When each session stops working, in seconds of `Clock.boottime()`, by access key id."""
        self.checked: list[str] = []
        """The profiles whose sessions were checked."""
        self.rejected: set[str] = set()
        """The access key ids of sessions that do not work any more."""
        self.failures: list[AssumedError] = []
        self.failing: dict[str, AssumedError] = {}
        self.calls: list[tuple[ProfileDefinition, SourceCredentials]] = []
        self.codes: list[tuple[str, str]] = []
        self.clock_ahead: dict[str, timedelta] = {}
        self.mfa_ahead = timedelta(0)
        self.issued_until: dict[str, datetime] = {}
        self.during_call: Callable[[ProfileDefinition], None] = lambda _: None

    def endpoint_url(self, definition: ProfileDefinition, session: BotocoreSession) -> str:
        return f"https://sts.{definition.region or 'us-east-1'}.amazonaws.com"

    def assume_role(
        self,
        definition: ProfileDefinition,
        credentials: SourceAuthentication,
        botocore_session: BotocoreSession,
    ) -> AssumedRole:
        assert isinstance(credentials, SourceCredentials)
        self.calls.append((definition, credentials))
        self.during_call(definition)
        if definition.profile in self.failing:
            raise self.failing[definition.profile]
        if self.failures:
            raise self.failures.pop(0)
        expiration = self._now(definition) + timedelta(seconds=definition.duration_seconds)
        role_session = AssumedRole(
            issued(definition, expiration, self.number), self._date(definition)
        )
        if expiration <= role_session.answered_at:
            raise StsUnavailableError("malformed", hint="wait")
        key = role_session.credentials.access_key_id
        self.ends[key] = self._clock.boottime() + definition.duration_seconds
        self.issued_until[definition.profile] = expiration
        return role_session

    def get_caller_identity(
        self,
        definition: ProfileDefinition,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> CallerIdentity:
        self.calls.append((definition, credentials))
        arn = f"arn:aws:sts::111122223333:assumed-role/own/{credentials.access_key_id}"
        return CallerIdentity(arn, self._date(definition))

    def check_session(
        self,
        definition: ProfileDefinition,
        session: Credentials,
        botocore_session: BotocoreSession,
    ) -> datetime:
        self.checked.append(definition.profile)
        if definition.profile in self.failing:
            raise self.failing[definition.profile]
        if not self.works(session):
            raise SourceRejectedError("invalid", hint="log in", code="InvalidClientTokenId")
        return self._date(definition)

    def works(self, session: Credentials) -> bool:
        key = session.access_key_id
        is_over = self.ends.get(key, math.inf) <= self._clock.boottime()
        return not is_over and key not in self.rejected

    def mfa_clock_ahead(self, source: MfaSession, botocore_session: BotocoreSession) -> timedelta:
        return self.mfa_ahead

    def _now(self, definition: ProfileDefinition) -> datetime:
        wrong = self.wrong_clocks.get(definition.region or "", timedelta(0))
        return (self._clock.now() + self.skew + wrong).replace(microsecond=0)

    def _date(self, definition: ProfileDefinition) -> datetime:
        wrong = self.wrong_dates.get(definition.region or "", timedelta(0))
        return self._now(definition) + wrong

    def get_session_token(
        self,
        source: MfaSession,
        code: str,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> SessionTokenResponse:
        self.codes.append((source.serial, code))
        if self.failures:
            raise self.failures.pop(0)
        now = (self._clock.now() + self.skew).replace(microsecond=0)
        number = len(self.codes)
        issued = TemporaryCredentials(
            f"ASIAMFA{number}", f"mfa-secret-{number}", "mfa-token", now + source.lifetime
        )
        return SessionTokenResponse(issued, now)

    @property
    def number(self) -> int:
        return len(self.calls)

    @property
    def called(self) -> list[str]:
        return [definition.profile for definition, _ in self.calls]


class Quota:
    """An endpoint that accepts `rate` calls a second, and as many at once after a pause."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens, self._at = rate, 0.0

    def accepts(self, now: float) -> bool:
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ProfilesInMemory:
    """A credentials file in memory."""

    def __init__(self) -> None:
        self.profiles: dict[str, Credentials] = {}
        self.failures: list[AssumedError] = []
        self.failing: AssumedError | None = None
        self.writes = 0
        self.unfinished: list[Future[None]] | None = None
        """If it is a list: writes that a test has to end."""

    def write(self, profile: str, credentials: Credentials, *, overwrite: bool) -> Future[None]:
        self.writes += 1
        done: Future[None] = Future()
        error = self.failing or (self.failures.pop(0) if self.failures else None)
        if error is not None:
            done.set_exception(error)
            return done
        self.profiles[profile] = credentials
        if self.unfinished is not None:
            self.unfinished.append(done)
        else:
            done.set_result(None)
        return done

    def remove(self, profiles: Sequence[str]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        for profile in profiles:
            self.profiles.pop(profile, None)


class DeferredRuns(BaseExecutor):  # type: ignore[misc]
    """Runs what APScheduler submits after its pass, as a thread would."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[tuple[Job, list[datetime]]] = []

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self.submitted.append((job, run_times))

    def run(self) -> None:
        submitted, self.submitted = self.submitted, []
        for job, run_times in submitted:
            self._run_job_success(job.id, run_job(job, "default", run_times, "tests"))


class SteppedJobs(HeartbeatScheduler):
    """The real scheduler without a thread: it makes a pass when a test calls `run_due`."""

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self._lanes = DeferredRuns(), DeferredRuns()
        for alias, lane in zip(("default", SLOW_LANE), self._lanes, strict=True):
            self.add_executor(lane, alias)

    def start(self, paused: bool = False) -> None:
        BaseScheduler.start(self, paused)

    def run_due(self) -> None:
        self._process_jobs()
        while any(lane.submitted for lane in self._lanes):
            for lane in self._lanes:
                lane.run()
            self._process_jobs()

    def next_at(self) -> datetime | None:
        return min((job.next_run_time for job in self.get_jobs()), default=None)


class Simulation:
    """The real scheduler and refresher, with fakes and a clock that only the test moves."""

    def __init__(
        self,
        frozen: FrozenDateTimeFactory,
        *,
        jitter: Callable[[], float] = lambda: 0.5,
        retried_by: RetriedBy = RetriedBy.PROCESS,
    ) -> None:
        self._frozen = frozen
        self._jitter, self._retried_by = jitter, retried_by
        self.clock = FakeClock()
        self.sources = FakeSources("keys")
        self.sources.logins.clock = self.clock
        self.sts = FakeSts(self.clock)
        self.store = ProfilesInMemory()
        self.events: list[ProfileEvent] = []
        self._create()

    def _create(self) -> None:
        self.refresher = Refresher(
            clock=self.clock, sources=self.sources, sts=self.sts, store=self.store
        )
        self.jobs = SteppedJobs()
        self.scheduler = RefreshScheduler(
            clock=self.clock,
            refresher=self.refresher,
            jobs=self.jobs,
            jitter=self._jitter,
            retried_by=self._retried_by,
        )
        self.is_intact = True
        """Whether no profile was lost after the last heartbeat."""
        self.scheduler.subscribe(self.events.append)

    def start(
        self, *definitions: ProfileDefinition, stored: Mapping[str, Credentials] | None = None
    ) -> None:
        self.update_definitions(*definitions, stored=stored)
        self.jobs.start()
        self.jobs.run_due()

    def restart(self, *definitions: ProfileDefinition) -> None:
        """Replace the scheduler by another one, which finds what this one has stored."""
        self.scheduler.stop()
        self._create()
        self.start(*definitions, stored=dict(self.store.profiles))

    def update_definitions(
        self, *definitions: ProfileDefinition, stored: Mapping[str, Credentials] | None = None
    ) -> None:
        by_profile = {definition.profile: definition for definition in definitions}
        self.scheduler.update_definitions(by_profile, stored or {})

    def run_for(
        self,
        span: timedelta,
        *,
        at_each_stop: Callable[[], None] = lambda: None,
        every: timedelta = HEARTBEAT,
    ) -> None:
        """Let time pass, with a stop at each job and heartbeat, as the real scheduler wakes."""
        end = self.clock.now() + span
        while (now := self.clock.now()) < end:
            stop = min(end, now + every, max(self.jobs.next_at() or end, now))
            self.pass_time(stop - now)
            at_each_stop()
            # A standalone command has no heartbeat.
            if self._retried_by is not RetriedBy.USER:
                self.is_intact = self.scheduler.heartbeat()
            self.jobs.run_due()
            at_each_stop()
            if (next_at := self.jobs.next_at()) is not None and next_at <= self.clock.now():
                # It was not run, which the real scheduler tries again after a second.
                self.pass_time(min(timedelta(seconds=1), max(end - self.clock.now(), timedelta(0))))

    def pass_time(self, span: timedelta) -> None:
        """Let time pass without a stop, as in a suspend."""
        self.clock.advance(span)
        self._frozen.tick(span)

    def step_wall_clock(self, by: timedelta) -> None:
        self.clock.step_wall_clock(by)
        self._frozen.tick(by)

    def status(self, profile: str) -> ProfileStatus:
        return self.scheduler.statuses([profile])[0]


def role(profile: str, *, parent: str | None = None, **changes: Any) -> ProfileDefinition:
    """Return a definition with default values, except for `changes`."""
    fields: dict[str, Any] = {
        "profile": profile,
        "role_arn": f"arn:aws:iam::111122223333:role/{profile}",
        "source": SourceProfile("keys") if parent is None else ManagedProfile(parent),
        "role_session_name": "assumed-me@here",
    }
    return ProfileDefinition(**{**fields, **changes})


def issued(definition: ProfileDefinition, expiration: datetime, number: int = 1) -> Credentials:
    """Return credentials as STS issues them for a definition; they differ by `number`."""
    assert definition.role_arn is not None
    _, partition, _, _, account, path = definition.role_arn.split(":", 5)
    name = path.rsplit("/", 1)[-1]
    return Credentials(
        access_key_id=f"ASIA{definition.profile.upper()}{number}",
        secret_access_key=f"secret-{definition.profile}-{number}",
        session_token=f"token-{definition.profile}-{number}",
        expiration=expiration,
        principal_arn=(
            f"arn:{partition}:sts::{account}:assumed-role/{name}/{definition.role_session_name}"
        ),
    )
