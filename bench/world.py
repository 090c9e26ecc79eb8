"""A home directory for benchmarks: a configuration, a credentials file, commands, a daemon."""

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

_TIMEOUT_SECONDS = 300
_POLL_SECONDS = 0.02
_KEYS = "[keys]\naws_access_key_id = AKIAEXAMPLEEXAMPLE00\naws_secret_access_key = example\n\n"
_SESSION_NAME = "bench"
OLD_KEY = f"ASIA{0:016}"
"""The access key id of each session that `Home.store` wrote; those of the stub differ."""


@dataclass(frozen=True, slots=True)
class CommandRun:
    """What one command has used, and its result.

    Args:
        seconds: wall time.
        cpu_seconds: CPU time of the command and its child processes.
        output: its standard output.
        status: its exit status.
    """

    seconds: float
    cpu_seconds: float
    output: str
    status: int


class Home:
    """The home directory of a user whose STS is a stub.

    Args:
        directory: an empty one.
        endpoint_url: of the stub.
    """

    def __init__(self, directory: Path, endpoint_url: str) -> None:
        self.credentials = directory / ".aws" / "credentials"
        self.config = directory / ".config" / "assumed" / "config.yaml"
        self._directory = directory
        self.environ = {
            "HOME": str(directory),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(directory / "run"),
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PROFILE": "keys",
            "NO_PROXY": "127.0.0.1",
        }
        for file in (self.credentials, self.config):
            file.parent.mkdir(mode=0o700, parents=True)
            file.touch(mode=0o600)

    def configure(self, roles: int | Sequence[str], *, in_memory: Sequence[str] = ()) -> None:
        """Write a configuration of roles with one source.

        Args:
            roles: how many, or the suffixes of their names.
            in_memory: those with `store: memory`.
        """
        lines = [
            f"  role-{name}:\n    role_arn: {ROLE_ARN.format(name)}\n"
            + ("    store: memory\n" if name in in_memory else "")
            for name in _names(roles)
        ]
        self.config.write_text(
            f"defaults:\n  source_profile: keys\n  role_session_name: {_SESSION_NAME}\n"
            f"profiles:\n{''.join(lines)}"
        )

    def store(
        self, roles: int | Sequence[str] = 0, *, remaining: timedelta = timedelta(hours=1)
    ) -> None:
        """Write a credentials file with a session of each role, which expires after `remaining`."""
        expiration = f"{datetime.now(UTC) + remaining:%Y-%m-%dT%H:%M:%SZ}"
        account = ROLE_ARN.split(":")[4]
        sections = [
            f"[role-{name}]\naws_access_key_id = {OLD_KEY}\n"
            f"aws_secret_access_key = {'x' * 40}\naws_session_token = {'x' * 900}\n"
            f"aws_account_id = {account}\nx_security_token_expires = {expiration}\n"
            f"x_principal_arn = arn:aws:sts::{account}:assumed-role/role-{name}/{_SESSION_NAME}\n"
            "manager = assumed\n\n"
            for name in _names(roles)
        ]
        self.credentials.write_text(_KEYS + "".join(sections))

    def assumed(self, *arguments: str) -> list[str]:
        """Return the command line of assumed."""
        return [str(Path(sys.executable).with_name("assumed")), *arguments]

    def run(self, command: Sequence[str]) -> CommandRun:
        """Run a command to its end."""
        began_at = time.perf_counter()
        with subprocess.Popen(  # noqa: S603
            command,
            env=self.environ,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            took = time.perf_counter() - began_at
            process.returncode = os.waitstatus_to_exitcode(status)
        return CommandRun(took, usage.ru_utime + usage.ru_stime, output, process.returncode)

    def python(self, *arguments: str) -> CommandRun:
        """Run this Python to its end."""
        return self.run([sys.executable, *arguments])

    @contextmanager
    def daemon(self, *command: str) -> Iterator[Daemon]:
        """Run a daemon until the end of the `with`: `assumed run`, or another command."""
        command = command or (*self.assumed("run", "--log-level", "error"),)
        with Daemon(self, command, self._directory) as daemon:
            yield daemon


class Daemon:
    """A daemon that notifies this process as it notifies systemd."""

    def __init__(self, home: Home, command: Sequence[str], directory: Path) -> None:
        self._home, self._command, self._directory = home, command, directory
        self._address = directory / "notify"

    def __enter__(self) -> Daemon:
        self.listen()
        self.started_at = time.time()
        with (self._directory / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self._command,
                env={**self._home.environ, "NOTIFY_SOCKET": str(self._address)},
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._notified.close()

    def listen(self) -> None:
        """Receive its notifications, as systemd does."""
        self._address.unlink(missing_ok=True)
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notified.bind(str(self._address))
        self._notified.settimeout(_TIMEOUT_SECONDS)

    def ready(self) -> float:
        """Return how many seconds after its start it was ready."""
        while b"READY=1" not in self._notified.recv(4096):
            continue
        took = time.time() - self.started_at
        # No one reads later notifications, which would fill the socket.
        self._notified.close()
        return took

    def stop(self) -> float:
        """Stop it as systemd does; return how many seconds that took."""
        asked_at = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_TIMEOUT_SECONDS)
        return time.perf_counter() - asked_at

    @property
    def cpu_seconds(self) -> float:
        """The CPU time of its threads, as the kernel's scheduler counts it."""
        return _task_sum(self.process.pid, "schedstat", lambda text: int(text.split()[0])) / 1e9

    @property
    def switches(self) -> int:
        """The number of its voluntary context switches."""
        return _task_sum(
            self.process.pid, "status", lambda text: int(_line(text, "voluntary_ctxt_switches"))
        )

    @property
    def resident_kib(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(_line(status, "VmRSS").split()[0])

    @property
    def threads(self) -> int:
        """The number of its threads."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    @property
    def descriptors(self) -> int:
        """The number of its open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def _names(roles: int | Sequence[str]) -> Sequence[str]:
    return [*map(str, range(roles))] if isinstance(roles, int) else roles


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Poll until a condition holds."""
    give_up_at = time.monotonic() + _TIMEOUT_SECONDS
    while not is_so():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"waited {_TIMEOUT_SECONDS} s for {what}")
        time.sleep(_POLL_SECONDS)


def _task_sum(pid: int, file: str, number: Callable[[str], int]) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(number((task / file).read_text()) for task in tasks)


def _line(text: str, name: str) -> str:
    return next(line.split(":")[1] for line in text.splitlines() if line.startswith(f"{name}:"))
