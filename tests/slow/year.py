"""A year with faults of all kinds, in a time that only the simulation moves."""

from __future__ import annotations

import errno
import logging
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MethodType
from typing import Any

from freezegun import freeze_time

from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    AwsFilesUnreadableError,
    CredentialsFileMalformedError,
    CredentialsFileUnwritableError,
    LocalFaultError,
    SourceMissingError,
    StsThrottledError,
    StsUnavailableError,
)
from assumed.logs.background import BackgroundHandler
from assumed.logs.destinations import FailoverHandler
from assumed.models import ProfileDefinition, ProfileState, StorageMode
from tests.fakes import NOON, Simulation, role

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
YEAR = 365 * DAY
MAX_RECOVERY = 5 * MINUTE
"""How long after a fault everything is fresh again: the longest step of a back-off."""
MAX_NEW_ELEMENTS = 20
"""How far the tables of the engine may differ between months: the last failures are kept."""
_CALM = 8 * HOUR
_MAX_FAULT = 10 * MINUTE
_MAX_RESTORE_SECONDS = 15
_TWELVE_HOURS = 12 * 3600
_RESOURCES = [
    LocalFaultError(f"~/.aws/config: {text}", hint="wait")
    for text in ("Too many open files", "Cannot allocate memory", "Input/output error")
]


def _definitions() -> list[ProfileDefinition]:
    """Return profiles of twelve hours, but one: a year of one-hour sessions takes minutes."""
    return [
        role("a", duration_seconds=_TWELVE_HOURS),
        role("b", duration_seconds=_TWELVE_HOURS, region="eu-west-1"),
        role("memory", duration_seconds=_TWELVE_HOURS, store=StorageMode.MEMORY),
        role("hour"),
        role("child", parent="a"),
    ]


@dataclass
class YearReport:
    """The result of a year. All lists should be empty.

    Args:
        faults: how many of each kind.
        lost: profiles without an attempt under way or scheduled that wait for nothing.
        lies: `valid` in the status for a session that STS no longer accepts.
        late: profiles that were not fresh five minutes after a fault.
        tables: the number of elements in the tables of the engine, each month.
        slowest: the longest time from the end of a fault until all was fresh, by its kind.
    """

    faults: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    lies: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    tables: list[int] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    internal_errors: int = 0


class Year:
    """A year; its faults depend on the seed alone."""

    def __init__(self, seed: int, span: timedelta = YEAR) -> None:
        self.report = YearReport()
        self._span = span
        self._random = random.Random(seed)  # noqa: S311 - the same year for the same seed
        self._log_fails = False
        self._removed_at: dict[str, float] = {}
        self._faults: list[Callable[[timedelta], None]] = [
            self._resources_used_up,
            self._files_unreadable,
            self._files_malformed,
            self._source_removed,
            self._store_full,
            self._store_malformed,
            self._foreign_writer,
            self._log_failure,
            self._clock_stepped,
            self._outage,
            self._throttling,
            self._denial,
            self._hang,
            self._reload,
            self._profile_added,
            self._suspend,
            self._error_of_our_own,
        ]

    def simulate(self) -> YearReport:
        """Simulate the year, with a fault every six hours or so."""
        with freeze_time(NOON) as frozen, self._logging():
            self._simulation = simulation = Simulation(
                frozen,  # type: ignore[arg-type]  # the clock does not tick
                jitter=self._random.random,
            )
            self._definitions = _definitions()
            simulation.start(*self._definitions)
            end = simulation.clock.boottime() + self._span.total_seconds()
            month = self._span / 12
            next_month = simulation.clock.boottime() + month.total_seconds()
            while simulation.clock.boottime() < end:
                simulation.run_for(
                    self._random.random() * 2 * _CALM, at_each_stop=self._check, every=5 * MINUTE
                )
                self._fault()
                if simulation.clock.boottime() >= next_month:
                    next_month += month.total_seconds()
                    self.report.tables.append(table_size(simulation.scheduler))
            self.report.internal_errors = sum(simulation.scheduler.errors.counts.values())
        return self.report

    def _fault(self) -> None:
        fault = self._random.choice(self._faults)
        kind = fault.__name__.removeprefix("_")
        self.report.faults[kind] += 1
        fault(self._random.random() * _MAX_FAULT)
        recovered_after = timedelta(0)
        while (stale := self._stale()) and recovered_after < MAX_RECOVERY:
            self._run_for(timedelta(seconds=5))
            recovered_after += timedelta(seconds=5)
        self.report.late += [f"{profile} after {kind} at {self._now}" for profile in stale]
        seconds = recovered_after.total_seconds()
        self.report.slowest[kind] = max(seconds, self.report.slowest.get(kind, 0))

    @property
    def _now(self) -> datetime:
        """The time of STS."""
        return self._simulation.clock.now() + self._simulation.sts.skew

    def _run_for(self, span: timedelta) -> None:
        self._simulation.run_for(span, at_each_stop=self._check)

    def _stale(self) -> list[str]:
        statuses = self._simulation.scheduler.statuses()
        return [each.profile for each in statuses if each.state is not ProfileState.VALID]

    def _check(self) -> None:
        """Check the invariant, and that each session that is shown as valid is accepted."""
        simulation = self._simulation
        if not simulation.is_intact:
            self.report.lost.append(f"at {self._now}")
        for status in simulation.scheduler.statuses():
            if status.state is not ProfileState.VALID:
                continue
            until = simulation.sts.issued_until.get(status.profile)
            if status.store is StorageMode.FILE:
                stored = simulation.store.profiles.get(status.profile)
                if stored is not None:
                    until = stored.expiration
                elif self._is_missing_for_long(status.profile):
                    until = None
            if until is None or until <= self._now:
                self.report.lies.append(f"{status.profile} at {self._now}")

    def _is_missing_for_long(self, profile: str) -> bool:
        """Whether a session that another writer has removed was not restored in time."""
        now = self._simulation.clock.boottime()
        removed_at = self._removed_at.get(profile, -math.inf)
        return now > removed_at + _MAX_RESTORE_SECONDS

    def _fail(self, error: AssumedError, span: timedelta, *profiles: str) -> None:
        names = profiles or [definition.profile for definition in self._definitions]
        self._simulation.sts.failing = dict.fromkeys(names, error)
        self._run_for(span)
        self._simulation.sts.failing = {}

    def _outage(self, span: timedelta) -> None:
        self._fail(StsUnavailableError("no answer", hint="wait"), span)

    def _throttling(self, span: timedelta) -> None:
        self._fail(StsThrottledError("too many calls", hint="wait"), span)

    def _denial(self, span: timedelta) -> None:
        name = self._random.choice(self._definitions).profile
        self._fail(AssumeRoleDeniedError("no", hint="ask"), span, name)

    def _hang(self, span: timedelta) -> None:
        """Each call ends with a time-out after 15 s."""
        self._simulation.sts.during_call = lambda _: self._simulation.pass_time(
            timedelta(seconds=15)
        )
        self._fail(StsUnavailableError("no answer in 15 s", hint="wait"), span)
        self._simulation.sts.during_call = lambda _: None

    def _broken_source(self, error: Exception, span: timedelta) -> None:
        sources = self._simulation.sources
        resolve = sources.resolve

        def fail(_: object) -> Any:
            raise error

        sources.resolve = fail  # type: ignore[method-assign, assignment]
        # A session that is due meanwhile needs the source.
        self._simulation.scheduler.refresh([], force=True)
        self._run_for(span)
        sources.resolve = resolve  # type: ignore[method-assign]

    def _resources_used_up(self, span: timedelta) -> None:
        self._broken_source(self._random.choice(_RESOURCES), span)

    def _files_unreadable(self, span: timedelta) -> None:
        self._broken_source(_RESOURCES[-1], span)

    def _files_malformed(self, span: timedelta) -> None:
        self._broken_source(AwsFilesUnreadableError("line 3", hint="correct it"), span)

    def _source_removed(self, span: timedelta) -> None:
        source = self._simulation.sources.known.pop("keys")
        self._broken_source(SourceMissingError("no profile keys", hint="add it"), span)
        self._simulation.sources.known["keys"] = source

    def _error_of_our_own(self, span: timedelta) -> None:
        self._broken_source(OSError(errno.EMFILE, "not caught where it should be"), span)

    def _broken_store(self, error: AssumedError, span: timedelta) -> None:
        self._simulation.store.failing = error
        self._simulation.scheduler.refresh([], force=True)
        self._run_for(span)
        self._simulation.store.failing = None

    def _store_full(self, span: timedelta) -> None:
        self._broken_store(CredentialsFileUnwritableError("full", hint="free some"), span)

    def _store_malformed(self, span: timedelta) -> None:
        error = CredentialsFileMalformedError(path="f", line=7, problem="no", hint="correct it")
        self._broken_store(error, span)

    def _foreign_writer(self, span: timedelta) -> None:
        end = self._simulation.clock.now() + span
        while self._simulation.clock.now() < end:
            stored = self._simulation.store.profiles
            removed = self._random.choice(list(stored))
            stored.pop(removed)
            self._removed_at[removed] = self._simulation.clock.boottime()
            # The file's change is noticed at once, or in the next heartbeat.
            self._simulation.scheduler.reconcile(stored)
            self._run_for(MINUTE)

    def _log_failure(self, span: timedelta) -> None:
        self._log_fails = True
        self._simulation.scheduler.refresh([], force=True)
        self._run_for(span)
        self._log_fails = False

    def _clock_stepped(self, span: timedelta) -> None:
        step = self._random.choice([-1, 1]) * span * self._random.choice([0.01, 1, 100])
        self._simulation.step_wall_clock(step)
        self._simulation.sts.skew -= step
        self._run_for(MINUTE)

    def _reload(self, _: timedelta) -> None:
        index = self._random.randrange(2)
        changed = f"changed-{self._random.random()}"
        self._definitions[index] = role(
            "ab"[index], duration_seconds=_TWELVE_HOURS, external_id=changed
        )
        self._simulation.update_definitions(
            *self._definitions, stored=self._simulation.store.profiles
        )
        self._run_for(MINUTE)

    def _profile_added(self, span: timedelta) -> None:
        """Add a profile whose name, role and region were never there, for a while."""
        number = self._random.randrange(10**9)
        added = role(f"added-{number}", region=f"us-fake-{number}")
        self._simulation.update_definitions(*self._definitions, added)
        self._run_for(span)
        self._simulation.update_definitions(*self._definitions)
        self._simulation.store.profiles.pop(added.profile, None)

    def _suspend(self, span: timedelta) -> None:
        self._simulation.pass_time(span * 40)
        self._run_for(MINUTE)

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """Log everything, by way of the handlers of the daemon, to one that fails at times."""
        year = self

        class Log(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if year._log_fails:
                    raise OSError(errno.ENOSPC, "No space left on device")
                self.format(record)

        handler = BackgroundHandler(FailoverHandler(Log(), None, name="a log"))
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)


def table_size(scheduler: object) -> int:
    """Return the number of elements in all tables that an object of assumed refers to."""
    seen: set[int] = set()
    size = 0
    to_visit: list[Any] = [scheduler]
    while to_visit:
        found = to_visit.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, dict):
            size += len(found)
            to_visit += [*found.keys(), *found.values()]
        elif isinstance(found, list | tuple | set | frozenset | deque):
            size += len(found)
            to_visit += found
        elif isinstance(found, MethodType):
            to_visit.append(found.__self__)
        elif type(found).__module__.startswith("assumed."):
            names = [*getattr(type(found), "__slots__", ()), *getattr(found, "__dict__", ())]
            to_visit += [getattr(found, name) for name in names]
    return size
