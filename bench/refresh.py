"""How long a refresh of a thousand roles takes, compared with botocore alone and a naive loop.

`python -m bench.refresh [--quick]` prints a table, and writes bench/results: refresh.json and
refresh.svg. Before each run the credentials file holds a session of every role that expired an hour
ago. *Ideal* is a program that imports boto3, makes one client and calls AssumeRole as often, with
the fastest number of threads; it writes nothing. They take turns within a round, and the ratios
count.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench.figures import RESULTS, Figure, publish, ratios
from bench.stub import Settings, StubSts
from bench.world import OLD_KEY, CommandRun, Home, wait_until
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

_NAIVE = 100
_EXPIRED = timedelta(hours=-1)
# Without latency threads only hinder each other; with latency they are needed for speed.
_THREADS = {0.0: (1, 32), 0.05: (32,)}
_LIMITS = {0.0: 1.4, 0.05: 1.2}
_QUOTA, _QUOTA_ROLES = 100, 500


class Rewrites(FileSystemEventHandler):
    """Counts how often the credentials file is replaced."""

    def __init__(self, home: Home) -> None:
        self.count = 0
        self._file = str(home.credentials)
        self._observer = Observer()
        self._observer.schedule(self, str(home.credentials.parent))

    def on_moved(self, event: FileSystemEvent) -> None:
        """Count a rename to the credentials file."""
        self.count += event.dest_path == self._file

    def __enter__(self) -> Rewrites:
        self._observer.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The kernel reports events with a delay.
        time.sleep(0.5)
        self._observer.stop()
        self._observer.join()


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of `assumed refresh`.

    Args:
        took: the command.
        calls_a_second: from the first call to the last, measured by the stub.
        rewrites: how often the credentials file was replaced.
    """

    took: CommandRun
    calls_a_second: float
    rewrites: int


def _pass(home: Home, stub: StubSts, roles: int) -> Pass:
    home.configure(roles)
    home.store(roles, remaining=_EXPIRED)
    stub.calls()
    with Rewrites(home) as rewrites:
        took = home.run(home.assumed("refresh"))
    calls = stub.calls()
    if took.status != 0 or len(calls) != roles:
        raise RuntimeError(f"{len(calls)} calls for {roles} roles: {took.output[-500:]}")
    seconds = calls[-1].at - calls[0].at
    return Pass(took, (roles - 1) / seconds if seconds else 0, rewrites.count)


def _botocore(home: Home, roles: int, threads: int, *retries: str) -> CommandRun:
    return home.python("-m", "bench.baseline", "calls", str(roles), str(threads), *retries)


def _ideal(home: Home, roles: int, latency: float) -> CommandRun:
    takes = [_botocore(home, roles, threads) for threads in _THREADS[latency]]
    return min(takes, key=lambda took: took.seconds)


def _many(home: Home, stub: StubSts, rounds: int, latency: float) -> list[Figure]:
    """Measure 1,000 roles at one latency."""
    roles = 1000
    stub.configure(Settings(latency=latency))
    ideal, passes = [], []
    for _ in range(rounds):
        ideal.append(_ideal(home, roles, latency).seconds)
        passes.append(_pass(home, stub, roles))
    home.store(roles, remaining=_EXPIRED)
    count = _NAIVE if rounds > 1 else _NAIVE // 10
    loop = home.python("-m", "bench.baseline", "naive", str(count), str(home.credentials))
    naive = loop.seconds * roles / count
    took = [one.took.seconds for one in passes]
    at = f"{roles:,} roles, STS at {latency * 1000:g} ms"
    return [
        Figure(f"{at}: `assumed refresh`", "s", took),
        Figure(f"{at}: ideal", "s", ideal),
        Figure(f"{at}: naive loop, extrapolated from {count}", "s", [naive]),
        Figure(f"{at}: to ideal", "x", ratios(took, ideal), _LIMITS[latency]),
        Figure(f"{at}: naive loop to this", "x", [naive / one for one in took], 60, at_least=True),
        Figure(f"{at}: rewrites of the file", "", [one.rewrites for one in passes], 30),
        Figure(f"{at}: calls a second", "/s", [one.calls_a_second for one in passes]),
    ]


def _growth(home: Home, stub: StubSts, rounds: int) -> list[Figure]:
    """Measure whether the time grows faster than the number of roles."""
    stub.configure(Settings())
    few, many, raw_few, raw_many = [], [], [], []
    for _ in range(rounds):
        raw_few.append(_botocore(home, 1000, 1).seconds)
        few.append(_pass(home, stub, 1000))
        raw_many.append(_botocore(home, 5000, 1).seconds)
        many.append(_pass(home, stub, 5000))
    rates = [[one.calls_a_second for one in passes] for passes in (few, many)]
    return [
        Figure("5,000 roles: calls a second", "/s", rates[1]),
        Figure("5,000 roles: calls a second, to those of 1,000", "x", ratios(rates[1], rates[0]),
               0.9, at_least=True),
        Figure("5,000 roles: to ideal", "x",
               ratios([one.took.seconds for one in many], raw_many)),
        Figure("5,000 roles: rewrites of the file", "", [one.rewrites for one in many]),
    ]  # fmt: skip


def _cpu(home: Home, stub: StubSts, rounds: int) -> list[Figure]:
    """Measure the CPU time of one refresh: of a thousand, less that of a command with one."""
    roles = 1000
    stub.configure(Settings())
    ours, bare = [], []
    for _ in range(rounds):
        cold = _pass(home, stub, roles).took.cpu_seconds
        home.store(roles - 1)
        one = home.run(home.assumed("refresh")).cpu_seconds
        ours.append((cold - one) / (roles - 1) * 1000)
        calls = _botocore(home, roles, 1).cpu_seconds - _botocore(home, 0, 1).cpu_seconds
        bare.append(calls / roles * 1000)
    return [
        Figure("CPU of one refresh, start-up aside", "ms", ours, 1.6),
        Figure("CPU of one call of botocore", "ms", bare),
    ]


def _alone(home: Home, stub: StubSts, rounds: int) -> list[Figure]:
    """Measure a single role."""
    stub.configure(Settings())
    takes, ideal = [], []
    for _ in range(rounds):
        ideal.append(_botocore(home, 1, 1).seconds)
        takes.append(_pass(home, stub, 1))
    took = [one.took.seconds for one in takes]
    return [
        Figure("one role: `assumed refresh`, to ideal", "x", ratios(took, ideal)),
        Figure("one role: rewrites of the file", "", [one.rewrites for one in takes], 1),
    ]


def _under_quota(home: Home, stub: StubSts, rounds: int) -> list[Figure]:
    """Measure 500 roles while STS accepts 100 calls a second."""
    seconds, calls, ideal, succeeded = [], [], [], []
    for _ in range(rounds):
        stub.configure(Settings(quota=_QUOTA))
        succeeded.append(int(_botocore(home, _QUOTA_ROLES, 32, "standard").output))
        stub.configure(Settings(quota=_QUOTA))
        # As fast as the quota allows; its first second is a burst.
        start = _botocore(home, 0, 1).seconds
        ideal.append(start + (_QUOTA_ROLES - _QUOTA) / _QUOTA)
        home.configure(_QUOTA_ROLES)
        home.store(_QUOTA_ROLES, remaining=_EXPIRED)
        stub.calls()
        with home.daemon() as daemon:

            def is_fresh() -> bool:
                return OLD_KEY not in home.credentials.read_text()

            wait_until(is_fresh, "500 fresh roles")
            seconds.append(time.time() - daemon.started_at)
            made = len(stub.calls())
        calls.append(made / _QUOTA_ROLES)
    at = f"{_QUOTA_ROLES} roles, quota {_QUOTA}/s"
    return [
        Figure(f"{at}: until all are fresh, to ideal", "x", ratios(seconds, ideal), 1.5),
        Figure(f"{at}: calls a role", "", calls, 1.4),
        Figure(f"{at}: fresh with botocore's own retries", "", succeeded),
    ]


@contextmanager
def _home(stub: StubSts) -> Iterator[Home]:
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory), stub.endpoint_url)
        home.store()
        yield home


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.refresh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, without latency")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    options = parser.parse_args(arguments)
    rounds = 1 if options.quick else 3
    with StubSts() as stub, _home(stub) as home:
        figures = _many(home, stub, rounds, 0.0)
        if not options.quick:
            figures += _many(home, stub, rounds, 0.05)
        figures += _cpu(home, stub, rounds)
        figures += _alone(home, stub, rounds)
        if not options.quick:
            figures += _under_quota(home, stub, rounds)
            figures += _growth(home, stub, rounds)
    publish("refresh", figures, directory=options.output, rounds=rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
