"""Read the credentials file at one moment, whole, and not in the middle of another write."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from assumed.aws_files import read
from assumed.errors import CredentialsFileMalformedError, CredentialsFileUnwritableError
from assumed.fsutil import MAX_AWS_FILE_BYTES, PRIVATE_MODE
from assumed.storage.errors import wrap_os_errors
from assumed.storage.lease import (
    LeaseKind,
    LeaseState,
    acquire_lease,
    is_lease_broken,
    release_lease,
)

_POLL_INTERVAL_SECONDS = 0.005
_WRITER_TIMEOUT_SECONDS = 2
_READER_TIMEOUT_SECONDS = 0.25
_MAX_ATTEMPTS = 5
_RETRY_INTERVAL_SECONDS = 0.02
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileSignature:
    """Identity, size and time of a file: it changes when the file is written or replaced."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileSignature:
        """Return the signature in the result of a stat call."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    @classmethod
    def lstat(cls, path: Path) -> FileSignature | None:
        """Return the signature of a file without following a link, or None if it is missing."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return cls.of(path.lstat())
        return None

    @classmethod
    def stat(cls, path: Path) -> FileSignature | None:
        """Return the signature of the file behind all links, or None if it cannot be read."""
        with suppress(OSError):
            return cls.of(path.stat())
        return None

    def is_same_file(self, other: FileSignature | None) -> bool:
        """Whether both belong to the same file, whatever its content."""
        return other is not None and (self.device, self.inode) == (other.device, other.inode)


class OpenFile:
    """An open file, with a lease that shows whether another process wants to write it.

    Args:
        descriptor: closed by `close`, which also ends the lease.
        kind: the kind of the lease.
        lease: the result of the request for it.
        status: from before the file was read.
        data: the content of the file.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        kind: LeaseKind,
        lease: LeaseState,
        status: os.stat_result,
        data: bytes,
    ) -> None:
        self.descriptor = descriptor
        self.lease = lease
        self.data = data
        self.status = status
        self.signature = FileSignature.of(status)
        self._kind = kind

    def is_lease_broken(self) -> bool:
        """Whether another process waits until the file is closed."""
        return self.lease is LeaseState.HELD and is_lease_broken(self.descriptor, self._kind)

    def was_modified(self) -> bool:
        """Whether another process has written the file since, or waits to do so."""
        if self.lease is LeaseState.HELD:
            return self.is_lease_broken()
        return FileSignature.of(os.fstat(self.descriptor)) != self.signature

    def release_lease(self) -> None:
        """Let other processes write until `reacquire_and_verify`."""
        if self.lease is LeaseState.HELD:
            release_lease(self.descriptor)

    def reacquire_and_verify(self) -> bool:
        """Acquire the lease again; return whether the file still has the content that was read."""
        if self.lease is LeaseState.HELD:
            self.lease = acquire_lease(self.descriptor, self._kind)
            if self.lease is LeaseState.BUSY:
                return False
        return os.pread(self.descriptor, len(self.data) + 1, 0) == self.data

    def close(self) -> None:
        """Close the file and end the lease; a process that waited for it continues."""
        os.close(self.descriptor)

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_stable(
    path: Path,
    *,
    sleep: Callable[[float], None],
    kind: LeaseKind = LeaseKind.READ,
    require_no_writer: bool = False,
) -> OpenFile | None:
    """Open the file when no process is in the middle of writing it; None if it is missing.

    An empty file is read again, a few times: other programs truncate it before they write. Without
    leases, so is a malformed file: another program may not have finished it.

    Args:
        path: has no symbolic links left.
        sleep: waits for a number of seconds.
        kind: with `WRITE`, the file is opened for writing, and readers wait too.
        require_no_writer: raise if another process keeps the file open for writing. Otherwise the
            content is read after a while, whatever it is.

    Raises:
        CredentialsFileUnwritableError: the file cannot be opened, is not a regular file, or is kept
            open for writing.
    """
    for _ in range(_MAX_ATTEMPTS):
        file = _open_leased(path, sleep=sleep, kind=kind, require_no_writer=require_no_writer)
        if file is None or _is_stable(file, path):
            return file
        file.close()
        sleep(_RETRY_INTERVAL_SECONDS)
    return _open_leased(path, sleep=sleep, kind=kind, require_no_writer=require_no_writer)


def require_regular_file(path: Path) -> None:
    """Reject a path that names something else than a file; a missing file is accepted.

    Raises:
        CredentialsFileUnwritableError: it is a directory, a FIFO or a device.
        OSError: a system call fails.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise CredentialsFileUnwritableError(
            f"{path} is {_file_type(mode)}, not a file",
            hint="remove it, or correct credentials_file: path: or AWS_SHARED_CREDENTIALS_FILE",
        )


def _open_leased(
    path: Path, *, sleep: Callable[[float], None], kind: LeaseKind, require_no_writer: bool
) -> OpenFile | None:
    timeout = _WRITER_TIMEOUT_SECONDS if require_no_writer else _READER_TIMEOUT_SECONDS
    for _ in range(round(timeout / _POLL_INTERVAL_SECONDS)):
        descriptor = _open(path, kind, os.O_NONBLOCK)
        if descriptor is None:
            return None
        if descriptor >= 0:
            lease = acquire_lease(descriptor, kind)
            if lease is not LeaseState.BUSY:
                return _read(path, descriptor, kind, lease)
            os.close(descriptor)
        sleep(_POLL_INTERVAL_SECONDS)
    if require_no_writer and _supports_leases(path.parent):
        raise CredentialsFileUnwritableError(
            f"{path}: another program keeps it open for writing",
            hint=f"find the program: `fuser -v {path}`; its edit could be lost by a write now",
        )
    descriptor = _open(path, kind, 0)
    return None if descriptor is None else _read(path, descriptor, kind, LeaseState.UNSUPPORTED)


def _open(path: Path, kind: LeaseKind, extra_flags: int) -> int | None:
    """Return a descriptor, None if the file is missing, -1 if another process holds a lease."""
    access = os.O_RDWR if kind is LeaseKind.WRITE else os.O_RDONLY
    with wrap_os_errors("open", path):
        try:
            # An open of a FIFO or a device could block or have an effect, so check before it.
            require_regular_file(path)
            return os.open(path, access | os.O_NOFOLLOW | extra_flags)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return -1


def _read(path: Path, descriptor: int, kind: LeaseKind, lease: LeaseState) -> OpenFile:
    try:
        with wrap_os_errors("read", path):
            status = os.fstat(descriptor)
            if status.st_size > MAX_AWS_FILE_BYTES:
                raise CredentialsFileUnwritableError(
                    f"{path} is larger than {MAX_AWS_FILE_BYTES >> 20} MiB",
                    hint="remove what is not needed from it",
                )
            chunks = []
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                chunks.append(chunk)
    except BaseException:
        os.close(descriptor)
        raise
    return OpenFile(descriptor, kind=kind, lease=lease, status=status, data=b"".join(chunks))


def _is_stable(file: OpenFile, path: Path) -> bool:
    if not file.data:
        return False
    if file.lease is LeaseState.HELD:
        return True
    try:
        read(file.data, path=str(path))
    except CredentialsFileMalformedError:
        return False
    return not file.was_modified()


def _supports_leases(directory: Path) -> bool:
    """Whether leases work in a directory: some file systems report "busy" instead of "never"."""
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR, PRIVATE_MODE)
    except (OSError, AttributeError):
        return False
    try:
        return acquire_lease(descriptor, LeaseKind.WRITE) is LeaseState.HELD
    finally:
        os.close(descriptor)


def _file_type(mode: int) -> str:
    for is_type, name in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISLNK, "a symbolic link that leads nowhere"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_type(mode):
            return name
    return "a device"
