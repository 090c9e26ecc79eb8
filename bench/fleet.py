"""A fleet against the quota of STS, in simulated time: cold start, a deploy, an outage that ends.

`python -m bench.fleet [--hosts 10000] [--roles 10] [--quick]` prints a table, and writes
bench/results: fleet.json and fleet.svg. When a refresh is due, when a failure is tried again and
how fast a host calls is what the daemon itself uses; only the network and STS are made up. Beside
it stands the fleet of a script that refreshes at 45 minutes and tries again every minute.
"""

from __future__ import annotations

import argparse
import heapq
import multiprocessing
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.figures import FOLDER, Figure, plot, publish
from tests.fakes import Quota

from assumed.engine.rate_limiter import RateLimiter
from assumed.engine.refresh_policy import refresh_due_in, retry_delay
from assumed.errors import RetryPolicy
from assumed.models import DEFAULT_REFRESH_BEFORE

_LIFETIME = timedelta(hours=1)
_BEFORE = DEFAULT_REFRESH_BEFORE
# Source: "IAM and STS quotas" of the IAM user guide, an account and a region.
_QUOTA = 600
_HOUR = 3600.0
_BOOT_SECONDS = 10.0
_ROLLING_SECONDS = 600.0
_SWEEP = (1_000, 3_000, 30_000)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a fleet that has no sessions yet.

    Args:
        name: for people.
        starts_within: seconds in which its hosts start, evenly.
        lasts: seconds that are simulated.
        outage: from when to when STS answers nothing.
        shown: from when to when it is drawn.
    """

    name: str
    starts_within: float
    lasts: float
    outage: tuple[float, float] | None
    shown: tuple[float, float]


COLD_START = Scenario("cold start within 10 s", _BOOT_SECONDS, 1.25 * _HOUR, None, (0, 600))
DEPLOY = Scenario(
    "hosts replaced within 10 minutes", _ROLLING_SECONDS, 1.25 * _HOUR, None, (0, 1200)
)
OUTAGE = Scenario(
    "STS down for an hour", _ROLLING_SECONDS, 3.25 * _HOUR, (_HOUR, 2 * _HOUR),
    (2 * _HOUR - 300, 2 * _HOUR + 900),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one scenario.

    Args:
        scenario: its name.
        who: whose fleet it is.
        roles: of all hosts.
        calls: that STS got.
        refused: of those, for they were over the quota.
        peak_a_second: of the calls, once all had a session for a minute.
        all_fresh_seconds: from the last start, or the end of the outage, until every role had a
            session.
        most_without_seconds: of one role, how long it had no session, the outage included.
    """

    scenario: str
    who: str
    roles: int
    calls: int
    refused: int
    peak_a_second: int
    all_fresh_seconds: float
    most_without_seconds: float


class Daemons:
    """Hosts that do as the daemon does: jitter, back-off, and a pace of each host."""

    who = "assumed"

    def __init__(self, hosts: int, roles: int) -> None:
        self._draw = random.Random(2).random  # noqa: S311
        self._roles = roles
        self._paces = [RateLimiter() for _ in range(hosts)]
        self._slots: dict[int, int] = {}
        self._failing: list[set[int]] = [set() for _ in range(hosts)]

    def slot(self, role: int, now: float) -> float:
        """Return when a call that is due now may begin."""
        pace = self._paces[role // self._roles]
        if self._slots.pop(role, None) == pace.generation:
            return now
        at = pace.reserve(now)
        if at > now:
            self._slots[role] = pace.generation
        return at

    def due(self, role: int, now: float) -> tuple[float, Sequence[tuple[float, int]]]:
        """Return when a role that was just refreshed is due, and who tries again because of it."""
        host = role // self._roles
        self._paces[host].succeeded(now)
        failing, self._failing[host] = self._failing[host] - {role}, set()
        due = refresh_due_in(
            _LIFETIME, lifetime=_LIFETIME, refresh_before=_BEFORE, jitter=self._draw()
        )
        return now + due.total_seconds(), [(now + self._draw(), other) for other in failing]

    def again(
        self, role: int, now: float, failures: int, left: float, *, is_throttled: bool
    ) -> float:
        """Return when a role that was refused is tried again."""
        host = role // self._roles
        if is_throttled:
            self._paces[host].throttled(now)
        else:
            self._failing[host].add(role)
        delay = retry_delay(
            RetryPolicy.BACK_OFF,
            failures=failures,
            remaining=timedelta(seconds=left),
            lifetime=_LIFETIME,
            jitter=self._draw(),
        )
        assert delay is not None  # noqa: S101 - a back-off always ends
        return now + delay.total_seconds()


class Scripts:
    """Hosts that refresh at a fixed time, and try again at a fixed time."""

    who = "a script"

    def slot(self, role: int, now: float) -> float:
        """Return when a call that is due now may begin."""
        return now

    def due(self, role: int, now: float) -> tuple[float, Sequence[tuple[float, int]]]:
        """Return when a role that was just refreshed is due."""
        return now + 45 * 60, ()

    def again(
        self, role: int, now: float, failures: int, left: float, *, is_throttled: bool
    ) -> float:
        """Return when a role that was refused is tried again."""
        return now + 60


@dataclass(slots=True)
class Traffic:
    """Calls by second."""

    taken: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class _Role:
    due_at: float
    ends_at: float
    failures: int = 0


def live(
    scenario: Scenario, hosts: int, roles: int, fleet: Daemons | Scripts
) -> tuple[Row, Traffic]:
    """Live through a scenario."""
    drawn = random.Random(1)  # noqa: S311
    quota, traffic = Quota(_QUOTA), Traffic()
    states: list[_Role] = []
    for _ in range(hosts):
        started_at = drawn.random() * scenario.starts_within
        states += [_Role(started_at, started_at) for _ in range(roles)]
    events = [(state.due_at, number) for number, state in enumerate(states)]
    heapq.heapify(events)
    over_at = scenario.outage[1] if scenario.outage else scenario.starts_within
    all_fresh_at, most_without = over_at, 0.0

    def plan(number: int, at: float) -> None:
        states[number].due_at = at
        heapq.heappush(events, (at, number))

    while events and events[0][0] < scenario.lasts:
        now, number = heapq.heappop(events)
        state = states[number]
        if now != state.due_at:
            continue  # It was planned anew meanwhile.
        at = fleet.slot(number, now)
        if at > now:
            plan(number, at)
            continue
        is_down = scenario.outage is not None and scenario.outage[0] <= now < scenario.outage[1]
        if is_down or not quota.takes(now):
            traffic.refused[int(now)] += 1
            state.failures += 1
            left = max(0.0, state.ends_at - now)
            plan(number, fleet.again(number, now, state.failures, left, is_throttled=not is_down))
            continue
        traffic.taken[int(now)] += 1
        if now >= state.ends_at:
            most_without = max(most_without, now - state.ends_at)
            all_fresh_at = max(all_fresh_at, now)
        state.ends_at, state.failures = now + _LIFETIME.total_seconds(), 0
        due_at, woken = fleet.due(number, now)
        plan(number, due_at)
        for at, other in woken:
            plan(other, at)
    calls = traffic.taken + traffic.refused
    settled = [count for second, count in calls.items() if second > all_fresh_at + 60]
    row = Row(
        scenario=scenario.name,
        who=fleet.who,
        roles=len(states),
        calls=calls.total(),
        refused=traffic.refused.total(),
        peak_a_second=max(settled, default=0),
        all_fresh_seconds=round(all_fresh_at - over_at, 1),
        most_without_seconds=round(most_without, 1),
    )
    return row, traffic


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulation, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--roles", type=int, default=10, help="of each host (10)")
    parser.add_argument("--quick", action="store_true", help="300 hosts")
    parser.add_argument("--output", type=Path, default=FOLDER, help="where the results go")
    options = parser.parse_args(arguments)
    hosts, roles = 300 if options.quick else options.hosts, options.roles
    fleets = [
        (scenario, hosts, roles, who)
        for scenario in (OUTAGE, COLD_START, DEPLOY)
        for who in (Daemons.who, Scripts.who)
    ]
    sweep = [(COLD_START, size, roles, Daemons.who) for size in _SWEEP if not options.quick]
    with multiprocessing.Pool() as pool:
        lived = pool.starmap(_live, fleets + sweep, chunksize=1)
    rows = [row for row, _ in lived]
    figures = []
    for row in rows[: len(fleets)]:
        what = f"{row.scenario}, {row.who}"
        figures += [
            Figure(f"{what}: until all are fresh", "s", [row.all_fresh_seconds]),
            Figure(f"{what}: refused calls a role", "", [row.refused / row.roles]),
            Figure(f"{what}: peak of calls, afterwards", "/s", [row.peak_a_second]),
        ]
        if row.who == Scripts.who:
            least = _least_seconds(row)
            figures.append(Figure(f"{row.scenario}: what the quota allows", "s", [least]))
    publish(
        "fleet", figures, folder=options.output, hosts=hosts, roles=roles, quota_a_second=_QUOTA,
        scenarios=[asdict(row) for row in rows[: len(fleets)]],
        sweep=[asdict(row) for row in rows[len(fleets) :]],
    )  # fmt: skip
    drawn = {
        (scenario, who): traffic
        for (scenario, _, _, who), (_, traffic) in zip(fleets, lived, strict=False)
    }
    plot(options.output / "fleet.svg", lambda axes: _draw(axes, drawn), rows=3, height=9)
    return 0


def _live(scenario: Scenario, hosts: int, roles: int, who: str) -> tuple[Row, Traffic]:
    return live(scenario, hosts, roles, Daemons(hosts, roles) if who == Daemons.who else Scripts())


def _least_seconds(row: Row) -> float:
    """Return how long the quota alone takes, from the last start or the end of the outage."""
    scenario = next(one for one in (COLD_START, DEPLOY, OUTAGE) if one.name == row.scenario)
    head_start = 0.0 if scenario.outage else scenario.starts_within
    return max(0.0, (row.roles - _QUOTA) / _QUOTA - head_start)


def _draw(axes: Any, drawn: Mapping[tuple[Scenario, str], Traffic]) -> None:
    scenarios = list(dict.fromkeys(scenario for scenario, _ in drawn))
    for axis, scenario in zip(axes, scenarios, strict=True):
        begin, end = map(int, scenario.shown)
        zero = int(scenario.outage[1]) if scenario.outage else 0
        for (of, who), traffic in drawn.items():
            if of != scenario:
                continue
            calls = traffic.taken + traffic.refused
            seconds = range(begin, end)
            axis.plot([s - zero for s in seconds], [calls[s] for s in seconds], label=who, lw=0.7)
        axis.axhline(_QUOTA, color="grey", linewidth=0.8, linestyle="--")
        axis.set_title(scenario.name, fontsize=9)
        axis.set_ylabel("calls a second", fontsize=8)
        axis.set_yscale("symlog", linthresh=10)
        axis.legend(fontsize=7)
        since = "STS is back" if zero else "the first host"
        axis.set_xlabel(f"seconds since {since}", fontsize=8)


if __name__ == "__main__":
    sys.exit(main())
