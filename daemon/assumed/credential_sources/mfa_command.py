"""The `mfa_process` command, which prints an MFA code. Its output is never logged or shown."""

from __future__ import annotations

import re

from assumed.errors import SourceUnavailableError
from assumed.subprocesses import run

_TIMEOUT_SECONDS = 30
_MAX_BYTES = 1 << 12
_MFA_CODE = re.compile(r"[0-9]{6}")


def is_mfa_code(text: str) -> bool:
    """Return whether `text` is six ASCII digits."""
    return _MFA_CODE.fullmatch(text) is not None


def read_mfa_code(command: tuple[str, ...], timeout_seconds: float = _TIMEOUT_SECONDS) -> str:
    """Run `command` and return the six digits that it prints.

    Raises:
        SourceUnavailableError: it fails, takes too long, or prints anything else.
    """
    completed = run(command, timeout_seconds=timeout_seconds, max_bytes=_MAX_BYTES)
    problem = completed.problem
    code = completed.output.decode("ascii", errors="replace").strip()
    if problem is None and not is_mfa_code(code):
        problem = "did not print an MFA code: six digits and nothing else"
    if problem is not None:
        raise SourceUnavailableError(
            f"mfa_process {command[0]} {problem}",
            hint="run it by hand, as the user and in the environment of the daemon; or enter a "
            "code with `assumed login`",
        )
    return code
