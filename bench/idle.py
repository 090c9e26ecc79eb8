"""What an idle daemon costs: its start, and each minute after it.

`python -m bench.idle [--quick]` prints a table, and writes bench/results: idle.json and idle.svg.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.baseline import BEAT_SECONDS
from bench.figures import RESULTS, Figure, publish
from bench.stub import StubSts
from bench.world import Home

_ROLES = (1, 1000)
_MINUTE = 60
_START_LIMITS = {1: 1.3, 1000: 3.0}
_MIB_LIMITS = {1: 66, 1000: 76}
_SETTLING_SECONDS = 3


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one heartbeat and two starts")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    options = parser.parse_args(arguments)
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
