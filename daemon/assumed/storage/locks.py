"""Lock files: one for the time of a write, one for the lifetime of a daemon."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from assumed.errors import AlreadyRunningError, CredentialsFileUnwritableError
from assumed.fsutil import PRIVATE_MODE, create_directory, open_or_create
from assumed.storage.errors import wrap_os_errors
from assumed.storage.permissions import chown, owner_of_new_files

_POLL_INTERVAL_SECONDS = 0.005
_LOCK_TIMEOUT_SECONDS = 30
_MAX_BYTES = 4096
_UCRED = struct.Struct("=iii")


@contextmanager
def write_lock(path: Path, *, sleep: Callable[[float], None]) -> Iterator[int]:
    """Hold the lock that all assumed processes take to write; yields the descriptor of its file.

    Args:
        path: the lock file; it and its directory are created if missing.
        sleep: waits for a number of seconds.

    Raises:
        CredentialsFileUnwritableError: the lock cannot be acquired, or not within 30 s.
    """
    descriptor = open_private(path)
    try:
        with wrap_os_errors("lock", path):
            for _ in range(round(_LOCK_TIMEOUT_SECONDS / _POLL_INTERVAL_SECONDS)):
                if _try_lock(descriptor):
                    break
                sleep(_POLL_INTERVAL_SECONDS)
            else:
                raise CredentialsFileUnwritableError(
                    f"{path}: another assumed process has held it for {_LOCK_TIMEOUT_SECONDS} s",
                    hint=f"find the process: `fuser -v {path}`",
                )
        yield descriptor
    finally:
        os.close(descriptor)


class DaemonLock:
    """The exclusive lock of a running daemon; held until `release`.

    It is a lock on a file, which names its holder, and a name that belongs to the directory of the
    file, since a user may remove the file.

    Args:
        path: the lock file; it and its directory are created if missing.
        config: the daemon's configuration file, to report it to a second daemon.

    Raises:
        AlreadyRunningError: another daemon holds it; the message names its process and
            configuration.
        CredentialsFileUnwritableError: the lock file cannot be opened or locked.
    """

    def __init__(self, path: Path, *, config: str) -> None:
        self._name: socket.socket | None = None
        self._descriptor = open_private(path)
        try:
            with wrap_os_errors("lock", path):
                if not _try_lock(self._descriptor):
                    raise _already_running(path, read_lock_file(self._descriptor))
                self._name = _bind_name(path)
                write_lock_file(
                    self._descriptor,
                    json.dumps({"pid": os.getpid(), "config": config}).encode(),
                )
        except BaseException:
            os.close(self._descriptor)
            self._release_name()
            raise

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        self._release_name()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)

    def _release_name(self) -> None:
        if self._name is not None:
            self._name.close()

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
    """Open a file that assumed owns for reading and writing; create it with mode 0600 if missing.

    Raises:
        CredentialsFileUnwritableError: a system call fails; or it is a link, not a regular file, or
            another user's: that user could redirect what is written.
    """
    with wrap_os_errors("create the directory", path.parent):
        create_directory(path.parent)
    with wrap_os_errors("open", path):
        descriptor = open_or_create(path)
    try:
        with wrap_os_errors("open", path):
            user, group = owner_of_new_files(path.parent)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise CredentialsFileUnwritableError(
                    f"{path} is not a regular file, or has hard links",
                    hint="remove it: assumed creates its own",
                )
            if status.st_uid not in {os.geteuid(), user}:
                raise CredentialsFileUnwritableError(
                    f"{path} belongs to another user",
                    hint="remove it: assumed creates its own",
                )
            chown(descriptor, user, group)
            os.fchmod(descriptor, PRIVATE_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_lock_file(descriptor: int) -> bytes:
    """Return the content of a lock file, at most 4096 bytes."""
    return os.pread(descriptor, _MAX_BYTES, 0)


def write_lock_file(descriptor: int, data: bytes) -> None:
    """Replace the content of a lock file."""
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


def _bind_name(path: Path) -> socket.socket | None:
    """Bind an abstract socket (unix(7)) that is named after the directory and the lock file.

    Returns:
        None where there are no such sockets, or if another user took the name: then the file alone
        is the lock.

    Raises:
        AlreadyRunningError: another process of this user, or of root, has the name.
        OSError: a system call fails.
    """
    if sys.platform != "linux":
        return None
    directory = path.parent.stat()
    place = f"{directory.st_dev}:{directory.st_ino}:{path.name}".encode(errors="surrogateescape")
    name = b"\0assumed/" + hashlib.sha256(place).hexdigest().encode()
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        holder.bind(name)
        # Without it, no one could ask who has the name.
        holder.listen(socket.SOMAXCONN)
    except OSError as error:
        holder.close()
        if error.errno != errno.EADDRINUSE:
            raise
        pid, uid = _holder_of(name)
        if uid not in {os.geteuid(), 0}:
            return None
        raise _already_running(path, json.dumps({"pid": pid}).encode()) from None
    return holder


def _holder_of(name: bytes) -> tuple[int, int]:
    """Return the process and the user that have an abstract name; 0 and -1 if that is unknown."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(name)
        except OSError:
            # Its queue is full, which this program never sees to, or it is free by now.
            return 0, -1
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, _ = _UCRED.unpack(credentials)
    return pid, uid


def _already_running(path: Path, content: bytes) -> AlreadyRunningError:
    try:
        holder = json.loads(content)
        who = f"assumed with pid {int(holder['pid'])}"
        if "config" in holder:
            who += f" and configuration {holder['config']}"
    except (ValueError, TypeError, KeyError):
        who = "another assumed process"
    return AlreadyRunningError(
        f"{who} is already running and holds {path}",
        hint="stop it first, or give this daemon a credentials file (credentials_file: path:) and "
        "a socket (XDG_RUNTIME_DIR) of its own",
    )
