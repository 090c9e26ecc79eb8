"""Write the credentials file in place, for mount points and hard links.

A write lease makes readers and writers wait for the duration of the write. A journal beside the
file holds the old and the new content: the next start completes a write that a crash interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from assumed.errors import CredentialsFileUnwritableError
from assumed.fsutil import NotRegularFileError, open_regular, sync_directory, write_all
from assumed.storage.atomic_replace import EditBytes, write_new
from assumed.storage.companion_files import CredentialsFilePaths
from assumed.storage.errors import wrap_os_errors
from assumed.storage.lease import LeaseKind, LeaseState
from assumed.storage.permissions import access_list, is_private, owner_of_new_files
from assumed.storage.reader import FileSignature, OpenFile, open_stable
from assumed.storage.warn_once import WarnOnce

_MAX_ATTEMPTS = 50
_RETRY_INTERVAL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class InPlaceWriter:
    """Overwrites the existing credentials file while the write lock is held.

    Args:
        paths: the file, which must exist, and its companions.
        sleep: waits for a number of seconds.
        warnings: logs what is special about the file.
        is_private: reject a file that another user can read.
    """

    paths: CredentialsFilePaths
    sleep: Callable[[float], None]
    warnings: WarnOnce
    is_private: bool = True

    def write(self, edit: EditBytes) -> FileSignature:
        """Edit the file and return its signature afterwards.

        Raises:
            CredentialsFileUnwritableError: a system call fails, or others write without a pause.
        """
        for _ in range(_MAX_ATTEMPTS):
            file = open_stable(self.paths.file, sleep=self.sleep, kind=LeaseKind.WRITE)
            if file is None:
                break
            with file:
                if file.lease is LeaseState.UNSUPPORTED:
                    self.warnings.warn("credentials_file_without_leases", path=self.paths.file)
                data = edit(file.data)
                if data == file.data:
                    return file.signature
                if self.is_private:
                    _reject_shared(self.paths.file, file.descriptor)
                self._write(file, data)
                signature = FileSignature.of(os.fstat(file.descriptor))
                if not file.is_lease_broken():
                    return signature
            # Another process waits to open it; if it writes, it may have read the old content.
            self.sleep(_RETRY_INTERVAL_SECONDS)
        raise CredentialsFileUnwritableError(
            f"{self.paths.file}: other programs change it without a pause",
            hint=f"find the programs: `fuser -v {self.paths.file}`",
        )

    def _write(self, file: OpenFile, data: bytes) -> None:
        with wrap_os_errors("write the journal", self.paths.journal):
            _write_journal(self.paths, file.data, data)
        with wrap_os_errors("write", self.paths.file):
            try:
                _overwrite(file.descriptor, data)
            except OSError:
                # The old content still has its space, unless the disk itself fails.
                _overwrite(file.descriptor, file.data)
                self.paths.journal.unlink()
                raise
        with wrap_os_errors("remove", self.paths.journal):
            self.paths.journal.unlink()


def _reject_shared(path: Path, descriptor: int) -> None:
    """Reject a file that another user can read: assumed may not be able to change its mode.

    Raises:
        CredentialsFileUnwritableError: it is another user's, or others can read it.
    """
    status = os.fstat(descriptor)
    owner, _ = owner_of_new_files(path.parent)
    if status.st_uid not in {os.geteuid(), owner} or not is_private(
        status, access_list(descriptor)
    ):
        raise CredentialsFileUnwritableError(
            f"{path} belongs to another user, or other users can read it",
            hint=f"make it private: `chown $USER {path}; chmod 600 {path}`",
        )


def repair_in_place(paths: CredentialsFilePaths, warnings: WarnOnce) -> None:
    """Complete a write in place that a crash interrupted.

    If the file is neither the old one, nor the new one, nor a mix of the two, another program has
    written it since, and it stays as it is.

    Raises:
        CredentialsFileUnwritableError: a system call fails.
    """
    with wrap_os_errors("repair", paths.file):
        try:
            journal = _read_journal(paths.journal)
        except FileNotFoundError:
            return
        if journal is not None:
            _complete(paths, *journal, warnings)
        paths.journal.unlink()


def _complete(paths: CredentialsFilePaths, old: bytes, new: bytes, warnings: WarnOnce) -> None:
    with suppress(FileNotFoundError):
        descriptor = open_regular(paths.file, os.O_RDWR)
        try:
            data = _read(descriptor)
            if data not in {old, new} and _is_mix(data, old, new):
                _overwrite(descriptor, new)
                warnings.warn("credentials_file_repaired", path=paths.file)
        finally:
            os.close(descriptor)


def _is_mix(data: bytes, old: bytes, new: bytes) -> bool:
    """Whether every byte is the old or the new one at its position."""
    if not min(len(old), len(new)) <= len(data) <= max(len(old), len(new)):
        return False
    return all(
        byte is None or byte in {was, will}
        for byte, was, will in zip_longest(data, old, new, fillvalue=None)
    )


def _overwrite(descriptor: int, data: bytes) -> None:
    write_all(descriptor, data)
    os.ftruncate(descriptor, len(data))
    os.fsync(descriptor)


def _write_journal(paths: CredentialsFilePaths, old: bytes, new: bytes) -> None:
    payload = old + new
    head = {"old": len(old), "sha256": hashlib.sha256(payload).hexdigest()}
    try:
        write_new(paths.journal, json.dumps(head).encode() + b"\n" + payload, like=None).close()
        sync_directory(paths.directory)
    except OSError:
        paths.journal.unlink(missing_ok=True)
        raise


def _read_journal(path: Path) -> tuple[bytes, bytes] | None:
    """Return the old and the new content, or None if the journal is incomplete or foreign."""
    try:
        descriptor = open_regular(path)
    except NotRegularFileError:
        return None
    try:
        owner, _ = owner_of_new_files(path.parent)
        if os.fstat(descriptor).st_uid not in {os.geteuid(), owner}:
            return None
        head, _, payload = _read(descriptor).partition(b"\n")
    finally:
        os.close(descriptor)
    try:
        fields = json.loads(head)
        is_complete = fields["sha256"] == hashlib.sha256(payload).hexdigest()
        length = int(fields["old"])
    except (ValueError, TypeError, KeyError):
        return None
    return (payload[:length], payload[length:]) if is_complete else None


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
