"""A fleet and the quota of STS, simulated: a cold start, a deploy, the end of an outage.

`python -m bench.fleet [--hosts 10000] [--roles 10] [--quick]` prints a table, and writes
bench/results: fleet.json and fleet.svg. Due times, retries and the rate limit are those of the
daemon; only the network and STS are simulated. It is compared with a fleet of scripts that refresh
at 45 minutes and retry every minute.
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

from bench.figures import RESULTS, Figure, plot, publish
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
    """What happens to a fleet without sessions.

    Args:
        name: as the results show it.
        starts_within: the hosts start evenly within this many seconds.
        lasts: how many seconds are simulated.
        outage: begin and end of an outage of STS; None for none.
        shown: begin and end of the plot.
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
    """The result of one scenario.

    Args:
        scenario: its name.
        who: the kind of fleet.
        roles: of all hosts.
        calls: how many STS received.
        refused: how many of them were rejected, over the quota or in the outage.
        peak_a_second: the most calls in one second, from a minute after all had a session.
        all_fresh_seconds: from the last start, or the end of the outage, until every role had a
            session.
        most_without_seconds: the longest time that a role had no session, with the outage.
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
    """Hosts with the daemon: jitter, back-off, a rate limit for each host."""

    who = "assumed"

    def __init__(self, hosts: int, roles: int) -> None:
        self._draw = random.Random(2).random  # noqa: S311
        self._roles = roles
        self._limiters = [RateLimiter() for _ in range(hosts)]
        self._reservations: dict[int, int] = {}
        self._failing: list[set[int]] = [set() for _ in range(hosts)]

    def reserve(self, role: int, now: float) -> float:
        """Return when a call that is due now may begin."""
        limiter = self._limiters[role // self._roles]
        if self._reservations.pop(role, None) == limiter.generation:
            return now
        at = limiter.reserve(now)
        if at > now:
            self._reservations[role] = limiter.generation
        return at

    def due(self, role: int, now: float) -> tuple[float, Sequence[tuple[float, int]]]:
        """Return when a refreshed role is due again, and which others are retried because of it."""
        host = role // self._roles
        self._limiters[host].succeeded(now)
        failing, self._failing[host] = self._failing[host] - {role}, set()
        due = refresh_due_in(
            _LIFETIME, lifetime=_LIFETIME, refresh_before=_BEFORE, jitter=self._draw()
        )
        return now + due.total_seconds(), [(now + self._draw(), other) for other in failing]

    def retry(
        self, role: int, now: float, failures: int, remaining: float, *, is_throttled: bool
    ) -> float:
        """Return when a role that has failed is retried."""
        host = role // self._roles
        if is_throttled:
            self._limiters[host].throttled(now)
        else:
            self._failing[host].add(role)
        delay = retry_delay(
            RetryPolicy.BACK_OFF,
            failures=failures,
            remaining=timedelta(seconds=remaining),
            lifetime=_LIFETIME,
            jitter=self._draw(),
        )
        assert delay is not None  # noqa: S101 - this policy always retries
        return now + delay.total_seconds()


class Scripts:
    """Hosts with a script that refreshes and retries at fixed intervals."""

    who = "a script"

    def reserve(self, role: int, now: float) -> float:
        """Return when a call that is due now may begin."""
        return now

    def due(self, role: int, now: float) -> tuple[float, Sequence[tuple[float, int]]]:
        """Return when a refreshed role is due again."""
        return now + 45 * 60, ()

    def retry(
        self, role: int, now: float, failures: int, remaining: float, *, is_throttled: bool
    ) -> float:
        """Return when a role that has failed is retried."""
        return now + 60


@dataclass(slots=True)
class Traffic:
    """Calls by second."""

    accepted: Counter[int] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class _Role:
    due_at: float
    expires_at: float
    failures: int = 0


def simulate(
    scenario: Scenario, hosts: int, roles: int, fleet: Daemons | Scripts
) -> tuple[Row, Traffic]:
    """Simulate a scenario."""
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

    def schedule(number: int, at: float) -> None:
        states[number].due_at = at
        heapq.heappush(events, (at, number))

    while events and events[0][0] < scenario.lasts:
        now, number = heapq.heappop(events)
        state = states[number]
        if now != state.due_at:
            continue  # It was scheduled again meanwhile.
        at = fleet.reserve(number, now)
        if at > now:
            schedule(number, at)
            continue
        is_down = scenario.outage is not None and scenario.outage[0] <= now < scenario.outage[1]
        if is_down or not quota.accepts(now):
            traffic.refused[int(now)] += 1
            state.failures += 1
            remaining = max(0.0, state.expires_at - now)
            schedule(
                number,
                fleet.retry(number, now, state.failures, remaining, is_throttled=not is_down),
            )
            continue
        traffic.accepted[int(now)] += 1
        if now >= state.expires_at:
            most_without = max(most_without, now - state.expires_at)
            all_fresh_at = max(all_fresh_at, now)
        state.expires_at, state.failures = now + _LIFETIME.total_seconds(), 0
        due_at, woken = fleet.due(number, now)
        schedule(number, due_at)
        for at, other in woken:
            schedule(other, at)
    calls = traffic.accepted + traffic.refused
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
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    options = parser.parse_args(arguments)
    hosts, roles = 300 if options.quick else options.hosts, options.roles
    fleets = [
        (scenario, hosts, roles, who)
        for scenario in (OUTAGE, COLD_START, DEPLOY)
        for who in (Daemons.who, Scripts.who)
    ]
    sweep = [(COLD_START, size, roles, Daemons.who) for size in _SWEEP if not options.quick]
    with multiprocessing.Pool() as pool:
        results = pool.starmap(_simulate, fleets + sweep, chunksize=1)
    rows = [row for row, _ in results]
    figures = []
    for row in rows[: len(fleets)]:
        what = f"{row.scenario}, {row.who}"
        figures += [
            Figure(f"{what}: until all are fresh", "s", [row.all_fresh_seconds]),
            Figure(f"{what}: refused calls a role", "", [row.refused / row.roles]),
            Figure(f"{what}: peak of calls, afterwards", "/s", [row.peak_a_second]),
        ]
        if row.who == Scripts.who:
            minimum = _min_seconds(row)
            figures.append(Figure(f"{row.scenario}: what the quota allows", "s", [minimum]))
    publish(
        "fleet", figures, directory=options.output, hosts=hosts, roles=roles, quota_a_second=_QUOTA,
        scenarios=[asdict(row) for row in rows[: len(fleets)]],
        sweep=[asdict(row) for row in rows[len(fleets) :]],
    )  # fmt: skip
    drawn = {
        (scenario, who): traffic
        for (scenario, _, _, who), (_, traffic) in zip(fleets, results, strict=False)
    }
    plot(options.output / "fleet.svg", lambda axes: _draw(axes, drawn), rows=3, height=9)
    return 0


def _simulate(scenario: Scenario, hosts: int, roles: int, who: str) -> tuple[Row, Traffic]:
    return simulate(
        scenario, hosts, roles, Daemons(hosts, roles) if who == Daemons.who else Scripts()
    )


def _min_seconds(row: Row) -> float:
    """Return the time that the quota needs, from the last start or the end of the outage."""
    scenario = next(each for each in (COLD_START, DEPLOY, OUTAGE) if each.name == row.scenario)
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
            calls = traffic.accepted + traffic.refused
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
