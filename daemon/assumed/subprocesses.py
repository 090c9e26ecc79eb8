"""Commands run without a shell, in a process group of their own and for a limited time.

A kill reaches everything that the command has started. A command has no terminal here, so this
is not for programs that may ask the user, such as systemctl by way of polkit.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class CompletedCommand:
    """The end of a command.

    Args:
        output: what it printed.
        status: the exit status, or the negative number of the signal that killed it; None if it
            was never started.
        problem: what follows the command's name in a message, such as `exited with status 1`;
            None if it succeeded.
        is_timeout: it was killed because it took too long.
    """

    output: bytes
    status: int | None
    problem: str | None
    is_timeout: bool = False


_running: set[int] = set()


def running_commands() -> Set[int]:
    """Return the process IDs of the commands that have not been waited for."""
    return frozenset(_running)


@contextmanager
def running_command(pid: int) -> Iterator[None]:
    """Name a process that the caller waits for as one of `running_commands`."""
    _running.add(pid)
    try:
        yield
    finally:
        _running.discard(pid)


class ProcessGroup:
    """A running command with everything that it has started.

    One thread reads its output; `stop` is safe to call from any thread.

    Args:
        command: the program and its arguments.
        with_stderr: read standard error too, which is discarded otherwise.
        environ: its environment; None for that of this process.

    Raises:
        OSError: it cannot be started; `strerror` says why.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        with_stderr: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a command of the user's own files
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if with_stderr else subprocess.DEVNULL,
                start_new_session=True,
            )
        except ValueError as error:  # a NUL in an argument
            raise OSError(errno.EINVAL, "invalid command") from error
        _running.add(self._process.pid)
        self._is_stopped = False
        self.status: int | None = None
        """As in `CompletedCommand`; None until `read` is done."""
        self.problem: str | None = None
        """As in `CompletedCommand`; None until `read` is done."""
        self.is_timeout = False
        """As in `CompletedCommand`."""

    def read(self, timeout_seconds: float) -> Generator[bytes, None, None]:
        """Yield the output until the command and everything that shares its output has ended.

        The group is killed at the time-out, and also if the caller closes the iterator.
        """
        deadline = time.monotonic() + timeout_seconds
        is_complete = False
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - it is a pipe
        # It is closed after the kill: else a command that still writes may die of SIGPIPE first.
        with pipe:
            try:
                is_complete = yield from self._chunks(pipe, deadline)
                if is_complete:
                    with suppress(subprocess.TimeoutExpired):
                        self._process.wait(max(0.0, deadline - time.monotonic()))
                    is_complete = self._process.returncode is not None
            finally:
                if not is_complete:
                    self._kill()
                self.status = self._process.wait()
                _running.discard(self._process.pid)
        self.problem = self._describe(is_complete, timeout_seconds)

    def stop(self) -> None:
        """Kill the command and everything that it has started."""
        self._is_stopped = True
        self._kill()

    @staticmethod
    def _chunks(pipe: IO[bytes], deadline: float) -> Generator[bytes, None, bool]:
        """Yield the output; return whether its end was reached before the deadline."""
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while (remaining := deadline - time.monotonic()) > 0 and poll.poll(remaining * 1000):
            data = os.read(pipe.fileno(), _CHUNK_BYTES)
            if not data:
                return True
            yield data
        return False

    def _kill(self) -> None:
        # Until it was waited for, no other group can have its number.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _describe(self, is_complete: bool, timeout_seconds: float) -> str | None:
        if self._is_stopped:
            return "was stopped"
        if not is_complete:
            self.is_timeout = True
            return f"did not finish within {timeout_seconds:g} s"
        if self.status is not None and self.status < 0:
            return f"was killed by signal {-self.status}"
        return f"exited with status {self.status}" if self.status else None


def run(command: Sequence[str], *, timeout_seconds: float, max_bytes: int) -> CompletedCommand:
    """Run a command and return its standard output; kill it if it is too slow or prints too much.

    Args:
        command: the program and its arguments.
        timeout_seconds: the time-out.
        max_bytes: how much it may print.
    """
    try:
        group = ProcessGroup(command)
    except OSError as error:
        return CompletedCommand(b"", None, f"could not be started: {error.strerror}")
    printed = b""
    with closing(group.read(timeout_seconds)) as chunks:
        for chunk in chunks:
            printed += chunk
            if len(printed) > max_bytes:
                break
    if len(printed) > max_bytes:
        return CompletedCommand(b"", group.status, f"printed more than {max_bytes} bytes")
    return CompletedCommand(printed, group.status, group.problem, group.is_timeout)
