"""The credentials file as it is at one moment, whole, and not in the middle of another's write."""

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
from assumed.storage.errors import during
from assumed.storage.lease import (
    LeaseKind,
    LeaseState,
    give_up_lease,
    is_awaited,
    take_lease,
)

_TURN_SECONDS = 0.005
_PATIENCE_SECONDS = 2
_SHORT_PATIENCE_SECONDS = 0.25
_LOOKS = 5
_LOOK_AGAIN_SECONDS = 0.02
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileSignature:
    """What changes whenever somebody writes the file, or puts another in its place."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileSignature:
        """Return the signature in the result of a stat call."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    @classmethod
    def at(cls, path: Path) -> FileSignature | None:
        """Return the signature of the file that has this name; None where none has."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return cls.of(path.lstat())
        return None

    @classmethod
    def behind(cls, path: Path) -> FileSignature | None:
        """Return the signature of the file behind all links; None where it can't be seen."""
        with suppress(OSError):
            return cls.of(path.stat())
        return None

    def is_same_file(self, other: FileSignature | None) -> bool:
        """Whether both are of one file, whatever it holds."""
        return other is not None and (self.device, self.inode) == (other.device, other.inode)


class OpenFile:
    """An open file, with the lease that tells when somebody else wants to write it.

    Args:
        descriptor: closed by `close`, which ends the lease too.
        kind: of the lease.
        lease: what asking for one came to.
        status: from before the file was read.
        data: what the file held.
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

    def is_awaited(self) -> bool:
        """Whether somebody waits for us to close the file."""
        return self.lease is LeaseState.HELD and is_awaited(self.descriptor, self._kind)

    def is_disturbed(self) -> bool:
        """Whether somebody wrote into the file since, or waits to do so."""
        if self.lease is LeaseState.HELD:
            return self.is_awaited()
        return FileSignature.of(os.fstat(self.descriptor)) != self.signature

    def let_others_write(self) -> None:
        """Give the lease up until `is_as_read`."""
        if self.lease is LeaseState.HELD:
            give_up_lease(self.descriptor)

    def is_as_read(self) -> bool:
        """Take the lease again, and return whether the file holds still what was read."""
        if self.lease is LeaseState.HELD:
            self.lease = take_lease(self.descriptor, self._kind)
            if self.lease is LeaseState.BUSY:
                return False
        return os.pread(self.descriptor, len(self.data) + 1, 0) == self.data

    def close(self) -> None:
        """Close the file: whoever waited for the lease goes on."""
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


def open_settled(
    path: Path,
    *,
    sleep: Callable[[float], None],
    kind: LeaseKind = LeaseKind.READ,
    must_be_still: bool = False,
) -> OpenFile | None:
    """Open the file once nobody is in the middle of writing it; None where there is none.

    A file that is empty is looked at again, a few times: other writers truncate first. So is one
    that can't be read, where there is no lease to tell that somebody is at it.

    Args:
        path: with no link left in it.
        sleep: waits some seconds.
        kind: with `WRITE` the file is opened for writing, and readers wait too.
        must_be_still: raise where somebody keeps the file open for writing; without it, what
            there is is read after a while.

    Raises:
        CredentialsFileUnwritableError: the file can't be opened, is no plain file, or is kept open.
    """
    for _ in range(_LOOKS):
        file = _open_leased(path, sleep=sleep, kind=kind, must_be_still=must_be_still)
        if file is None or _is_settled(file, path):
            return file
        file.close()
        sleep(_LOOK_AGAIN_SECONDS)
    return _open_leased(path, sleep=sleep, kind=kind, must_be_still=must_be_still)


def refuse_no_file(path: Path) -> None:
    """Refuse what can be no credentials file; what is missing can be one yet.

    Raises:
        CredentialsFileUnwritableError: it is a folder, a FIFO, a device.
        OSError: the system does not tell.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise CredentialsFileUnwritableError(
            f"{path} is {_kind_of(mode)}, not a file",
            hint="remove it, or correct credentials_file: path: or AWS_SHARED_CREDENTIALS_FILE",
        )


def _open_leased(
    path: Path, *, sleep: Callable[[float], None], kind: LeaseKind, must_be_still: bool
) -> OpenFile | None:
    patience = _PATIENCE_SECONDS if must_be_still else _SHORT_PATIENCE_SECONDS
    for _ in range(round(patience / _TURN_SECONDS)):
        descriptor = _open(path, kind, os.O_NONBLOCK)
        if descriptor is None:
            return None
        if descriptor >= 0:
            lease = take_lease(descriptor, kind)
            if lease is not LeaseState.BUSY:
                return _read(path, descriptor, kind, lease)
            os.close(descriptor)
        sleep(_TURN_SECONDS)
    if must_be_still and _has_leases(path.parent):
        raise CredentialsFileUnwritableError(
            f"{path}: another program keeps it open for writing",
            hint=f"see which one: `fuser -v {path}`; what is written now could be lost",
        )
    descriptor = _open(path, kind, 0)
    return None if descriptor is None else _read(path, descriptor, kind, LeaseState.UNSUPPORTED)


def _open(path: Path, kind: LeaseKind, extra_flags: int) -> int | None:
    """Return a descriptor, None where there is no file, -1 where somebody else has a lease."""
    access = os.O_RDWR if kind is LeaseKind.WRITE else os.O_RDONLY
    with during("open", path):
        try:
            # Opening a FIFO or a device could wait or do something: look first.
            refuse_no_file(path)
            return os.open(path, access | os.O_NOFOLLOW | extra_flags)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return -1


def _read(path: Path, descriptor: int, kind: LeaseKind, lease: LeaseState) -> OpenFile:
    try:
        with during("read", path):
            status = os.fstat(descriptor)
            parts = []
            while part := os.read(descriptor, _READ_BYTES):
                parts.append(part)
    except BaseException:
        os.close(descriptor)
        raise
    return OpenFile(descriptor, kind=kind, lease=lease, status=status, data=b"".join(parts))


def _is_settled(file: OpenFile, path: Path) -> bool:
    if not file.data:
        return False
    if file.lease is LeaseState.HELD:
        return True
    try:
        read(file.data, path=str(path))
    except CredentialsFileMalformedError:
        return False
    return not file.is_disturbed()


def _has_leases(folder: Path) -> bool:
    """Whether leases are to be had there: some file systems say "busy" for "never"."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    except (OSError, AttributeError):
        return False
    try:
        return take_lease(descriptor, LeaseKind.WRITE) is LeaseState.HELD
    finally:
        os.close(descriptor)


def _kind_of(mode: int) -> str:
    for is_kind, name in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link that leads nowhere"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_kind(mode):
            return name
    return "a device"
