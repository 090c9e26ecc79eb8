"""A new file in the place of the old one: a reader sees one of the two, whole.

Other writers know no lock. Two things together see to it that none of their edits is lost. A read
lease on the old file, from before it is read until its successor has its name: who opens it for
writing meanwhile waits, and is noticed. And an exchange of the two names instead of a rename: who
renamed a file of theirs into place meanwhile is noticed too. Either way the exchange is undone,
they go first, and we start again.
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
from assumed.storage.errors import during
from assumed.storage.file_paths import CredentialsFilePaths
from assumed.storage.lease import LeaseKind, LeaseState, take_lease
from assumed.storage.locks import overwrite, read_all
from assumed.storage.permissions import copy_attributes, own, owner_of_new_files
from assumed.storage.reader import FileSignature, OpenFile, open_settled
from assumed.storage.renameat2 import ExchangeUnsupportedError, exchange, place_new
from assumed.storage.warn_once import WarnOnce

EditResult = Callable[[bytes], bytes]
"""Makes the new bytes of the old ones; called anew whenever somebody else wrote meanwhile."""

_ROUNDS = 200
_POLITE_ROUNDS = 10
_BETWEEN_ROUNDS_SECONDS = 0.002
# Who looked up the old file just before the exchange may not have opened it yet.
_STRAGGLER_SECONDS = 0.02
_STRAGGLER_LOOKS = 100
_MOUNT_POINT = frozenset((errno.EBUSY, errno.EXDEV))


class MountPointError(Exception):
    """The name belongs to a mount: no other file can be given it."""


@dataclass(slots=True)
class AtomicReplacer:
    """Puts new files in the place of old ones, under the commit lock.

    Args:
        place: where the file is.
        lock: the descriptor of the commit lock's file: what is being done is noted there.
        sleep: waits some seconds.
        notices: for what a person should know.
    """

    place: CredentialsFilePaths
    lock: int
    sleep: Callable[[float], None]
    notices: WarnOnce
    _is_exchange_missing: bool = field(default=False, init=False)

    def commit(self, edit: EditResult) -> FileSignature | None:
        """Edit the file; returns what it is then, None where it is missing and stays so.

        Raises:
            CredentialsFileUnwritableError: the system refuses, or others write without a pause.
            MountPointError: see there.
        """
        for number in range(_ROUNDS):
            old = open_settled(self.place.file, sleep=self.sleep, must_be_still=True)
            with old or nullcontext():
                # Nobody should wait for us to think, unless we would never be done otherwise.
                has_let_go = old is not None and number < _POLITE_ROUNDS
                if old is not None and has_let_go:
                    old.let_others_write()
                data = edit(old.data if old else b"")
                if old is None and not data:
                    return None
                if old is not None and data == old.data:
                    return old.signature
                if old is not None:
                    self._notice(old)
                with self._successor(data, old) as new:
                    if old is None:
                        is_done = self._create()
                    else:
                        is_done = (not has_let_go or old.is_as_read()) and self._swap(old, new)
                        for file in (old, new):
                            file.let_others_write()
                    if is_done:
                        with during("write", self.place.folder):
                            sync_directory(self.place.folder)
                        return new.signature
            self.sleep(_BETWEEN_ROUNDS_SECONDS)
        raise CredentialsFileUnwritableError(
            f"{self.place.file}: other programs change it without a pause",
            hint=f"see which ones: `fuser -v {self.place.file}`",
        )

    def _notice(self, old: OpenFile) -> None:
        if old.lease is LeaseState.UNSUPPORTED:
            self.notices.once("credentials_file_without_leases", path=self.place.file)
        if old.status.st_nlink > 1:
            self.notices.once(
                "credentials_file_has_hard_links",
                path=self.place.file,
                hint="its other names keep the old credentials; see write: in-place",
            )

    @contextmanager
    def _successor(self, data: bytes, old: OpenFile | None) -> Iterator[OpenFile]:
        """Write the new file beside the old one; whatever is left over afterwards goes."""
        try:
            with during("write", self.place.new):
                new = write_new(self.place.new, data, like=old.descriptor if old else None)
        except BaseException:
            with suppress(OSError):
                self.place.new.unlink(missing_ok=True)
            raise
        with new:
            try:
                yield new
            finally:
                self._clean(old, new)

    def _clean(self, old: OpenFile | None, new: OpenFile) -> None:
        left_over = FileSignature.at(self.place.new)
        if new.signature.is_same_file(left_over) or (
            old is not None and old.signature.is_same_file(left_over)
        ):
            with during("remove", self.place.new):
                # In this order: a record that outlived its commit would speak of the next one.
                overwrite(self.lock, b"")
                self.place.new.unlink()
        # Anything else is somebody's newer edit: `repair` puts it back.

    def _create(self) -> bool:
        with during("create", self.place.file):
            try:
                place_new(self.place.new, self.place.file)
            except FileExistsError:
                return False
        return True

    def _swap(self, old: OpenFile, new: OpenFile) -> bool:
        if old.is_disturbed() or not old.signature.is_same_file(FileSignature.at(self.place.file)):
            return False
        with during("replace", self.place.file):
            try:
                overwrite(self.lock, _record(old, new))
                if not self._exchange_or_rename(old, new):
                    return False
            except OSError as error:
                if error.errno in _MOUNT_POINT:
                    raise MountPointError from error
                raise
            self._await_stragglers(old, new)
            is_ours_still = new.signature.is_same_file(FileSignature.at(self.place.file))
            if old.is_disturbed():
                if is_ours_still and not self._is_exchange_missing:
                    put_back(self.place, new.signature)
                return False
            return is_ours_still and not new.is_disturbed()

    def _await_stragglers(self, old: OpenFile, new: OpenFile) -> None:
        # Whoever waits for one of the two files should not wait long: the longer it takes, the
        # likelier that yet another writer comes in between.
        for _ in range(_STRAGGLER_LOOKS):
            self.sleep(_STRAGGLER_SECONDS / _STRAGGLER_LOOKS)
            if old.is_disturbed() or new.is_disturbed():
                return

    def _exchange_or_rename(self, old: OpenFile, new: OpenFile) -> bool:
        if not self._is_exchange_missing:
            try:
                exchange(self.place.new, self.place.file)
            except ExchangeUnsupportedError:
                self._is_exchange_missing = True
                self.notices.once("credentials_file_without_exchange", path=self.place.file)
            else:
                if old.signature.is_same_file(FileSignature.at(self.place.new)):
                    return True
                put_back(self.place, new.signature)
                return False
        if old.is_disturbed() or os.pread(old.descriptor, len(old.data) + 1, 0) != old.data:
            return False
        self.place.new.rename(self.place.file)
        return True


def write_new(path: Path, data: bytes, *, like: int | None) -> OpenFile:
    """Write a file that is on disk when this returns, with a lease on it.

    Args:
        path: where nothing may be yet.
        data: all of it.
        like: the descriptor of the file whose owner, access list and attributes it gets.

    Raises:
        OSError: anything that the system refuses.
    """
    descriptor = create_file(path)
    try:
        if like is None:
            os.fchmod(descriptor, PRIVATE_MODE)
            own(descriptor, *owner_of_new_files(path.parent))
        else:
            copy_attributes(like, descriptor)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    return OpenFile(
        descriptor,
        kind=LeaseKind.READ,
        lease=take_lease(descriptor, LeaseKind.READ),
        status=os.fstat(descriptor),
        data=data,
    )


def put_back(place: CredentialsFilePaths, ours: FileSignature) -> None:
    """Give the name back to the file that lost it to ours, or to a newer one of somebody's.

    Raises:
        OSError: anything that the system refuses.
    """
    expected: FileSignature | None = ours
    while True:
        put = FileSignature.at(place.new)
        exchange(place.new, place.file)
        came_out = FileSignature.at(place.new)
        if came_out is None or came_out.is_same_file(expected):
            return
        # Yet another file was renamed into place in this very moment: it is the newest.
        expected = put


def repair(place: CredentialsFilePaths, lock: int, notices: WarnOnce) -> None:
    """Tidy up what a run that was killed in the middle of a commit left behind.

    Its file beside the credentials goes, unless it is another program's edit that our exchange
    had just pushed aside: that one gets the name back.

    Raises:
        CredentialsFileUnwritableError: the system refuses.
    """
    with during("repair", place.file):
        old, new = _read_record(read_all(lock))
        left_over = FileSignature.at(place.new)
        if (
            left_over is not None
            and new is not None
            and left_over != old
            and not left_over.is_same_file(new)
        ):
            if FileSignature.at(place.file) == new:
                put_back(place, new)
                notices.once("credentials_file_edit_put_back", path=place.file)
            else:
                kept = place.conflict(left_over.inode)
                place.new.rename(kept)
                left_over = None
                notices.once("credentials_file_edit_kept", path=kept)
        # Not earlier: killed before this, the next start has to know whose the files are.
        overwrite(lock, b"")
        if left_over is not None:
            place.new.unlink()


def _record(old: OpenFile, new: OpenFile) -> bytes:
    files = {"old": asdict(old.signature), "new": asdict(new.signature)}
    return json.dumps({"boot": _boot(), **files}).encode()


def _read_record(data: bytes) -> tuple[FileSignature | None, FileSignature | None]:
    try:
        record = json.loads(data)
        # After a loss of power the record need not be the last one that was written.
        if record["boot"] == _boot():
            return FileSignature(**record["old"]), FileSignature(**record["new"])
    except (ValueError, TypeError, KeyError):
        pass
    return None, None


@cache
def _boot() -> str:
    """Return what is different after each start of the system (random(4))."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
