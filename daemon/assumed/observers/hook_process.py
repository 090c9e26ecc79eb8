"""One run of a hook: a process group of its own, its output line by line, its end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress

from assumed.errors import HookFailedError

_CHUNK_BYTES = 1 << 16
_HINT = "run it by hand, as the user and with the PATH of the daemon"


class HookProcess:
    """A command that was started without a shell.

    Raises:
        HookFailedError: it can't be started.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own command, in their file
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it can be no command"
            raise HookFailedError(f"{command[0]} can't be started: {reason}", hint=_HINT) from None
        self._is_ended = False

    def lines(self, timeout_seconds: float) -> Iterator[str]:
        """Yield what it prints until it is done, and what it has started and left its output to.

        A line of over 64 KiB loses its middle; empty lines are left out.

        Raises:
            HookFailedError: it was not done in time, and was ended; or it failed.
        """
        give_up_at = time.monotonic() + timeout_seconds
        is_done = yield from self._printed(give_up_at)
        if is_done:
            try:
                self._process.wait(max(0.0, give_up_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                is_done = False
        if not is_done:
            self._kill()
        status = self._process.wait()
        if self._is_ended:
            raise HookFailedError("it was ended, for assumed stops", hint=_HINT)
        if not is_done:
            raise HookFailedError(
                f"it was not done within {timeout_seconds:g} s, and was ended", hint=_HINT
            )
        if status < 0:
            raise HookFailedError(f"it was ended by signal {-status}", hint=_HINT)
        if status:
            raise HookFailedError(f"it ended with status {status}", hint=_HINT, hook_status=status)

    def end(self) -> None:
        """End it and all that it has started; from any thread."""
        self._is_ended = True
        self._kill()

    def _kill(self) -> None:
        # Until it was waited for, no other group can have its number.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _printed(self, give_up_at: float) -> Generator[str, None, bool]:
        """Yield lines; return whether there is nothing more to come."""
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        with self._process.stdout as pipe:
            poll = select.poll()
            poll.register(pipe, select.POLLIN)
            rest = b""
            while (left := give_up_at - time.monotonic()) > 0 and poll.poll(left * 1000):
                data = os.read(pipe.fileno(), _CHUNK_BYTES)
                *whole, rest = (rest + data).split(b"\n")
                # As if the last line had an end, once there is nothing more to come.
                for line in whole if data else [rest]:
                    if text := line.decode(errors="replace").strip():
                        yield text
                if not data:
                    return True
                rest = rest[:_CHUNK_BYTES]
            return False
