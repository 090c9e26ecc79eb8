"""Edits of one AWS file: under the write lock, atomic, or in place if it is a mount point."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from assumed.fsutil import sync_directory
from assumed.logs import event
from assumed.models import WriteMode
from assumed.storage.atomic_replace import (
    AtomicReplacer,
    EditBytes,
    MountPointError,
    repair,
    write_new,
)
from assumed.storage.companion_files import CredentialsFilePaths
from assumed.storage.errors import wrap_os_errors
from assumed.storage.in_place import InPlaceWriter, repair_in_place
from assumed.storage.locks import write_lock
from assumed.storage.permissions import make_private, reject_untrusted_path
from assumed.storage.reader import FileSignature, open_stable, require_regular_file
from assumed.storage.renameat2 import rename_noreplace
from assumed.storage.warn_once import WarnOnce


class LockedFile:
    """Edits the AWS config or credentials file beside other writers; recovers from a crash.

    Args:
        path: as the user names it; symbolic links are followed, and stay.
        write: whether a new file replaces the old one, or the old one is overwritten in place.
        is_private: make the file private; False keeps its mode and its ACL.
        sleep: waits for a number of seconds while the file is busy.
    """

    def __init__(
        self,
        path: Path,
        *,
        write: WriteMode = WriteMode.REPLACE,
        is_private: bool = True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._write_mode = write
        self._is_private = is_private
        self._sleep = sleep
        self._warnings = WarnOnce()
        self.own_last_write: FileSignature | None = None
        """The signature of the file after this object's last write."""
        self.writes = 0
        """How many times this object has written the file."""

    def read(self) -> bytes:
        """Return the content; nothing if the file is missing.

        Raises:
            CredentialsFileUnwritableError: the file cannot be opened or read.
        """
        path = CredentialsFilePaths.of(self._path).file
        with wrap_os_errors("read", path):
            file = open_stable(path, sleep=self._sleep)
            if file is None:
                return b""
            with file:
                return file.data

    def edit(self, edit: EditBytes) -> None:
        """Edit the file under the write lock; what `edit` raises leaves it as it was.

        Raises:
            CredentialsFileUnwritableError: a system call fails. The file is as it was.
        """
        with self._write_lock() as (paths, replacer):
            self._write(paths, replacer, edit)

    def edit_with_backup(self, edit: EditBytes) -> None:
        """Edit the file, and keep its first original beside it for good, readable by its owner.

        Raises:
            CredentialsFileUnwritableError: a system call fails. The file is as it was.
        """
        with self._write_lock() as (paths, replacer):

            def edit_kept(data: bytes) -> bytes:
                edited = edit(data)
                if edited != data:
                    _keep_original(paths, data)
                return edited

            self._write(paths, replacer, edit_kept)

    def recover(self) -> None:
        """Clean up after a process that was killed during a write.

        If there is nothing to clean up, no file is created and no lock is awaited.

        Raises:
            CredentialsFileUnwritableError: a system call fails.
        """
        paths = CredentialsFilePaths.of(self._path)
        if any(os.path.lexists(leftover) for leftover in (paths.new, paths.journal)):
            with self._write_lock():
                pass

    @contextmanager
    def _write_lock(self) -> Iterator[tuple[CredentialsFilePaths, AtomicReplacer]]:
        with wrap_os_errors("write", self._path):
            reject_untrusted_path(self._path)
        paths = CredentialsFilePaths.of(self._path)
        with wrap_os_errors("write", paths.file):
            # Before the lock: root could create a lock file beside a device.
            require_regular_file(paths.file)
        with (
            wrap_os_errors("write", paths.file),
            write_lock(paths.write_lock, sleep=self._sleep) as lock,
        ):
            repair(paths, lock, self._warnings)
            repair_in_place(paths, self._warnings)
            yield (
                paths,
                AtomicReplacer(
                    paths, lock, self._sleep, self._warnings, is_private=self._is_private
                ),
            )

    def _write(
        self, paths: CredentialsFilePaths, replacer: AtomicReplacer, edit: EditBytes
    ) -> None:
        if self._is_private:
            self._make_private(paths.file)
        if self._write_mode is WriteMode.IN_PLACE and FileSignature.lstat(paths.file) is not None:
            in_place = True
        else:
            in_place = False
            try:
                self.own_last_write = replacer.replace(edit)
            except MountPointError:
                self._warnings.warn(
                    "credentials_file_is_a_mount_point",
                    path=paths.file,
                    hint="it is written in place; `write: in-place` turns this warning off",
                )
                in_place = True
        if in_place:
            writer = InPlaceWriter(paths, self._sleep, self._warnings, is_private=self._is_private)
            self.own_last_write = writer.write(edit)
        self.writes += 1

    def _make_private(self, path: Path) -> None:
        """Make the file private even if the write fails afterwards."""
        old_mode = make_private(path)
        if old_mode is not None:
            event(
                logging.WARNING,
                "credentials_file_permissions_tightened",
                path=path,
                old_mode=f"{old_mode:04o}",
            )


def _keep_original(paths: CredentialsFilePaths, data: bytes) -> None:
    with wrap_os_errors("write the backup", paths.original):
        # Only the holder of the write lock creates it, so one that exists is left over.
        paths.new_original.unlink(missing_ok=True)
        if os.path.lexists(paths.original):
            return
        write_new(paths.new_original, data, like=None).close()
        try:
            rename_noreplace(paths.new_original, paths.original)
        except FileExistsError:
            paths.new_original.unlink()
        sync_directory(paths.directory)
