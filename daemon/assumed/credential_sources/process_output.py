"""Runs a `credential_process`: for a limited time, and its output up to a limit."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from assumed.credential_sources.source_slots import SOURCE_SLOTS
from assumed.errors import SourceTimeoutError, SourceUnavailableError
from assumed.progress import waiting_for
from assumed.subprocesses import running_command

TIMEOUT_SECONDS = 120.0
_MAX_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_hanging: set[str] = set()
"""The profiles whose command was killed at its last run."""


class LimitedProcess:
    """A command that is killed after 120 s, or if it prints more than 1 MiB.

    It has the part of `subprocess.Popen` that botocore uses. Without a terminal, everything that
    the command has started is killed too. On a terminal it may ask the user for something there,
    which a process group of its own would prevent.

    Args:
        profile: the profile of the AWS files that names the command.
        command: the program and its arguments.
    """

    def __init__(self, profile: str, command: Sequence[str], **_: Any) -> None:
        self._profile = profile
        self._command = command
        self.returncode: int | None = None

    def communicate(self) -> tuple[bytes, bytes]:
        """Run the command; return its standard output and standard error.

        Raises:
            OSError: it cannot be started.
            LocalFaultError: too many commands have not ended.
            SourceTimeoutError: it did not end in time.
            SourceUnavailableError: an output is too large.
        """
        label = f"credential_process of source profile {self._profile}"
        is_suspect = self._profile in _hanging
        with waiting_for(label), SOURCE_SLOTS.slot(label, is_suspect=is_suspect):
            has_group = not _has_terminal()
            process = subprocess.Popen(  # noqa: S603 - a command of the user's own files
                self._command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=has_group,
            )
            with process, running_command(process.pid):
                try:
                    return self._read(process, time.monotonic() + TIMEOUT_SECONDS)
                finally:
                    if process.poll() is None:
                        _kill(process, with_group=has_group)
                    self.returncode = process.wait()

    def _read(self, process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        assert process.stderr is not None  # noqa: S101
        found = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        with selectors.DefaultSelector() as selector:
            for descriptor in found:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                for key, _events in selector.select(self._remaining(deadline)):
                    data = os.read(key.fd, _CHUNK_BYTES)
                    if not data:
                        selector.unregister(key.fd)
                    found[key.fd] += data
                    if len(found[key.fd]) > _MAX_BYTES:
                        raise SourceUnavailableError(
                            f"a credential_process printed more than {_MAX_BYTES >> 20} MiB",
                            hint="run it by hand: it must print one JSON object",
                        )
        try:
            process.wait(self._remaining(deadline))
        except subprocess.TimeoutExpired:
            raise self._timeout() from None
        _hanging.discard(self._profile)
        output, errors = found.values()
        return bytes(output), bytes(errors)

    def _remaining(self, deadline: float) -> float:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise self._timeout()
        return remaining

    def _timeout(self) -> SourceTimeoutError:
        _hanging.add(self._profile)
        return SourceTimeoutError(
            f"the credential_process of source profile {self._profile} did not end within "
            f"{TIMEOUT_SECONDS:g} s, and was killed",
            hint="run it by hand, as the user and in the environment of the daemon if one runs: "
            "it may ask a question that no one can answer, or wait for a server",
        )


def _kill(process: subprocess.Popen[bytes], *, with_group: bool) -> None:
    # Until it was waited for, no other group can have its number.
    with suppress(ProcessLookupError):
        if with_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


@cache
def _has_terminal() -> bool:
    """Return whether this process has a controlling terminal, on which a command can ask."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
