"""Locks beside the credentials file: one for a commit, one for the life of a daemon."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from assumed.errors import AlreadyRunningError, CredentialsFileUnwritableError
from assumed.fsutil import PRIVATE_MODE, create_directory, open_or_create
from assumed.storage.errors import during
from assumed.storage.permissions import own, owner_of_new_files

_TURN_SECONDS = 0.005
_PATIENCE_SECONDS = 30
_MOST_BYTES = 4096


@contextmanager
def commit_lock(path: Path, *, sleep: Callable[[float], None]) -> Iterator[int]:
    """Hold the lock that all writers of ours share; yields the descriptor of its file.

    Args:
        path: the lock file; created with its folder where they are missing.
        sleep: waits some seconds.

    Raises:
        CredentialsFileUnwritableError: the lock can't be had, or not within 30 s.
    """
    descriptor = open_private(path)
    try:
        with during("lock", path):
            for _ in range(round(_PATIENCE_SECONDS / _TURN_SECONDS)):
                if _try_lock(descriptor):
                    break
                sleep(_TURN_SECONDS)
            else:
                raise CredentialsFileUnwritableError(
                    f"{path}: another assumed has been writing for {_PATIENCE_SECONDS} s",
                    hint=f"see which one hangs: `fuser -v {path}`",
                )
        yield descriptor
    finally:
        os.close(descriptor)


class DaemonLock:
    """The sign that a daemon has something for itself; held until `release`.

    Args:
        path: the lock file; created with its folder where they are missing.
        config: the daemon's configuration file, to tell it to the one that comes second.

    Raises:
        AlreadyRunningError: another daemon holds it; the message names its process and
        configuration. CredentialsFileUnwritableError: the lock file can't be had.
    """

    def __init__(self, path: Path, *, config: str) -> None:
        self._descriptor = open_private(path)
        try:
            with during("lock", path):
                if not _try_lock(self._descriptor):
                    raise _already_running(path, read_all(self._descriptor))
                overwrite(
                    self._descriptor,
                    json.dumps({"pid": os.getpid(), "config": config}).encode(),
                )
        except BaseException:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let another daemon have the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)

    def __enter__(self) -> DaemonLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def open_private(path: Path) -> int:
    """Open a file of ours for reading and writing, created 0600 where it is missing.

    Raises:
        CredentialsFileUnwritableError: it can't be had, or is a link, no plain file, or not ours:
            then somebody wants us to write elsewhere.
    """
    with during("create the folder", path.parent):
        create_directory(path.parent)
    with during("open", path):
        descriptor = open_or_create(path)
    try:
        with during("open", path):
            user, group = owner_of_new_files(path.parent)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise CredentialsFileUnwritableError(
                    f"{path} is no plain file", hint="remove it: assumed makes its own"
                )
            if status.st_uid not in {os.geteuid(), user}:
                raise CredentialsFileUnwritableError(
                    f"{path} belongs to another user",
                    hint="remove it: assumed makes its own",
                )
            own(descriptor, user, group)
            os.fchmod(descriptor, PRIVATE_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_all(descriptor: int) -> bytes:
    """Return the first 4096 bytes of a file of ours."""
    return os.pread(descriptor, _MOST_BYTES, 0)


def overwrite(descriptor: int, data: bytes) -> None:
    """Make these bytes the whole of a file of ours."""
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            raise
        return False
    return True


def _already_running(path: Path, content: bytes) -> AlreadyRunningError:
    try:
        holder = json.loads(content)
        who = f"assumed with pid {int(holder['pid'])} and configuration {holder['config']}"
    except (ValueError, TypeError, KeyError):
        who = "another assumed"
    return AlreadyRunningError(
        f"{who} runs already and holds {path}",
        hint="stop it first, or give this one a file of its own: credentials_file: path:",
    )
