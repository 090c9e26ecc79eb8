"""The same file with new bytes: for names that no other file can take, and for hard links.

A write lease makes readers and writers wait for the moment that it takes. What a crash half-way
leaves is mended with a journal beside the file, which holds the old bytes and the new ones.
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
from assumed.storage.atomic_replace import EditResult, write_new
from assumed.storage.errors import during
from assumed.storage.file_paths import CredentialsFilePaths
from assumed.storage.lease import LeaseKind, LeaseState
from assumed.storage.permissions import access_list, is_private, owner_of_new_files
from assumed.storage.reader import FileSignature, OpenFile, open_settled
from assumed.storage.warn_once import WarnOnce

_ROUNDS = 50
_LET_OTHERS_GO_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class InPlaceWriter:
    """Writes into the file that is there, under the commit lock.

    Args:
        place: where the file is; it has to exist.
        sleep: waits some seconds.
        notices: for what a person should know.
    """

    place: CredentialsFilePaths
    sleep: Callable[[float], None]
    notices: WarnOnce

    def commit(self, edit: EditResult) -> FileSignature:
        """Edit the file and return what it is then.

        Raises:
            CredentialsFileUnwritableError: the system refuses, or others write without a pause.
        """
        for _ in range(_ROUNDS):
            file = open_settled(self.place.file, sleep=self.sleep, kind=LeaseKind.WRITE)
            if file is None:
                break
            with file:
                if file.lease is LeaseState.UNSUPPORTED:
                    self.notices.once("credentials_file_without_leases", path=self.place.file)
                data = edit(file.data)
                if data == file.data:
                    return file.signature
                _refuse_shared(self.place.file, file.descriptor)
                self._write(file, data)
                signature = FileSignature.of(os.fstat(file.descriptor))
                if not file.is_awaited():
                    return signature
            # Somebody waits to open it; a writer among them may have read the old bytes before.
            self.sleep(_LET_OTHERS_GO_SECONDS)
        raise CredentialsFileUnwritableError(
            f"{self.place.file}: other programs change it without a pause",
            hint=f"see which ones: `fuser -v {self.place.file}`",
        )

    def _write(self, file: OpenFile, data: bytes) -> None:
        with during("write the journal", self.place.journal):
            _write_journal(self.place, file.data, data)
        with during("write", self.place.file):
            try:
                _overwrite(file.descriptor, data)
            except OSError:
                # The old bytes have their room still, unless the disk itself fails.
                _overwrite(file.descriptor, file.data)
                self.place.journal.unlink()
                raise
        with during("remove", self.place.journal):
            self.place.journal.unlink()


def _refuse_shared(path: Path, descriptor: int) -> None:
    """Write no secret into a file that somebody else could read: its mode may not be ours to set.

    Raises:
        CredentialsFileUnwritableError: it is another user's, or open to others.
    """
    status = os.fstat(descriptor)
    owner, _ = owner_of_new_files(path.parent)
    if status.st_uid not in {os.geteuid(), owner} or not is_private(
        status, access_list(descriptor)
    ):
        raise CredentialsFileUnwritableError(
            f"{path} belongs to another user, or others may read it",
            hint=f"make it yours alone: `chown $USER {path}; chmod 600 {path}`",
        )


def repair_in_place(place: CredentialsFilePaths, notices: WarnOnce) -> None:
    """Finish a write in place that was killed half-way.

    A file that is neither the old one, nor the new one, nor something in between has been written
    by somebody else since: it stays as it is.

    Raises:
        CredentialsFileUnwritableError: the system refuses.
    """
    with during("repair", place.file):
        try:
            journal = _read_journal(place.journal)
        except FileNotFoundError:
            return
        if journal is not None:
            _finish(place, *journal, notices)
        place.journal.unlink()


def _finish(place: CredentialsFilePaths, old: bytes, new: bytes, notices: WarnOnce) -> None:
    with suppress(FileNotFoundError):
        descriptor = open_regular(place.file, os.O_RDWR)
        try:
            data = _read(descriptor)
            if data not in {old, new} and _is_between(data, old, new):
                _overwrite(descriptor, new)
                notices.once("credentials_file_repaired", path=place.file)
        finally:
            os.close(descriptor)


def _is_between(data: bytes, old: bytes, new: bytes) -> bool:
    """Whether every byte is the old one or the new one at its place."""
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


def _write_journal(place: CredentialsFilePaths, old: bytes, new: bytes) -> None:
    payload = old + new
    head = {"old": len(old), "sha256": hashlib.sha256(payload).hexdigest()}
    try:
        write_new(place.journal, json.dumps(head).encode() + b"\n" + payload, like=None).close()
        sync_directory(place.folder)
    except OSError:
        place.journal.unlink(missing_ok=True)
        raise


def _read_journal(path: Path) -> tuple[bytes, bytes] | None:
    """Return the old bytes and the new ones; None where it was not whole when we were killed."""
    try:
        descriptor = open_regular(path)
    except NotRegularFileError:
        return None  # Somebody else put it there.
    try:
        owner, _ = owner_of_new_files(path.parent)
        if os.fstat(descriptor).st_uid not in {os.geteuid(), owner}:
            return None  # Somebody else put it there.
        head, _, payload = _read(descriptor).partition(b"\n")
    finally:
        os.close(descriptor)
    try:
        fields = json.loads(head)
        is_whole = fields["sha256"] == hashlib.sha256(payload).hexdigest()
        length = int(fields["old"])
    except (ValueError, TypeError, KeyError):
        return None
    return (payload[:length], payload[length:]) if is_whole else None


def _read(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
