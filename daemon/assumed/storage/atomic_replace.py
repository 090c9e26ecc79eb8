"""Atomic replacement of the credentials file beside other writers, which take no lock.

A reader sees the old file or the new one, whole. Two things together keep the edits of other
writers. A read lease is held on the old file, from before it is read until the new file has its
name: a process that opens it for writing meanwhile waits, and is noticed. And the two files
exchange their names instead of one being renamed over the other: a file that another process
renamed into place meanwhile is noticed too. In both cases the exchange is reverted, the other
process goes first, and the replacement starts again.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from assumed.errors import CredentialsFileUnwritableError
from assumed.fsutil import PRIVATE_MODE, create_file, sync_directory, write_all
from assumed.storage.companion_files import CredentialsFilePaths
from assumed.storage.errors import wrap_os_errors
from assumed.storage.lease import LeaseKind, LeaseState, acquire_lease
from assumed.storage.locks import read_lock_file, write_lock_file
from assumed.storage.permissions import chown, copy_attributes, owner_of_new_files
from assumed.storage.reader import FileSignature, OpenFile, open_stable
from assumed.storage.renameat2 import ExchangeUnsupportedError, exchange, rename_noreplace
from assumed.storage.warn_once import WarnOnce

EditBytes = Callable[[bytes], bytes]
"""Returns the new content of the file; called again after each write of another process."""

_MAX_ATTEMPTS = 200
_MAX_POLITE_ATTEMPTS = 10
_RETRY_INTERVAL_SECONDS = 0.002
# A process that looked up the old file just before the exchange may not have opened it yet.
_LATE_OPENER_SECONDS = 0.02
_LATE_OPENER_CHECKS = 100
_MOUNT_POINT = frozenset((errno.EBUSY, errno.EXDEV))


class MountPointError(Exception):
    """The file is a mount point, so no other file can be renamed over it."""


@dataclass(slots=True)
class AtomicReplacer:
    """Replaces the credentials file while the write lock is held.

    Args:
        paths: the file and its companions.
        lock: the descriptor of the write lock's file, in which each exchange is recorded.
        sleep: waits for a number of seconds.
        warnings: logs what is special about the file.
        is_private: make the new file private; False keeps the mode and the ACL of the old one.
    """

    paths: CredentialsFilePaths
    lock: int
    sleep: Callable[[float], None]
    warnings: WarnOnce
    is_private: bool = True
    _is_exchange_unsupported: bool = field(default=False, init=False)

    def replace(self, edit: EditBytes) -> FileSignature | None:
        """Edit the file; return its signature afterwards, or None if it is and stays missing.

        Raises:
            CredentialsFileUnwritableError: a system call fails, or others write without a pause.
            MountPointError: the file is a mount point.
        """
        for attempt in range(_MAX_ATTEMPTS):
            old = open_stable(self.paths.file, sleep=self.sleep, require_no_writer=True)
            with old or nullcontext():
                # Other processes need not wait for the edit, unless it would never succeed.
                is_released = old is not None and attempt < _MAX_POLITE_ATTEMPTS
                if old is not None and is_released:
                    old.release_lease()
                data = edit(old.data if old else b"")
                if old is None and not data:
                    return None
                if old is not None and data == old.data:
                    return old.signature
                if old is not None:
                    self._warn(old)
                with self._new_file(data, old) as new:
                    if old is None:
                        is_done = self._create()
                    else:
                        is_unchanged = not is_released or old.reacquire_and_verify()
                        is_done = is_unchanged and self._swap(old, new)
                        for file in (old, new):
                            file.release_lease()
                    if is_done:
                        with wrap_os_errors("write", self.paths.directory):
                            sync_directory(self.paths.directory)
                        return new.signature
            self.sleep(_RETRY_INTERVAL_SECONDS)
        raise CredentialsFileUnwritableError(
            f"{self.paths.file}: other programs change it without a pause",
            hint=f"find the programs: `fuser -v {self.paths.file}`",
        )

    def _warn(self, old: OpenFile) -> None:
        if old.lease is LeaseState.UNSUPPORTED:
            self.warnings.warn("credentials_file_without_leases", path=self.paths.file)
        if old.status.st_nlink > 1:
            self.warnings.warn(
                "credentials_file_has_hard_links",
                path=self.paths.file,
                hint="its other names keep the old credentials; `write: in-place` updates all",
            )

    @contextmanager
    def _new_file(self, data: bytes, old: OpenFile | None) -> Iterator[OpenFile]:
        """Write the new file beside the old one; afterwards remove the one that is left over."""
        try:
            with wrap_os_errors("write", self.paths.new):
                like = old.descriptor if old else None
                new = write_new(self.paths.new, data, like=like, is_private=self.is_private)
        except BaseException:
            with suppress(OSError):
                self.paths.new.unlink(missing_ok=True)
            raise
        with new:
            try:
                yield new
            finally:
                self._remove_leftover(old, new)

    def _remove_leftover(self, old: OpenFile | None, new: OpenFile) -> None:
        leftover = FileSignature.lstat(self.paths.new)
        if new.signature.is_same_file(leftover) or (
            old is not None and old.signature.is_same_file(leftover)
        ):
            with wrap_os_errors("remove", self.paths.new):
                # In this order: a record that outlives its write would describe the next one.
                write_lock_file(self.lock, b"")
                self.paths.new.unlink()
        # Any other file is a newer edit of another process: `repair` puts it back.

    def _create(self) -> bool:
        with wrap_os_errors("create", self.paths.file):
            try:
                rename_noreplace(self.paths.new, self.paths.file)
            except FileExistsError:
                return False
        return True

    def _swap(self, old: OpenFile, new: OpenFile) -> bool:
        file = self.paths.file
        if old.was_modified() or not old.signature.is_same_file(FileSignature.lstat(file)):
            return False
        with wrap_os_errors("replace", file):
            try:
                write_lock_file(self.lock, _record(old, new))
                if not self._exchange_or_rename(old, new):
                    return False
            except OSError as error:
                if error.errno in _MOUNT_POINT:
                    raise MountPointError from error
                raise
            self._wait_for_late_openers(old, new)
            has_name = new.signature.is_same_file(FileSignature.lstat(file))
            if old.was_modified():
                if has_name and not self._is_exchange_unsupported:
                    revert_exchange(self.paths, new.signature)
                return False
            return has_name and not new.was_modified()

    def _wait_for_late_openers(self, old: OpenFile, new: OpenFile) -> None:
        # Stop as soon as a process waits for one of the two files: the longer it waits, the more
        # likely another writer comes in between.
        for _ in range(_LATE_OPENER_CHECKS):
            self.sleep(_LATE_OPENER_SECONDS / _LATE_OPENER_CHECKS)
            if old.was_modified() or new.was_modified():
                return

    def _exchange_or_rename(self, old: OpenFile, new: OpenFile) -> bool:
        if not self._is_exchange_unsupported:
            try:
                exchange(self.paths.new, self.paths.file)
            except ExchangeUnsupportedError:
                self._is_exchange_unsupported = True
                self.warnings.warn("credentials_file_without_exchange", path=self.paths.file)
            else:
                if old.signature.is_same_file(FileSignature.lstat(self.paths.new)):
                    return True
                revert_exchange(self.paths, new.signature)
                return False
        if old.was_modified() or os.pread(old.descriptor, len(old.data) + 1, 0) != old.data:
            return False
        self.paths.new.rename(self.paths.file)
        return True


def write_new(path: Path, data: bytes, *, like: int | None, is_private: bool = True) -> OpenFile:
    """Create a file, flush it to disk, and open it with a lease.

    Args:
        path: the file; it does not exist yet.
        data: all of its content.
        like: the descriptor of the file whose owner, ACL and extended attributes it gets.
        is_private: with mode 0600 and a private ACL; False copies both from `like`.

    Raises:
        OSError: a system call fails.
    """
    descriptor = create_file(path)
    try:
        if like is None:
            os.fchmod(descriptor, PRIVATE_MODE)
            chown(descriptor, *owner_of_new_files(path.parent))
        else:
            copy_attributes(like, descriptor, is_private=is_private)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    return OpenFile(
        descriptor,
        kind=LeaseKind.READ,
        lease=acquire_lease(descriptor, LeaseKind.READ),
        status=os.fstat(descriptor),
        data=data,
    )


def revert_exchange(paths: CredentialsFilePaths, new: FileSignature) -> None:
    """Give the name back to the file that the new one displaced, or to a newer one.

    Raises:
        OSError: a system call fails.
    """
    expected: FileSignature | None = new
    while True:
        restored = FileSignature.lstat(paths.new)
        exchange(paths.new, paths.file)
        displaced = FileSignature.lstat(paths.new)
        if displaced is None or displaced.is_same_file(expected):
            return
        # Another file was renamed into place at this very moment: it is the newest.
        expected = restored


def repair(paths: CredentialsFilePaths, lock: int, warnings: WarnOnce) -> None:
    """Clean up after a process that was killed during a replacement.

    The file beside the credentials file is removed, unless it is another program's edit that the
    exchange had just displaced: that file gets its name back.

    Raises:
        CredentialsFileUnwritableError: a system call fails.
    """
    with wrap_os_errors("repair", paths.file):
        old, new = _read_record(read_lock_file(lock))
        leftover = FileSignature.lstat(paths.new)
        if (
            leftover is not None
            and new is not None
            and leftover != old
            and not leftover.is_same_file(new)
        ):
            if FileSignature.lstat(paths.file) == new:
                revert_exchange(paths, new)
                warnings.warn("credentials_file_edit_put_back", path=paths.file)
            else:
                kept = paths.conflict(leftover.inode)
                paths.new.rename(kept)
                leftover = None
                warnings.warn("credentials_file_edit_kept", path=kept)
        # Not earlier: if killed before this, the next start must still know whose the files are.
        write_lock_file(lock, b"")
        if leftover is not None:
            paths.new.unlink()


def _record(old: OpenFile, new: OpenFile) -> bytes:
    files = {"old": asdict(old.signature), "new": asdict(new.signature)}
    return json.dumps({"boot": _boot_id(), **files}).encode()


def _read_record(data: bytes) -> tuple[FileSignature | None, FileSignature | None]:
    try:
        record = json.loads(data)
        # After a power failure, the record may not be the last one that was written.
        if record["boot"] == _boot_id():
            return FileSignature(**record["old"]), FileSignature(**record["new"])
    except (ValueError, TypeError, KeyError):
        pass
    return None, None


@cache
def _boot_id() -> str:
    """Return an identifier that changes with each boot (random(4))."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
