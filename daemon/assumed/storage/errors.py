"""Errors of the operating system as errors with a hint: disk full, read-only, permission denied."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from assumed.errors import CredentialsFileUnwritableError
from assumed.fsutil import foreign_owner_hint

_HINTS: Mapping[int, str] = {
    errno.ENOSPC: "free space on that file system",
    errno.EDQUOT: "free space: the disk quota is exceeded",
    errno.EROFS: "mount it writable, set another file in credentials_file: path:, or, in a systemd "
    "unit, list the directory in ReadWritePaths=",
    errno.EACCES: "make the directory writable: a new file replaces the old one",
    errno.EPERM: "run assumed as the owner of the file, and look for `chattr +i`",
    errno.EIO: "the disk reports errors: see `dmesg`",
    errno.ENOENT: "create the directory, or correct credentials_file: path:",
    errno.ELOOP: "the link points to itself; if it was just created, try again",
}


def unwritable(path: Path, operation: str, error: OSError) -> CredentialsFileUnwritableError:
    """Return the error for a failed operation.

    Args:
        path: the file or directory.
        operation: completes "cannot …", such as `write`.
        error: the reason.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    is_denied = error.errno in {errno.EACCES, errno.EPERM}
    return CredentialsFileUnwritableError(
        f"{path}: cannot {operation}: {reason}",
        hint=(foreign_owner_hint(path) if is_denied else None)
        or _HINTS.get(error.errno or 0, f"check {path.parent}"),
    )


@contextmanager
def wrap_os_errors(operation: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` in the block into a `CredentialsFileUnwritableError`."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, operation, error) from error
