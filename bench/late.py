"""Whether refreshes are in time: many at once, beside calls that hang, after an outage.

`python -m bench.late [--quick]` prints a table, and writes bench/results: late.json and late.svg.
Real daemons run against a stub of STS whose sessions last seconds. The credentials file is read
twenty times a second, as its readers do. Lateness is measured from the moment for which a call was
scheduled to its arrival at the stub.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from bench.figures import RESULTS, Figure, publish
from bench.stub import Call, Settings, StubSts, issued_at
from bench.world import Home, wait_until

if TYPE_CHECKING:
    from assumed.engine.heartbeat import HeartbeatScheduler

_POLL_SECONDS = 0.05
_HUNG = "role-hangs"
# With the default `refresh_before` of 40 %, less a jitter of a hundredth to a tenth of a lifetime.
_FIRST_IS_DUE = 0.5
_OUTAGE = 0.2
# Percent of a lifetime. docs/guarantees.md: no reader sees a session of an hour with less than 20
# minutes remaining. What is between that and the 40 % may be lost to calls, writes and lateness.
_MIN_REMAINING = 100 * 20 / 60
# After an outage, the delay of a retry is at most a fifth of what remains.
_MIN_REMAINING_AFTER_OUTAGE = 100 * (1 - _FIRST_IS_DUE - _OUTAGE) * 0.8


class Reader:
    """Polls a credentials file, and remembers the minimum that remained of a session."""

    def __init__(self, home: Home, sessions: int, lifetime: float) -> None:
        self._home, self._sessions, self._lifetime = home, sessions, lifetime
        self._is_done = Event()
        self._thread = Thread(target=self._poll)
        self.complete_at: float | None = None
        self.min_remaining = 1.0
        """As a fraction of the lifetime, once all sessions were there."""

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._is_done.wait(_POLL_SECONDS):
            issued = issued_at(self._home.credentials.read_text())
            now = time.time()
            if len(issued) < self._sessions:
                continue
            self.complete_at = self.complete_at or now
            self.min_remaining = min(self.min_remaining, 1 - (now - min(issued)) / self._lifetime)


@contextmanager
def _home(stub: StubSts, settings: Settings) -> Iterator[Home]:
    with tempfile.TemporaryDirectory() as directory:
        stub.configure(settings)
        home = Home(Path(directory), stub.endpoint_url)
        home.store()
        yield home


def _lateness(
    stub: StubSts, roles: int, lifetime: int, seconds: float
) -> tuple[list[float], float]:
    """Return how late each call of a daemon was, and the minimum that remained of a session."""
    with _home(stub, Settings(lifetime=lifetime)) as home:
        home.configure(roles)
        scheduled = home.config.with_name("scheduled.json")
        with (
            home.daemon(sys.executable, "-m", "bench.late", "--watched", str(scheduled)) as daemon,
            Reader(home, roles, lifetime) as reader,
        ):
            daemon.ready()
            time.sleep(seconds)
            daemon.stop()
        return _late_by(json.loads(scheduled.read_text()), stub.calls()), reader.min_remaining


def _late_by(scheduled: Sequence[tuple[str, float]], calls: Sequence[Call]) -> list[float]:
    """Return how late each call was; without the first ones, which are all due at once."""
    times = _by_role(scheduled)
    arrivals = _by_role([(call.role, call.at) for call in calls])
    return [
        arrival - time
        for role, times_of_role in times.items()
        for time, arrival in list(zip(times_of_role, arrivals.get(role, ()), strict=False))[1:]
    ]


def _by_role(moments: Sequence[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for role, at in moments:
        found.setdefault(role, []).append(at)
    return found


def _hanging(stub: StubSts, seconds: float) -> tuple[float, float, float]:
    """Let 40 of 70 roles hang.

    Returns:
        Seconds from the first call until the 30 others were in the file, the minimum that remained
        of one of them, and how long a stop took while calls were hanging.
    """
    lifetime, hanging, working = 10, 40, 30
    settings = Settings(lifetime=lifetime, hanging=_HUNG)
    with _home(stub, settings) as home:
        names = [f"hangs-{number}" for number in range(hanging)] + [*map(str, range(working))]
        random.Random(1).shuffle(names)  # noqa: S311
        home.configure(names)
        with home.daemon() as daemon, Reader(home, working, lifetime) as reader:
            time.sleep(seconds)
            stopped_in = daemon.stop()
        first_at = min(call.at for call in stub.calls())
        complete_at = reader.complete_at or time.time()
        return complete_at - first_at, reader.min_remaining, stopped_in


def _outage(stub: StubSts) -> tuple[float, float]:
    """Let STS be down for a fifth of a lifetime, from the moment the first refresh is due.

    Returns:
        The minimum that remained of a session; and the time from the end of the outage until all
        sessions were new, as a fraction of what remained then of the oldest one.
    """
    roles, lifetime = 100, 30
    settings = Settings(lifetime=lifetime)
    with _home(stub, settings) as home:
        home.configure(roles)
        with home.daemon() as daemon, Reader(home, roles, lifetime) as reader:
            daemon.ready()
            first_ones = issued_at(home.credentials.read_text())
            oldest = min(first_ones)
            # A few are refreshed a moment earlier: a daemon counts from the start of its call.
            time.sleep(max(0.0, oldest + _FIRST_IS_DUE * lifetime - time.time()))
            stub.configure(Settings(lifetime=lifetime, is_down=True))
            time.sleep(_OUTAGE * lifetime)
            stub.configure(settings)
            ended_at = time.time()
            remaining = 1 - (ended_at - min(issued_at(home.credentials.read_text()))) / lifetime
            wait_until(
                lambda: min(issued_at(home.credentials.read_text())) > max(first_ones),
                "all to be new",
            )
            back_in = time.time() - ended_at
        return reader.min_remaining, back_in / (remaining * lifetime)


def _watched(file: Path) -> int:
    """Run the daemon, and write for when each of its jobs was scheduled."""
    from apscheduler.events import EVENT_JOB_EXECUTED  # noqa: PLC0415 - needed by the daemon only

    from assumed.__main__ import main as assumed  # noqa: PLC0415
    from assumed.app import daemon  # noqa: PLC0415

    scheduled: list[tuple[str, float]] = []
    make_jobs = daemon.make_jobs  # type: ignore[attr-defined]

    def watched_jobs(**options: Any) -> HeartbeatScheduler:
        jobs = make_jobs(**options)
        jobs.add_listener(
            lambda event: scheduled.append((event.job_id, event.scheduled_run_time.timestamp())),
            EVENT_JOB_EXECUTED,
        )
        return jobs

    daemon.make_jobs = watched_jobs  # type: ignore[attr-defined]
    sys.argv[1:] = ["run", "--log-level", "error"]
    status = assumed()
    file.write_text(json.dumps(scheduled))
    return status


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[98]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.late", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, with fewer roles")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    parser.add_argument("--watched", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.watched is not None:
        return _watched(options.watched)
    rounds = 1 if options.quick else 2
    with StubSts() as stub:
        hanging = [_hanging(stub, 8 if options.quick else 25) for _ in range(rounds)]
        outages = [_outage(stub) for _ in range(rounds)] if not options.quick else []
        few = [_lateness(stub, 200, 6, 8 if options.quick else 20) for _ in range(rounds)]
        many = [_lateness(stub, 1000, 60, 45) for _ in range(rounds)] if not options.quick else []
    figures = [
        Figure("40 of 70 roles hang: the others are there", "s", [row[0] for row in hanging], 2),
        Figure(
            "40 of 70 hang: minimum remaining of the others", "%",
            [row[1] * 100 for row in hanging], _MIN_REMAINING, at_least=True,
        ),
        Figure("SIGTERM to exit, calls hanging", "s", [row[2] for row in hanging], 0.2),
        Figure("200 roles of 6 s: lateness, p99", "s", [_p99(late) for late, _ in few], 0.2),
        Figure("200 roles of 6 s: lateness, the worst", "s", [max(late) for late, _ in few]),
        Figure(
            "200 roles of 6 s: minimum remaining", "%",
            [remaining * 100 for _, remaining in few], _MIN_REMAINING, at_least=True,
        ),
    ]  # fmt: skip
    if not options.quick:
        figures += [
            Figure(
                "1,000 due in one minute: lateness, p99", "s", [_p99(row[0]) for row in many], 2,
            ),
            Figure(
                "1,000 due in one minute: lateness, the worst", "s", [max(row[0]) for row in many]
            ),
            Figure(
                "outage of 20 % of a lifetime: minimum remaining", "%",
                [row[0] * 100 for row in outages], _MIN_REMAINING_AFTER_OUTAGE, at_least=True,
            ),
            Figure(
                "outage: until all are new, of what remained", "%",
                [row[1] * 100 for row in outages], 20,
            ),
        ]  # fmt: skip
    publish("late", figures, directory=options.output, rounds=rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
