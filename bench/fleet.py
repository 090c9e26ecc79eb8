"""A fleet that one deploy starts, against the quota of STS, in simulated time.

`python -m bench.fleet [--hosts 1000] [--roles 10]` prints a table, and writes bench/results:
fleet.json and fleet.svg. When a refresh is due and when a failure is tried again is what the daemon
itself uses; only the network and STS are made up.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.fakes import Quota

from assumed.errors import Retry
from assumed.schedule import refresh_due_in, retry_delay

_RESULTS = Path(__file__).parent / "results"
_HOUR = timedelta(hours=1)
_BEFORE = timedelta(minutes=15)
_DAY_SECONDS = 24 * 3600
# Source: "IAM and STS quotas" of the IAM user guide, an account and a region.
_QUOTA = 600
_DEPLOY_SECONDS = 10.0
_OUTAGE = (12 * 3600, 13 * 3600)


@dataclass(frozen=True)
class Row:
    """What came of one day.

    Args:
        fleet: which one.
        calls: all day.
        refused: of those, for they were over the quota or in the outage.
        peak_a_second: of the day's calls, once all had their first session.
        cold_start_seconds: until all had their first session.
        recovered_seconds: from the end of the outage until all had one again.
        expired: sessions that ended, the outage aside.
    """

    fleet: str
    calls: int
    refused: int
    peak_a_second: int
    cold_start_seconds: int
    recovered_seconds: int
    expired: int


def live(
    fleet: str, roles: int, *, jitter: Callable[[], float] | None, outage: bool
) -> tuple[Row, Counter[int]]:
    """Live through a day of `roles` roles; without a jitter all is done at the same moments."""
    drawn = random.Random(1)  # noqa: S311
    draw = jitter or (lambda: 0.0)
    quota = Quota(_QUOTA)
    calls: Counter[int] = Counter()
    ends: list[float | None] = [None] * roles
    failures = [0] * roles
    waiting = roles
    cold_start = recovered = 0.0
    refused = expired = 0
    spread = _DEPLOY_SECONDS if jitter else 0.0
    events = [(drawn.random() * spread, role) for role in range(roles)]
    heapq.heapify(events)
    while events:
        now, role = heapq.heappop(events)
        if now > _DAY_SECONDS:
            break
        calls[int(now)] += 1
        end = ends[role]
        is_out = outage and _OUTAGE[0] <= now < _OUTAGE[1]
        if is_out or not quota.takes(now):
            refused += 1
            failures[role] += 1
            left = timedelta(seconds=(end - now) if end is not None else 0)
            delay = retry_delay(
                Retry.BACK_OFF, failures=failures[role], left=left, lifetime=_HOUR, jitter=draw()
            )
            assert delay is not None  # noqa: S101
            heapq.heappush(events, (now + delay.total_seconds(), role))
            continue
        if end is None:
            waiting -= 1
            cold_start = now if waiting == 0 else cold_start
        elif end < now:
            expired += not outage
            recovered = now - _OUTAGE[1] if outage else 0.0
        ends[role], failures[role] = now + _HOUR.total_seconds(), 0
        due = refresh_due_in(_HOUR, lifetime=_HOUR, refresh_before=_BEFORE, jitter=draw())
        heapq.heappush(events, (now + due.total_seconds(), role))
    settled = {second: count for second, count in calls.items() if second > cold_start + 60}
    row = Row(
        fleet=fleet,
        calls=sum(calls.values()),
        refused=refused,
        peak_a_second=max(settled.values()),
        cold_start_seconds=round(cold_start),
        recovered_seconds=round(recovered),
        expired=expired,
    )
    return row, calls


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--roles", type=int, default=10)
    asked = parser.parse_args(arguments)
    roles = asked.hosts * asked.roles
    jitter = random.Random(2).random  # noqa: S311
    days = {
        "with jitter": live("with jitter", roles, jitter=jitter, outage=False),
        "without": live("without", roles, jitter=None, outage=False),
        "with jitter, STS down from 12 to 13 h": live(
            "with jitter, STS down from 12 to 13 h", roles, jitter=jitter, outage=True
        ),
    }
    rows = [vars(row) for row, _ in days.values()]
    _RESULTS.mkdir(exist_ok=True)
    result = {"hosts": asked.hosts, "roles": asked.roles, "quota_a_second": _QUOTA, "days": rows}
    (_RESULTS / "fleet.json").write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write((_RESULTS / "fleet.json").read_text())
    _plot({name: calls for name, (_, calls) in days.items()}, _RESULTS / "fleet.svg")
    return 0


def _plot(days: dict[str, Counter[int]], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - only the plot needs it

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fleet"
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(len(days), 1, figsize=(9, 7), sharex=True, sharey=True)
    for axis, (name, calls) in zip(axes, days.items(), strict=True):
        minutes: list[int] = [
            max(calls[second] for second in range(start, start + 60))
            for start in range(0, _DAY_SECONDS, 60)
        ]
        axis.plot([minute / 60 for minute in range(len(minutes))], minutes, linewidth=0.7)
        axis.axhline(_QUOTA, color="grey", linewidth=0.5, linestyle="--")
        axis.set_title(name, fontsize=9)
        axis.set_ylabel("calls/s, peak of a minute", fontsize=7)
        axis.set_yscale("symlog", linthresh=10)
    axes[-1].set_xlabel("hours since the deploy")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
