"""A home of its own: a configuration of many roles, a credentials file, and what runs in it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.baseline import ROLE_ARN

_PATIENCE_SECONDS = 300
_LOOK_SECONDS = 0.02
_KEYS = "[keys]\naws_access_key_id = AKIAEXAMPLEEXAMPLE00\naws_secret_access_key = example\n\n"
_SESSION_NAME = "bench"
OLD_KEY = f"ASIA{0:016}"
"""The access key id of a session that `Home.store` wrote; the stub's have the time in theirs."""


@dataclass(frozen=True, slots=True)
class Took:
    """What one command took.

    Args:
        seconds: from its start to its end.
        cpu_seconds: of its own and of what it started.
        output: what it printed.
        status: its exit status.
    """

    seconds: float
    cpu_seconds: float
    output: str
    status: int


class Home:
    """One user's home on a machine where a stub is STS.

    Args:
        folder: an empty one.
        endpoint_url: of the stub.
    """

    def __init__(self, folder: Path, endpoint_url: str) -> None:
        self.credentials = folder / ".aws" / "credentials"
        self.config = folder / ".config" / "assumed" / "config.yaml"
        self._folder = folder
        self.environ = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PROFILE": "keys",
            "NO_PROXY": "127.0.0.1",
        }
        for file in (self.credentials, self.config):
            file.parent.mkdir(mode=0o700, parents=True)
            file.touch(mode=0o600)

    def configure(self, roles: int | Sequence[str], *, held: Sequence[str] = ()) -> None:
        """Write a configuration of so many roles of one source, or of roles with these names.

        Args:
            roles: how many, or the ends of their names.
            held: those that are kept in memory alone.
        """
        lines = [
            f"  role-{name}:\n    role_arn: {ROLE_ARN.format(name)}\n"
            + ("    store: memory\n" if name in held else "")
            for name in _names(roles)
        ]
        self.config.write_text(
            f"defaults:\n  source_profile: keys\n  role_session_name: {_SESSION_NAME}\n"
            f"profiles:\n{''.join(lines)}"
        )

    def store(
        self, roles: int | Sequence[str] = 0, *, left: timedelta = timedelta(hours=1)
    ) -> None:
        """Write a credentials file with a session of each role, of which so much is left."""
        ends = f"{datetime.now(UTC) + left:%Y-%m-%dT%H:%M:%SZ}"
        account = ROLE_ARN.split(":")[4]
        sections = [
            f"[role-{name}]\naws_access_key_id = {OLD_KEY}\n"
            f"aws_secret_access_key = {'x' * 40}\naws_session_token = {'x' * 900}\n"
            f"aws_account_id = {account}\nx_security_token_expires = {ends}\n"
            f"x_principal_arn = arn:aws:sts::{account}:assumed-role/role-{name}/{_SESSION_NAME}\n"
            "manager = assumed\n\n"
            for name in _names(roles)
        ]
        self.credentials.write_text(_KEYS + "".join(sections))

    def assumed(self, *arguments: str) -> list[str]:
        """Return the command line of assumed."""
        return [str(Path(sys.executable).with_name("assumed")), *arguments]

    def run(self, command: Sequence[str]) -> Took:
        """Run a command to its end."""
        began_at = time.perf_counter()
        with subprocess.Popen(  # noqa: S603
            command,
            env=self.environ,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            took = time.perf_counter() - began_at
            process.returncode = os.waitstatus_to_exitcode(status)
        return Took(took, usage.ru_utime + usage.ru_stime, output, process.returncode)

    def python(self, *arguments: str) -> Took:
        """Run this Python to its end."""
        return self.run([sys.executable, *arguments])

    @contextmanager
    def daemon(self, *command: str) -> Iterator[Daemon]:
        """Run a daemon, `assumed run` where no other command is given, until the `with` ends."""
        command = command or (*self.assumed("run", "--log-level", "error"),)
        with Daemon(self, command, self._folder) as daemon:
            yield daemon


class Daemon:
    """A daemon that tells when it is ready as it tells systemd."""

    def __init__(self, home: Home, command: Sequence[str], folder: Path) -> None:
        self._home, self._command, self._folder = home, command, folder
        self._address = folder / "notify"

    def __enter__(self) -> Daemon:
        self.hear()
        self.started_at = time.time()
        with (self._folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self._command,
                env={**self._home.environ, "NOTIFY_SOCKET": str(self._address)},
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._notified.close()

    def hear(self) -> None:
        """Listen to what it tells, as systemd does."""
        self._address.unlink(missing_ok=True)
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(self._address))
        self._notified.settimeout(_PATIENCE_SECONDS)

    def ready(self) -> float:
        """Return how many seconds after its start it was ready."""
        while b"READY=1" not in self._notified.recv(4096):
            continue
        took = time.time() - self.started_at
        # What is told from now on nobody reads, and it would pile up.
        self._notified.close()
        return took

    def stop(self) -> float:
        """End it as systemd does; return how many seconds that took."""
        asked_at = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_PATIENCE_SECONDS)
        return time.perf_counter() - asked_at

    @property
    def cpu_seconds(self) -> float:
        """How long its threads have run, as the kernel's scheduler counts it."""
        return _task_sum(self.process.pid, "schedstat", lambda text: int(text.split()[0])) / 1e9

    @property
    def switches(self) -> int:
        """How often a thread of it has gone to sleep by itself."""
        return _task_sum(
            self.process.pid, "status", lambda text: int(_line(text, "voluntary_ctxt_switches"))
        )

    @property
    def resident_kib(self) -> int:
        """How much memory it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(_line(status, "VmRSS").split()[0])

    @property
    def threads(self) -> int:
        """How many it has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    @property
    def descriptors(self) -> int:
        """How many it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def _names(roles: int | Sequence[str]) -> Sequence[str]:
    return [*map(str, range(roles))] if isinstance(roles, int) else roles


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Look again and again until it is so."""
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"waited {_PATIENCE_SECONDS} s for {what}")
        time.sleep(_LOOK_SECONDS)


def _task_sum(pid: int, file: str, number: Callable[[str], int]) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(number((task / file).read_text()) for task in tasks)


def _line(text: str, name: str) -> str:
    return next(line.split(":")[1] for line in text.splitlines() if line.startswith(f"{name}:"))
