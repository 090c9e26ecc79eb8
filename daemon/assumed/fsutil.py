"""Private files and directories, and the replacement of a small file in one step.

Every file that assumed creates is created here, so that mode, `O_NOFOLLOW` and `O_EXCL` are decided
once. Root creates nothing where another user could redirect it: see `path_trust`. The credentials
file has more to keep (owner, access list, concurrent writers): see `storage`.
"""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from assumed.path_trust import UntrustedPathError, open_trusted, require_trusted_by_root

PRIVATE_MODE = 0o600
PRIVATE_DIRECTORY_MODE = 0o700
MAX_AWS_FILE_BYTES = 64 << 20
"""The AWS config file and the credentials file."""

_CHUNK_BYTES = 1 << 20


_MISSING = {errno.ENOENT, errno.ENOTDIR}
_LOCAL_FAULTS = {
    errno.EAGAIN, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENODEV, errno.ENOMEM,
    errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_RESOURCE_HINTS = {
    errno.EMFILE: "this process has no file descriptors left: raise its limit (`LimitNOFILE=` of "
    "the unit, `ulimit -n`)",
    errno.ENFILE: "this machine has no file descriptors left: see `sysctl fs.file-nr`",
    errno.ENOMEM: "memory is used up: see `MemoryMax=` of the unit and `free`",
    errno.EAGAIN: "processes and threads are used up: see `TasksMax=` of the unit and `ulimit -u`",
    errno.EACCES: "make it readable for this user",
    errno.EPERM: "make it readable for this user",
}


class ForeignDirectoryError(UntrustedPathError):
    """The directory belongs to another user, or is a symbolic link."""


class NotRegularFileError(OSError):
    """The path names a directory, a FIFO, a socket or a device."""


class FileTooLargeError(OSError):
    """The file is larger than the caller allows."""


def is_missing(error: OSError) -> bool:
    """Whether a file does not exist; any other error says nothing about what is there."""
    return error.errno in _MISSING


def is_local_fault(error: OSError) -> bool:
    """Whether a system call failed for a reason of this machine that usually passes."""
    return error.errno in _LOCAL_FAULTS


def shortage(error: BaseException) -> OSError | None:
    """Return which resource of this machine an error comes from; None if from none.

    Libraries hide the cause, and a name server that cannot be asked looks like one that is away:
    so this also tries whether there is a file descriptor.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _SHORTAGES:
            return cause
        if isinstance(cause, MemoryError):
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        if isinstance(cause, RuntimeError) and "start new thread" in str(cause):
            return OSError(errno.EAGAIN, "no thread can be started")
        cause = cause.__cause__ or cause.__context__
    try:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
    except OSError as found:
        return found
    return None


def local_fault_hint(error: OSError) -> str:
    """Return what to do about a file that cannot be opened, or a process that cannot be started."""
    is_denied = error.errno in {errno.EACCES, errno.EPERM} and error.filename is not None
    if is_denied and (hint := foreign_owner_hint(str(error.filename))) is not None:
        return hint
    return _RESOURCE_HINTS.get(error.errno or 0, "see `dmesg` and whether its file system is there")


def foreign_owner(path: str | Path) -> str | None:
    """Return the name of the other user that a file belongs to; None if it is ours, or for root."""
    user = os.geteuid()
    try:
        owner = os.stat(path).st_uid  # noqa: PTH116 - of a path as an error names it
    except OSError:
        return None
    if user in {owner, 0}:
        return None
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user ID {owner}"


def foreign_owner_hint(path: str | Path) -> str | None:
    """Return how to get back a file that belongs to another user; None as `foreign_owner`."""
    owner = foreign_owner(path)
    if owner is None:
        return None
    why = ", often because a command ran with sudo" if owner == "root" else ""
    return f"it belongs to {owner}{why}: `sudo chown {os.geteuid()} {shlex.quote(str(path))}`"


def create_directory(path: Path, *, exist_ok: bool = True) -> None:
    """Create a directory with mode 0700; missing parents get the default mode.

    Raises:
        FileExistsError: the path names a file, or a directory without `exist_ok`.
        UntrustedPathError: this is root, and another user could redirect it.
        OSError: a system call fails.
    """
    require_trusted_by_root(path)
    path.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=exist_ok)


def create_private_parents(path: Path) -> None:
    """Create the missing parent directories of a file, each of them with mode 0700.

    Raises:
        UntrustedPathError: this is root, and another user could redirect it.
        OSError: a system call fails.
    """
    require_trusted_by_root(path)
    for directory in reversed(path.parents):
        with suppress(FileExistsError):
            directory.mkdir(mode=PRIVATE_DIRECTORY_MODE)


def ensure_private_directory(path: Path) -> None:
    """Create a directory with mode 0700, or check that this user owns it and set that mode.

    Raises:
        ForeignDirectoryError: it is a symbolic link, or another user's.
        UntrustedPathError: this is root, and another user could redirect it.
        OSError: a system call fails.
    """
    create_directory(path)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ForeignDirectoryError(
            errno.EPERM, "the directory belongs to another user, or is a symbolic link", str(path)
        )
    if stat.S_IMODE(status.st_mode) != PRIVATE_DIRECTORY_MODE:
        path.chmod(PRIVATE_DIRECTORY_MODE)


def create_file(path: Path, *, mode: int = PRIVATE_MODE) -> int:
    """Create a file and return its descriptor, open for writing.

    Raises:
        FileExistsError: something has that name, a symbolic link included.
        OSError: a system call fails.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, mode)


def open_or_create(path: Path) -> int:
    """Return the descriptor of a file, open for reading and writing; a new one has mode 0600.

    It follows no symbolic link, and does not wait for the other end of a FIFO. The caller checks
    the type and the owner of the file.

    Raises:
        OSError: a system call fails.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
    except FileExistsError:
        return os.open(path, flags)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Return the descriptor of a regular file that exists.

    Raises:
        FileNotFoundError: it does not exist.
        NotRegularFileError: it is a directory, a FIFO or a device.
        OSError: it is a symbolic link, or a system call fails.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularFileError(errno.EINVAL, "it is not a regular file", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """Return the content of a file that the user names; symbolic links are followed.

    It does not wait for the other end of a FIFO. `/dev/null` is an empty file.

    Raises:
        FileNotFoundError: it does not exist.
        NotRegularFileError: it is a directory, a FIFO, a socket or another device.
        FileTooLargeError: it has more than `max_bytes`.
        OSError: a system call fails.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        is_readable = _is_readable(os.fstat(descriptor), path, max_bytes=max_bytes)
    except BaseException:
        os.close(descriptor)
        raise
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        if not is_readable:
            return b""
        data = bytearray()
        while chunk := file.read(_CHUNK_BYTES):
            data += chunk
            if len(data) > max_bytes:
                raise _too_large(path, max_bytes)
        return bytes(data)


def require_readable(path: Path, *, max_bytes: int) -> None:
    """Check the type and the size of a file before a library reads it; it need not exist.

    Raises:
        NotRegularFileError, FileTooLargeError: as `read_file`.
        OSError: a system call fails.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        _is_readable(path.stat(), path, max_bytes=max_bytes)


def _is_readable(status: os.stat_result, path: Path, *, max_bytes: int) -> bool:
    """Whether it is a file and not `/dev/null`; raise if it is anything else."""
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == Path(os.devnull).stat().st_rdev:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularFileError(errno.EINVAL, "it is not a regular file", str(path))
    if status.st_size > max_bytes:
        raise _too_large(path, max_bytes)
    return True


def _too_large(path: Path, max_bytes: int) -> FileTooLargeError:
    return FileTooLargeError(errno.EFBIG, f"it is larger than {max_bytes >> 20} MiB", str(path))


def open_private_log(path: Path) -> int:
    """Return the descriptor of a regular file of this user or of root, open for appending.

    A missing file gets mode 0600. Links of this user and of root are followed: another user's
    link could lead to any file of this user. The descriptor is of the file that was checked.

    Raises:
        PermissionError: the file, or a directory or link on the way, is another user's, or the
            file is not a regular one.
        OSError: a system call fails.
    """
    # Without O_NONBLOCK, a FIFO would wait for its other end.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
    descriptor = open_trusted(path, flags, PRIVATE_MODE)
    try:
        status = os.fstat(descriptor)
        if status.st_uid not in {os.geteuid(), 0} or not stat.S_ISREG(status.st_mode):
            raise PermissionError(
                errno.EPERM, "it belongs to another user, or is not a regular file", str(path)
            )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_new_file(
    path: Path, data: bytes, *, mode: int = PRIVATE_MODE, sync: bool = False
) -> None:
    """Create a file with this content.

    Args:
        path: the file; it does not exist yet.
        data: all of its content.
        mode: its mode; the umask does not restrict a mode other than 0600.
        sync: return once the content is on disk.

    Raises:
        FileExistsError: something has that name, a symbolic link included.
        OSError: a system call fails; no file remains.
    """
    descriptor = create_file(path, mode=mode)
    try:
        try:
            if mode != PRIVATE_MODE:
                os.fchmod(descriptor, mode)
            write_all(descriptor, data)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def replace_file(
    path: Path,
    data: bytes,
    *,
    mode: int = PRIVATE_MODE,
    sync: bool = False,
    unique: bool = False,
) -> None:
    """Replace a file in one step: a reader sees the old content or the new one, never a mix.

    Args:
        path: the file; it need not exist.
        data: all of its content.
        mode: its mode, whatever the mode of the old file.
        sync: the content is on disk before it replaces the old one.
        unique: several processes may replace the file at once. Otherwise the new file has one
            fixed name, so that the next call removes what a killed process left behind.

    Raises:
        UntrustedPathError: this is root, and another user could redirect it.
        OSError: a system call fails; the old file is as it was.
    """
    require_trusted_by_root(path)
    suffix = f"{os.urandom(4).hex()}.new" if unique else "new"
    new = path.with_name(f".{path.name}.{suffix}")
    if not unique:
        new.unlink(missing_ok=True)
    write_new_file(new, data, mode=mode, sync=sync)
    try:
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def write_all(descriptor: int, data: bytes, *, offset: int = 0) -> None:
    """Write these bytes into a file from `offset` on; the bytes after them stay.

    Raises:
        OSError: a system call fails.
    """
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)


def sync_directory(path: Path) -> None:
    """Flush the names in a directory to disk, if the file system supports it.

    Raises:
        OSError: the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
