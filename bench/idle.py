"""What an idle daemon costs: its start, and each minute after it.

`python -m bench.idle [--quick]` prints a table, and writes bench/results: idle.json and idle.svg.
`--soak 30` instead refreshes 1,000 profiles with sessions of half a minute for 30 minutes, and
writes soak.json and soak.svg: memory, descriptors and threads over time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.baseline import BEAT_SECONDS
from bench.figures import RESULTS, Figure, plot, publish
from bench.stub import Settings, StubSts
from bench.world import Daemon, Home

_ROLES = (1, 1000)
_MINUTE = 60
_START_LIMITS = {1: 1.3, 1000: 3.0}
_MIB_LIMITS = {1: 66, 1000: 76}
_SETTLING_SECONDS = 3
_SOAK_LIFETIME = 30
_SOAK_POLL_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Idle:
    """One daemon with all profiles fresh.

    Args:
        mib: of resident memory.
        wake_ups: a minute, of all threads.
        cpu_ms: a minute, extrapolated from each heartbeat. The minimum is the least disturbed one:
            the first instructions after a pause depend on what else has used the processor.
    """

    mib: float
    wake_ups: float
    cpu_ms: Sequence[float]


@contextmanager
def _fresh(stub: StubSts, roles: int) -> Iterator[Home]:
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory), stub.endpoint_url)
        home.configure(roles)
        home.store(roles)
        yield home


def _idle(stub: StubSts, beats: int) -> tuple[list[Idle], list[float]]:
    """Measure idle daemons side by side, one for each of `_ROLES`.

    Args:
        stub: STS.
        beats: for how many heartbeats.

    Returns:
        The daemons, and the `Idle.cpu_ms` of a process that wakes as often and does nearly nothing.
    """
    with ExitStack() as stack:
        daemons = []
        for roles in _ROLES:
            home = stack.enter_context(_fresh(stub, roles))
            daemon = stack.enter_context(home.daemon())
            daemon.ready()
            # It need not be read: the messages of a few minutes fit into the socket.
            daemon.listen()
            # The imports of the first request are not part of a minute.
            if home.run(home.assumed("status", "--json")).status != 0 or stub.calls():
                raise RuntimeError("the daemon has something to do")
            daemons.append(daemon)
        another = stack.enter_context(_fresh(stub, 1))
        waking = another.daemon(sys.executable, "-m", "bench.baseline", "beats")
        processes = [*daemons, stack.enter_context(waking)]
        time.sleep(_SETTLING_SECONDS)
        switches = [daemon.switches for daemon in daemons]
        samples = [[process.cpu_seconds for process in processes]]
        for _ in range(beats):
            time.sleep(BEAT_SECONDS)
            samples.append([process.cpu_seconds for process in processes])
        a_minute = _MINUTE / BEAT_SECONDS
        *costs, baseline = (
            [(after - before) * 1000 * a_minute for before, after in pairwise(values)]
            for values in zip(*samples, strict=True)
        )
        return [
            Idle(
                mib=daemon.resident_kib / 1024,
                wake_ups=(daemon.switches - before) * a_minute / beats,
                cpu_ms=cost,
            )
            for daemon, before, cost in zip(daemons, switches, costs, strict=True)
        ], baseline


def _starts(stub: StubSts, roles: int, rounds: int) -> list[float]:
    """Return the ratio of the start of a daemon to that of boto3 and a client, round by round."""
    found = []
    with _fresh(stub, roles) as home:
        for _ in range(rounds):
            baseline = home.python("-m", "bench.baseline", "calls", "0", "1").seconds
            with home.daemon() as daemon:
                found.append(daemon.ready() / baseline)
    return found


def _bare_mib(stub: StubSts) -> float:
    """Return the memory of boto3 and one client."""
    with (
        _fresh(stub, 1) as home,
        home.daemon(sys.executable, "-m", "bench.baseline", "idle") as process,
    ):
        time.sleep(2)
        return process.resident_kib / 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """The resources of a daemon at one moment.

    Args:
        minute: since the soak began.
        mib: of resident memory.
        descriptors: open ones.
        threads: running ones.
        refreshes: since the last sample.
    """

    minute: float
    mib: float
    descriptors: int
    threads: int
    refreshes: int


def soak(minutes: float, roles: int, output: Path) -> None:
    """Refresh without a pause, and record memory, descriptors and threads."""
    samples: list[Sample] = []
    with StubSts() as stub, tempfile.TemporaryDirectory() as directory:
        stub.configure(Settings(lifetime=_SOAK_LIFETIME))
        home = Home(Path(directory), stub.endpoint_url)
        home.store()
        home.configure(roles)
        with home.daemon() as daemon:
            daemon.ready()
            # The first round of refreshes fills the caches.
            time.sleep(_SOAK_LIFETIME)
            stub.calls()
            began_at = time.monotonic()
            while time.monotonic() < began_at + minutes * _MINUTE:
                samples.append(_sample(daemon, stub, began_at))
                time.sleep(_SOAK_POLL_SECONDS)
            samples.append(_sample(daemon, stub, began_at))
    tenth = max(1, len(samples) // 10)
    ends = samples[:tenth], samples[-tenth:]

    def grown(which: str) -> float:
        first, last = (max(getattr(sample, which) for sample in end) for end in ends)
        return float(last - first)

    figures = [
        Figure(f"{roles:,} profiles of {_SOAK_LIFETIME} s: memory, end less start", "MiB",
               [grown("mib")], 3),
        Figure("descriptors, end less start", "", [grown("descriptors")], 2),
        Figure("threads, end less start", "", [grown("threads")], 2),
        Figure("refreshes", "", [sum(sample.refreshes for sample in samples)]),
    ]  # fmt: skip
    shape = [astuple(sample) for sample in samples]
    publish("soak", figures, directory=output, minutes=minutes, looks=shape)
    plot(output / "soak.svg", lambda axes: _draw(axes, samples), rows=3, height=6)


def _sample(daemon: Daemon, stub: StubSts, began_at: float) -> Sample:
    return Sample(
        minute=round((time.monotonic() - began_at) / _MINUTE, 3),
        mib=round(daemon.resident_kib / 1024, 2),
        descriptors=daemon.descriptors,
        threads=daemon.threads,
        refreshes=len(stub.calls()),
    )


def _draw(axes: Any, samples: Sequence[Sample]) -> None:
    minutes = [sample.minute for sample in samples]
    for axis, which in zip(axes, ("mib", "descriptors", "threads"), strict=True):
        axis.plot(minutes, [getattr(sample, which) for sample in samples], linewidth=0.8)
        axis.set_ylabel(which)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one heartbeat and two starts")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="refresh for so long instead")
    parser.add_argument("--roles", type=int, default=1000, help="for the soak (1000)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    options = parser.parse_args(arguments)
    if options.soak is not None:
        soak(options.soak, options.roles, options.output)
        return 0
    beats, starts = (1, 2) if options.quick else (8, 7)
    figures = []
    with StubSts() as stub:
        for roles in _ROLES:
            figures.append(
                Figure(
                    f"start to READY, {roles:,} fresh profiles, to boto3 with a client", "x",
                    _starts(stub, roles, starts), _START_LIMITS[roles],
                )
            )  # fmt: skip
        idle, baseline = _idle(stub, beats)
        for roles, found in zip(_ROLES, idle, strict=True):
            with_ = f"idle with {roles:,} profiles"
            figures += [
                Figure(f"{with_}: memory", "MiB", [found.mib], _MIB_LIMITS[roles]),
                Figure(f"{with_}: wake-ups a minute", "", [found.wake_ups], 8),
                Figure(f"{with_}: CPU a minute", "ms", found.cpu_ms, 3),
            ]
        figures.append(Figure("a process that wakes as often: CPU a minute", "ms", baseline))
        figures.append(Figure("boto3 with a client: memory", "MiB", [_bare_mib(stub)]))
    publish("idle", figures, directory=options.output, beats=beats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
