"""What the operating system refused, as an error that a person can act on."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from assumed.errors import CredentialsFileUnwritableError

_HEALS = "the credentials stay in memory and are written as soon as it works again"
_HINTS: Mapping[int, str] = {
    errno.ENOSPC: f"free some space on that file system; {_HEALS}",
    errno.EDQUOT: f"free some space: the disk quota is used up; {_HEALS}",
    errno.EROFS: "mount it writable, name another file under credentials_file: path:, or, in a "
    "systemd unit, list the folder in ReadWritePaths=",
    errno.EACCES: "the folder has to be writable, not the file alone: a new file takes its place",
    errno.EPERM: "run assumed as the user who owns the file, and look for `chattr +i`",
    errno.EIO: f"the disk reports errors: see `dmesg`; {_HEALS}",
    errno.ENOENT: "create the folder, or correct credentials_file: path:",
    errno.ELOOP: "mend the symbolic link: it leads back to itself, or was just put there",
}


def unwritable(
    path: Path, operation: str, error: OSError, *, hint: str | None = None
) -> CredentialsFileUnwritableError:
    """Return the error for an operation that failed.

    Args:
        path: what it was done to.
        operation: completes "can't …", such as `write`.
        error: the system's reason.
        hint: instead of the one for this reason.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    return CredentialsFileUnwritableError(
        f"{path}: can't {operation}: {reason}",
        hint=hint or _HINTS.get(error.errno or 0, f"see what is wrong with {path.parent}"),
    )


@contextmanager
def during(operation: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` in the block into `CredentialsFileUnwritableError`."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, operation, error) from error
