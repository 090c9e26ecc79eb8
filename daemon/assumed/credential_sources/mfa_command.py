"""The `mfa_process` command, which prints an MFA code. Its output is never logged or shown."""

from __future__ import annotations

import re

from assumed.credential_sources.source_slots import SOURCE_SLOTS
from assumed.errors import SourceTimeoutError, SourceUnavailableError
from assumed.progress import waiting_for
from assumed.subprocesses import run
from assumed.untrusted_text import clean

TIMEOUT_SECONDS = 120.0
_MAX_BYTES = 1 << 12
_MFA_CODE = re.compile(r"[0-9]{6}")
_HINT = (
    "run it by hand, as the user and in the environment of the daemon; or enter a code with "
    "`assumed login`"
)
_hanging: set[tuple[str, ...]] = set()
"""The commands that were killed at their last run."""


def is_mfa_code(text: str) -> bool:
    """Return whether `text` is six ASCII digits."""
    return _MFA_CODE.fullmatch(text) is not None


def read_mfa_code(command: tuple[str, ...], timeout_seconds: float | None = None) -> str:
    """Run `command` and return the six digits that it prints.

    Args:
        command: the program and its arguments.
        timeout_seconds: until it is killed, with everything that it has started; 120 by default.

    Raises:
        SourceTimeoutError: it takes too long.
        SourceUnavailableError: it fails, or prints anything else.
    """
    timeout = TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds
    label = f"mfa_process {clean(command[0])}"
    is_suspect = command in _hanging
    with waiting_for(label), SOURCE_SLOTS.slot(label, is_suspect=is_suspect):
        completed = run(command, timeout_seconds=timeout, max_bytes=_MAX_BYTES)
    problem = completed.problem
    if completed.is_timeout:
        _hanging.add(command)
        raise SourceTimeoutError(f"{label} {problem}", hint=_HINT)
    _hanging.discard(command)
    code = completed.output.decode("ascii", errors="replace").strip()
    if problem is None and not is_mfa_code(code):
        problem = "did not print an MFA code: six digits and nothing else"
    if problem is not None:
        raise SourceUnavailableError(f"{label} {problem}", hint=_HINT)
    return code
