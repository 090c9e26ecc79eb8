"""An hour of one daemon under a hostile script: nothing is lost, nothing leaks, no status lies.

`python -m bench.soak [--minutes 60] [--seed 1]` runs a real daemon with sessions of a minute. Every
few seconds something breaks for a while: no descriptors, no room in files, directories moved away,
the process stopped, STS down, slow or answering nonsense, other writers, reloads, signals. It
prints a table, and writes bench/results: soak.json and soak.svg. All of it is on the loopback
interface and in a temporary directory.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.baseline import ROLE_ARN
from bench.figures import RESULTS, Figure, plot, publish
from bench.stub import Settings, StubSts
from bench.world import Daemon, Home
from tests.integration.faulty_sts import FaultySts

_LIFETIME = 60
_ROLES = 100
_MINUTE = 60
_MAX_FAULT_SECONDS = 20
_MAX_CALM_SECONDS = 5
_MAX_RECOVERY_SECONDS = 75
_POLL_SECONDS = 1.0
_MAX_LOG_CHARACTERS = 200_000
_STS_FAULTS = ("500", "503", "throttling", "garbled-xml", "portal", "empty", "truncated", "reset")
_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGQUIT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Sample:
    """The resources of the daemon at one moment, when nothing is broken.

    Args:
        minute: since the soak began.
        mib: of resident memory.
        descriptors: open ones.
        threads: running ones.
    """

    minute: float
    mib: float
    descriptors: int
    threads: int


@dataclass
class Findings:
    """What has happened.

    Args:
        faults: how many of each kind.
        recovered_after: seconds from the end of a fault until all profiles were valid, by kind.
        lost: profiles that were not valid in time.
        lies: `valid` in the status for a session that has expired.
        samples: one after each fault.
    """

    faults: Counter[str] = field(default_factory=Counter)
    recovered_after: dict[str, list[float]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    lies: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)


class Soak:
    """The hostile script.

    Args:
        home: of the daemon.
        daemon: that runs.
        stub: STS.
        faulty: the proxy in front of it.
        seed: the same faults in the same order for the same seed.
    """

    def __init__(
        self, home: Home, daemon: Daemon, stub: StubSts, faulty: FaultySts, *, seed: int
    ) -> None:
        self.findings = Findings()
        self._home, self._daemon, self._stub, self._faulty = home, daemon, stub, faulty
        self._random = random.Random(seed)  # noqa: S311 - the same soak for the same seed
        self._is_stopped = False
        self._kinds = (
            self._no_descriptors, self._no_room, self._log_directory_moved,
            self._aws_directory_moved, self._configuration_moved, self._stopped, self._sts_down,
            self._sts_fault, self._sts_hangs, self._other_writer, self._malformed_file,
            self._reload, self._signals,
        )  # fmt: skip

    def run(self, minutes: float) -> None:
        """Break something, wait until all is well again, and so on."""
        began_at = time.monotonic()
        order: list[Callable[[], Any]] = []
        while time.monotonic() < began_at + minutes * _MINUTE:
            self._watch(self._random.random() * _MAX_CALM_SECONDS)
            if not order:
                # Each kind once in every round.
                order = self._random.sample(self._kinds, len(self._kinds))
            kind = order.pop()
            name = kind.__name__.removeprefix("_").replace("_", " ")
            self.findings.faults[name] += 1
            with kind():
                self._watch(1 + self._random.random() * _MAX_FAULT_SECONDS)
            self._wait_for_recovery(name)
            self.findings.samples.append(self._sample(began_at))

    def internal_errors(self) -> float:
        """Return how many errors of assumed itself the metrics have counted."""
        connection = HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        runtime = Path(self._home.environ["XDG_RUNTIME_DIR"])
        connection.sock.connect(str(runtime / "assumed" / "assumed.sock"))
        connection.request("GET", "/v1/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        rows = [row for row in text.splitlines() if row.startswith("assumed_internal_errors_total")]
        return sum(float(row.rpartition(" ")[2]) for row in rows)

    def _watch(self, seconds: float) -> None:
        """Look at the status until the time is over."""
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            if not self._is_stopped:
                self._not_valid()
            time.sleep(min(_POLL_SECONDS, remaining))

    def _wait_for_recovery(self, kind: str) -> None:
        healed_at = time.monotonic()
        while not_valid := self._not_valid():
            if time.monotonic() > healed_at + _MAX_RECOVERY_SECONDS:
                self.findings.lost.append(f"{kind}: {', '.join(not_valid)}")
                break
            time.sleep(_POLL_SECONDS / 4)
        took = round(time.monotonic() - healed_at, 2)
        self.findings.recovered_after.setdefault(kind, []).append(took)
        sys.stdout.write(f"{kind}: all valid after {took} s\n")
        sys.stdout.flush()

    def _not_valid(self) -> list[str]:
        """Return the profiles that are not valid, and record those that only say so."""
        asked_at = datetime.now(UTC)
        done = self._home.run(self._home.assumed("status", "--json"))
        status = json.loads(done.output) if done.output else {}
        if not status.get("daemon"):
            return ["the daemon did not answer"]
        for row in status["profiles"]:
            # The stub counts in whole seconds, as STS does.
            if row["state"] == "valid" and datetime.fromisoformat(row["expires_at"]) <= asked_at:
                self.findings.lies.append(f"{row['profile']} at {asked_at}")
        return [row["profile"] for row in status["profiles"] if row["state"] != "valid"]

    def _sample(self, began_at: float) -> Sample:
        return Sample(
            minute=round((time.monotonic() - began_at) / _MINUTE, 3),
            mib=round(self._daemon.resident_kib / 1024, 2),
            descriptors=self._daemon.descriptors,
            threads=self._daemon.threads,
        )

    @contextmanager
    def _limited(self, which: int, limit: int) -> Iterator[None]:
        pid = self._daemon.process.pid
        before = resource.prlimit(pid, which)
        resource.prlimit(pid, which, (limit, before[1]))
        yield
        resource.prlimit(pid, which, before)

    @contextmanager
    def _moved(self, directory: Path) -> Iterator[None]:
        away = directory.with_name(f"{directory.name}-away")
        directory.rename(away)
        yield
        # The daemon may have made another one.
        shutil.rmtree(directory, ignore_errors=True)
        away.rename(directory)

    def _no_descriptors(self) -> Any:
        return self._limited(resource.RLIMIT_NOFILE, self._random.randrange(3, 20))

    def _no_room(self) -> Any:
        """No file may grow: neither the log nor the credentials file can be written."""
        return self._limited(resource.RLIMIT_FSIZE, 0)

    def _log_directory_moved(self) -> Any:
        return self._moved(log_file(self._home).parent)

    def _aws_directory_moved(self) -> Any:
        return self._moved(self._home.credentials.parent)

    def _configuration_moved(self) -> Any:
        return self._moved(self._home.config.parent)

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        self._daemon.process.send_signal(signal.SIGSTOP)
        self._is_stopped = True
        yield
        self._daemon.process.send_signal(signal.SIGCONT)
        self._is_stopped = False

    @contextmanager
    def _sts_down(self) -> Iterator[None]:
        self._stub.configure(Settings(lifetime=_LIFETIME, is_down=True))
        yield
        self._stub.configure(Settings(lifetime=_LIFETIME))

    @contextmanager
    def _sts_answers(self, *faults: str) -> Iterator[None]:
        share = self._random.choice([0.1, 1.0])
        for number in range(_ROLES):
            if self._random.random() <= share:
                self._faulty.faults[ROLE_ARN.format(number)] = self._random.choice(faults)
        yield
        self._faulty.faults.clear()

    def _sts_fault(self) -> Any:
        return self._sts_answers(*_STS_FAULTS)

    def _sts_hangs(self) -> Any:
        return self._sts_answers("hang")

    @contextmanager
    def _other_writer(self) -> Iterator[None]:
        """Remove the profiles of the daemon from the file, as an editor does with an old copy."""
        text, _, _ = self._home.credentials.read_text().partition("[role-")
        self._home.credentials.write_text(text)
        yield

    @contextmanager
    def _malformed_file(self) -> Iterator[None]:
        line = "this is no line of an AWS file\n"
        with self._home.credentials.open("a") as file:
            file.write(line)
        yield
        text = self._home.credentials.read_text()
        self._home.credentials.write_text(text.replace(line, ""))

    @contextmanager
    def _reload(self) -> Iterator[None]:
        """Change every definition, and back."""
        text = self._home.config.read_text()
        changed = text.replace("defaults:\n", "defaults:\n  refresh_before: 30%\n")
        self._home.config.write_text(changed)
        yield
        self._home.config.write_text(text)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        for number in self._random.choices(_SIGNALS, k=10):
            self._daemon.process.send_signal(number)
        yield


def log_file(home: Home) -> Path:
    """Return the log of the daemon, in a directory of its own."""
    return home.config.parents[2] / "log" / "assumed.log"


def soak(minutes: float, seed: int, output: Path) -> bool:
    """Run it, print a table and write the results; return whether nothing was lost or wrong."""
    with (
        StubSts() as stub,
        FaultySts(stub.endpoint_url) as faulty,
        tempfile.TemporaryDirectory() as directory,
    ):
        stub.configure(Settings(lifetime=_LIFETIME))
        home = Home(Path(directory), f"http://127.0.0.1:{faulty.port}")
        home.store()
        home.configure(_ROLES, in_memory=[str(number) for number in range(0, _ROLES, 10)])
        log_file(home).parent.mkdir(mode=0o700)
        command = home.assumed("run", "--log-file", str(log_file(home)))
        with home.daemon(*command) as daemon:
            daemon.ready()
            script = Soak(home, daemon, stub, faulty, seed=seed)
            script.run(minutes)
            internal_errors = script.internal_errors()
            is_alive = daemon.process.poll() is None
        if internal_errors:
            # A file that is full or away misses some lines, which standard error has then.
            for log in (log_file(home), Path(directory, "daemon.log")):
                sys.stdout.write(f"\n{log.name}:\n{log.read_text()[-_MAX_LOG_CHARACTERS:]}\n")
    findings = script.findings
    publish(
        "soak", _figures(findings, internal_errors), directory=output, minutes=minutes, seed=seed,
        faults=dict(sorted(findings.faults.items())),
        recovered_after={kind: max(took) for kind, took in findings.recovered_after.items()},
        lost=findings.lost[:20], lies=findings.lies[:20],
        looks=[astuple(sample) for sample in findings.samples],
    )  # fmt: skip
    plot(output / "soak.svg", lambda axes: _draw(axes, findings.samples), rows=3, height=6)
    return is_alive and not (findings.lost or findings.lies or internal_errors)


def _figures(findings: Findings, internal_errors: float) -> list[Figure]:
    samples = findings.samples
    tenth = max(1, len(samples) // 10)

    def grown(which: str) -> float:
        first, last = (
            max(getattr(sample, which) for sample in end)
            for end in (samples[:tenth], samples[-tenth:])
        )
        return float(last - first)

    took = [seconds for each in findings.recovered_after.values() for seconds in each]
    return [
        Figure("faults", "", [sum(findings.faults.values())]),
        Figure(f"faults after which a profile was lost ({_MAX_RECOVERY_SECONDS} s)", "",
               [len(findings.lost)], 0),
        Figure("`valid` in the status for an expired session", "", [len(findings.lies)], 0),
        Figure("errors of assumed itself", "", [internal_errors], 0),
        Figure("from the end of a fault until all are valid, the worst", "s", [max(took)],
               _MAX_RECOVERY_SECONDS),
        Figure("memory, end less start", "MiB", [grown("mib")], 5),
        Figure("descriptors, end less start", "", [grown("descriptors")], 4),
        Figure("threads, end less start", "", [grown("threads")], 4),
    ]  # fmt: skip


def _draw(axes: Any, samples: Sequence[Sample]) -> None:
    minutes = [sample.minute for sample in samples]
    for axis, which in zip(axes, ("mib", "descriptors", "threads"), strict=True):
        axis.plot(minutes, [getattr(sample, which) for sample in samples], linewidth=0.8)
        axis.set_ylabel(which)
        axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; return 1 if something was lost or wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    options = parser.parse_args(arguments)
    return 0 if soak(options.minutes, options.seed, options.output) else 1


if __name__ == "__main__":
    sys.exit(main())
