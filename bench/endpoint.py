"""Latency and memory of the container credentials endpoint under attack.

`python -m bench.endpoint [--connections 10000]` prints its result and writes it to
bench/results/endpoint.json. The endpoint runs in a process of its own, with the usual limit of
1,024 descriptors. The client closes no connection before the end, and sends a valid request after
every 250 of them. Then it announces a body of 1 GiB and sends it.

At last a process of another user connects and disconnects without a pause for 10 seconds, while
the client sends valid requests. As root only, since no one else can start such a process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from assumed.models import Credentials
from assumed.server.container_credentials import ContainerCredentialsEndpoint
from assumed.server.http import LOOPBACK

_RESULTS = Path(__file__).parent / "results" / "endpoint.json"
_USUAL_LIMIT = 1024
_REQUEST_INTERVAL = 250
_BODY_BYTES = 1 << 30
_OTHER_UID = 65534
_FLOOD_SECONDS = 10.0
_HONEST_PAUSE_SECONDS = 0.02


class _StaticSource:
    """A source that always has the same credentials."""

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        future: Future[Credentials] = Future()
        future.set_result(
            Credentials(
                access_key_id="ASIAEXAMPLE",
                secret_access_key="x" * 40,
                session_token="x" * 900,
                expiration=datetime.now(UTC) + timedelta(hours=1),
                principal_arn=f"arn:aws:sts::111122223333:assumed-role/{profile}/bench",
            )
        )
        return future


def _serve(directory: Path) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_USUAL_LIMIT, _USUAL_LIMIT))
    endpoint = ContainerCredentialsEndpoint(_StaticSource(), directory)
    address = endpoint.address("deploy")
    sys.stdout.write(json.dumps([address.url, str(address.token_file)]) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    endpoint.close()


def _connect_without_pause(port: int) -> None:
    os.setgroups([])
    os.setgid(_OTHER_UID)
    os.setuid(_OTHER_UID)
    sys.stdout.write("started\n")
    sys.stdout.flush()
    connects, end = 0, time.monotonic() + _FLOOD_SECONDS
    while time.monotonic() < end:
        with socket.socket() as connection:
            connection.setblocking(False)
            # EINPROGRESS if the queue is full, EADDRNOTAVAIL if there is no port left.
            with suppress(OSError):
                connection.connect((LOOPBACK, port))
            connects += 1
    sys.stdout.write(f"{connects}\n")


@dataclass
class _Result:
    silent_connections: int
    took_seconds: float
    valid_requests: int
    median_ms_before: float
    median_ms_during: float
    worst_ms_during: float
    max_descriptors: int
    kib_before: int
    kib_after: int
    body_bytes_sent: int
    flood: _Flood | None


@dataclass
class _Flood:
    connects_per_second: int
    valid_requests: int
    failed_requests: int
    median_ms: float
    worst_ms: float


class _Bench:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        url, token_file = json.loads(process.stdout.readline())
        parts = urlsplit(url)
        self._pid = process.pid
        self._host, self._port, self._path = parts.hostname or "", parts.port or 0, parts.path
        self._token = Path(token_file).read_text()

    def measure(self, connections: int) -> _Result:
        before = [self._request() for _ in range(200)]
        kib_before = self._kib()
        during: list[float] = []
        descriptors = 0
        with ExitStack() as stack:
            started_at = time.perf_counter()
            for number in range(connections):
                stack.enter_context(self._connect())
                if number % _REQUEST_INTERVAL == 0:
                    during.append(self._request())
                    descriptors = max(descriptors, len(os.listdir(f"/proc/{self._pid}/fd")))  # noqa: PTH208
            took = time.perf_counter() - started_at
            during.append(self._request())
            kib_after = self._kib()
        return _Result(
            silent_connections=connections,
            took_seconds=round(took, 2),
            valid_requests=len(during),
            median_ms_before=round(median(before), 2),
            median_ms_during=round(median(during), 2),
            worst_ms_during=round(max(during), 2),
            max_descriptors=descriptors,
            kib_before=kib_before,
            kib_after=kib_after,
            body_bytes_sent=self._send_body(),
            flood=self._flood() if os.geteuid() == 0 else None,
        )

    def _flood(self) -> _Flood:
        command = [sys.executable, "-m", "bench.endpoint", "--flood", str(self._port)]
        took: list[float] = []
        failed = 0
        with subprocess.Popen(  # noqa: S603 - this program
            command, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            process.stdout.readline()
            while process.poll() is None:
                try:
                    took.append(self._request())
                except OSError:
                    failed += 1
                time.sleep(_HONEST_PAUSE_SECONDS)
            connects = int(process.stdout.readline())
        return _Flood(
            connects_per_second=round(connects / _FLOOD_SECONDS),
            valid_requests=len(took),
            failed_requests=failed,
            median_ms=round(median(took), 2),
            worst_ms=round(max(took), 2),
        )

    def _request(self) -> float:
        started_at = time.perf_counter()
        connection = HTTPConnection(self._host, self._port, timeout=30)
        connection.request("GET", self._path, headers={"Authorization": self._token})
        response = connection.getresponse()
        response.read()
        connection.close()
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"the response to a valid request is {response.status}")
        return (time.perf_counter() - started_at) * 1000

    def _send_body(self) -> int:
        sent = 0
        with self._connect() as connection, suppress(OSError):
            connection.sendall(
                f"GET {self._path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
                f"Content-Length: {_BODY_BYTES}\r\n\r\n".encode()
            )
            while sent < _BODY_BYTES:
                sent += connection.send(b"x" * (1 << 16))
        self._request()
        return sent

    def _connect(self) -> socket.socket:
        return socket.create_connection((self._host, self._port), timeout=30)

    def _kib(self) -> int:
        status = Path(f"/proc/{self._pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1])


def main() -> int:
    """Measure, print the result and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--flood", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.flood is not None:
        _connect_without_pause(arguments.flood)
        return 0
    if arguments.serve is not None:
        _serve(arguments.serve)
        return 0
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, arguments.connections + 100), hard))
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "bench.endpoint", "--serve", f"{directory}/run"]
        with subprocess.Popen(  # noqa: S603 - this program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            result = _Bench(process).measure(arguments.connections)
            process.communicate()
    shape = {
        "measured_at": f"{datetime.now(UTC):%Y-%m-%d}",
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        **asdict(result),
    }
    _RESULTS.write_text(json.dumps(shape, indent=1) + "\n")
    sys.stdout.write(json.dumps(shape, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
