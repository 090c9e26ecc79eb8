"""A day with a fault every few minutes, in a time that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freezegun import freeze_time

from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    CredentialsFileUnwritableError,
    SourceRejectedError,
    StsThrottledError,
    StsUnavailableError,
)
from assumed.models import ProfileDefinition, ProfileState
from tests.fakes import NOON, Simulation, role

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
# The longest step of a back-off, of a denial as well.
_MAX_RECOVERY = 5 * MINUTE
_MAX_CALM, _MAX_FAULT = 12 * MINUTE, 9 * MINUTE
_OWN_REGION = "eu-west-1"
"""Has an STS of its own, whose clock may be wrong all day."""
_WRONG_CLOCKS = [timedelta(0), -3650 * DAY, -40 * MINUTE, 40 * MINUTE, 9 * HOUR]


def profiles() -> list[ProfileDefinition]:
    """Return plain profiles, a chain, a short and a long one, one of another region."""
    return [
        role("a"),
        role("b", region=_OWN_REGION),
        role("child", parent="a"),
        role("grandchild", parent="child"),
        role("long", duration_seconds=4 * 3600),
        role("short", duration_seconds=900),
    ]


@dataclass
class Report:
    """The result of a day. All lists but `faults` should be empty.

    Args:
        minutes_checked: how many times the profiles that were `valid` were checked.
        minutes_unknowable: how often a session did not work, while its STS could not be asked
            since the daemon was started with a clock that was behind, and still was.
    """

    expired: list[str] = field(default_factory=list)
    """Sessions that expired in the file after a fifth of their lifetime without a fault."""
    called_too_often: list[str] = field(default_factory=list)
    not_recovered: list[str] = field(default_factory=list)
    """Profiles that were not valid five minutes after the last fault."""
    recovered_after: timedelta = timedelta(0)
    """How long after the last fault all profiles were valid."""
    faults: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    """Profiles that were `valid` in a minute in which their session did not work."""
    minutes_checked: int = 0
    minutes_unknowable: int = 0


class Day:
    """One day; its faults depend on the seed alone."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same day for the same seed
        self.report = Report()
        self._works_since: dict[str, datetime] = {}
        self._calls: dict[str, list[datetime]] = {}
        self._reported: set[tuple[str, datetime]] = set()
        self._kinds: list[Callable[[timedelta], None]] = [
            self._outage,
            self._outage,
            self._throttling,
            self._denial,
            self._rejected_keys,
            self._missing_source,
            self._full_disk,
            self._suspend,
            self._wall_clock,
            self._other_writer,
            self._reload,
            self._restart,
            self._boot,
            self._wrong_date,
        ]
        self._checked_at = 0.0
        self._stops = 0
        self._is_behind_since_start = False
        """Whether the daemon was started with a wall clock that was behind, and still is."""

    def simulate(self) -> Report:
        """Simulate the day and the five minutes after its last fault."""
        with freeze_time(NOON) as frozen:
            self._simulation = simulation = Simulation(
                frozen,  # type: ignore[arg-type]  # the clock does not tick
                jitter=self._random.random,
            )
            self._definitions = profiles()
            simulation.sts.during_call = self._note_call
            simulation.sts.wrong_clocks[_OWN_REGION] = self._random.choice(_WRONG_CLOCKS)
            simulation.start(*self._definitions)
            self._now_works(*self._names)
            end = simulation.clock.boottime() + DAY.total_seconds()
            while simulation.clock.boottime() < end:
                self._run_for(self._random.random() * _MAX_CALM)
                kind = self._random.choice(self._kinds)
                span = self._random.random() * _MAX_FAULT
                self.report.faults.append(kind.__name__)
                kind(span)
            while self._not_valid() and self.report.recovered_after < _MAX_RECOVERY:
                self._run_for(timedelta(seconds=5))
                self.report.recovered_after += timedelta(seconds=5)
            self.report.not_recovered = self._not_valid()
        return self.report

    def _not_valid(self) -> list[str]:
        return [
            f"{status.profile} is {status.state}"
            for status in self._simulation.scheduler.statuses()
            if status.state is not ProfileState.VALID
        ]

    @property
    def _names(self) -> list[str]:
        return [definition.profile for definition in self._definitions]

    def _run_for(self, span: timedelta) -> None:
        self._simulation.run_for(span, at_each_stop=self._at_stop)

    def _now_works(self, *names: str) -> None:
        for name in names:
            self._works_since[name] = self._simulation.clock.now()

    def _fail(self, error: AssumedError, names: list[str], span: timedelta) -> None:
        # A chain fails with the profile that it depends on.
        broken = {*names, *({"child", "grandchild"} if "a" in names else ())}
        for name in names:
            self._simulation.sts.failing[name] = error
        for name in broken:
            self._works_since.pop(name, None)
        self._run_for(span)
        for name in names:
            del self._simulation.sts.failing[name]
        self._now_works(*broken)

    def _outage(self, span: timedelta) -> None:
        self._fail(StsUnavailableError("no answer", hint="wait"), self._names, span)

    def _throttling(self, span: timedelta) -> None:
        self._fail(StsThrottledError("too many calls", hint="wait"), self._names, span)

    def _denial(self, span: timedelta) -> None:
        name = self._random.choice(self._names)
        self._fail(AssumeRoleDeniedError("no", hint="ask"), [name], span)

    def _rejected_keys(self, span: timedelta) -> None:
        error = SourceRejectedError("no", hint="replace them", code="InvalidClientTokenId")
        self._fail(error, self._names, span)

    def _missing_source(self, span: timedelta) -> None:
        source = self._simulation.sources.known.pop("keys")
        self._works_since.clear()
        self._run_for(span)
        self._simulation.sources.known["keys"] = source
        self._now_works(*self._names)

    def _full_disk(self, span: timedelta) -> None:
        self._simulation.store.failing = CredentialsFileUnwritableError("full", hint="free some")
        self._works_since.clear()
        self._run_for(span)
        self._simulation.store.failing = None
        self._now_works(*self._names)

    def _suspend(self, span: timedelta) -> None:
        self._works_since.clear()
        self._simulation.pass_time(span * 20)
        self._now_works(*self._names)

    def _wall_clock(self, span: timedelta) -> None:
        self._step(self._random.choice([-1, 1]) * span * 160)

    def _step(self, by: timedelta) -> None:
        self._simulation.step_wall_clock(by)
        self._simulation.sts.skew -= by
        self._calls.clear()
        for name in self._works_since:
            self._works_since[name] += by

    def _restart(self, _: timedelta) -> None:
        """Restart after a session was revoked, and maybe with a wrong clock until the next one."""
        self._step(self._random.choice([0, -1, 1]) * self._random.random() * DAY)
        stored = self._simulation.store.profiles
        revoked = stored.get(self._random.choice(self._names))
        if revoked is not None:
            self._simulation.sts.rejected.add(revoked.access_key_id)
        self._simulation.restart(*self._definitions)

    def _boot(self, span: timedelta) -> None:
        """Start without a network and with a clock that is behind; both come later, in any order.

        The clock is that of the last shutdown, or days behind.
        """
        self._set_clock()
        self._step(-self._random.choice([self._random.random() * HOUR, 9 * DAY]))
        self._is_behind_since_start = True
        for name in self._names:
            self._simulation.sts.failing[name] = StsUnavailableError("no answer", hint="wait")
        self._works_since.clear()
        self._simulation.restart(*self._definitions)
        arrivals = [self._connect, self._set_clock]
        self._random.shuffle(arrivals)
        for arrive in arrivals:
            self._run_for(span / 2)
            arrive()

    def _connect(self) -> None:
        self._simulation.sts.failing.clear()
        self._now_works(*self._names)

    def _set_clock(self) -> None:
        self._step(self._simulation.sts.skew)
        self._is_behind_since_start = False

    def _wrong_date(self, span: timedelta) -> None:
        """Let a proxy change the `Date` of one endpoint."""
        self._works_since.pop("b", None)
        self._simulation.sts.wrong_dates[_OWN_REGION] = self._random.choice(_WRONG_CLOCKS)
        self._run_for(span)
        del self._simulation.sts.wrong_dates[_OWN_REGION]
        self._now_works("b")

    def _other_writer(self, _: timedelta) -> None:
        stored = self._simulation.store.profiles
        stored.pop(self._random.choice(self._names), None)
        self._simulation.scheduler.reconcile(stored)

    def _reload(self, _: timedelta) -> None:
        index = self._random.randrange(2)
        changed = role(
            self._names[index],
            region=self._definitions[index].region,
            external_id=f"changed-{self._random.random()}",
        )
        self._definitions[index] = changed
        self._simulation.update_definitions(
            *self._definitions, stored=self._simulation.store.profiles
        )

    def _note_call(self, definition: ProfileDefinition) -> None:
        now = self._simulation.clock.now()
        calls = self._calls.setdefault(definition.profile, [])
        calls[:] = [at for at in calls if now - at < MINUTE] + [now]
        # A back-off makes nine attempts in its first minute on average. In the last minute of a
        # session, delays of a fifth of what remains (but at least a second) make 35.
        if len(calls) > 60:
            self.report.called_too_often.append(f"{definition.profile} at {now}")

    def _at_stop(self) -> None:
        self._check()
        self._stops += 1
        # Each second stop is after a heartbeat, which notices a step of the clock.
        is_next_minute = self._simulation.clock.boottime() >= self._checked_at + 60
        if self._stops % 2 == 0 and is_next_minute:
            self._checked_at = self._simulation.clock.boottime()
            self._check_status()

    def _check_status(self) -> None:
        """Check that each profile that is `valid` has a session that works now."""
        simulation = self._simulation
        self.report.minutes_checked += 1
        for status in simulation.scheduler.statuses():
            stored = simulation.store.profiles.get(status.profile)
            if status.state is not ProfileState.VALID or stored is None:
                continue
            if not simulation.sts.works(stored):
                if self._is_behind_since_start and not self._could_recover(status.profile):
                    self.report.minutes_unknowable += 1
                else:
                    self.report.untrue.append(f"{status.profile} at {simulation.clock.now()}")

    def _could_recover(self, profile: str) -> bool:
        """Whether STS has been there for longer than between two retries."""
        since = self._works_since.get(profile)
        return since is not None and self._simulation.clock.now() - since > _MAX_RECOVERY

    def _check(self) -> None:
        simulation = self._simulation
        now = simulation.clock.now()
        for definition in self._definitions:
            stored = simulation.store.profiles.get(definition.profile)
            works_since = self._works_since.get(definition.profile)
            if stored is None or works_since is None:
                continue
            ended = simulation.sts.ends[stored.access_key_id] <= simulation.clock.boottime()
            fifth = timedelta(seconds=definition.duration_seconds) / 5
            if (
                ended
                and now - works_since > fifth
                and (stored.access_key_id, now) not in self._reported
            ):
                self._reported.add((stored.access_key_id, now))
                self.report.expired.append(f"{definition.profile} at {now}")
