"""The command that prints an MFA code: run without a shell, and what it says is told to nobody."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress

from assumed.errors import SourceUnavailableError

_TIMEOUT_SECONDS = 30
_CODE = re.compile(rb"[0-9]{6}")


def printed_code(command: tuple[str, ...], timeout: float = _TIMEOUT_SECONDS) -> str:
    """Run `command` and return the six digits that it prints.

    Raises:
        SourceUnavailableError: it prints none, fails, or is not done in time.
    """
    name = command[0]
    try:
        # A process group of its own, to end with all that it has started.
        process = subprocess.Popen(  # noqa: S603 - the user's own command, in a file that is theirs
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it can be no command"
        raise _failed(name, f"it can't be started: {reason}") from None
    with process:
        try:
            printed, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise _failed(name, f"it has not printed a code within {timeout:g} s") from None
    if process.returncode:
        raise _failed(name, f"it ended with status {process.returncode}")
    if not _CODE.fullmatch(printed.strip()):
        raise _failed(name, "what it prints is no code: six digits, and nothing else")
    return printed.strip().decode()


def _failed(name: str, why: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        f"mfa_process {name}: {why}",
        hint="run it by hand to see why, as the user and in the environment of the daemon; or give "
        "a code with `assumed login`",
    )
