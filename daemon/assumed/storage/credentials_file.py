"""The credentials file on disk: locks, merges, replaces it whole, writes many profiles at once.

| to change | open |
| --- | --- |
| when refreshes are one rewrite | `group` |
| how the file is read while others write it | `reading`, `lease` |
| how a new file takes the old one's place | `replace`, `rename` |
| how a file is rewritten where it is | `in_place` |
| who may read it | `attributes` |
| what is kept of replaced long-term keys | `backup` |
| the locks beside it | `locks`, `names` |
| what the system's refusals mean | `failures` |
| what a profile of the file tells | `stored` |
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assumed.aws_files import credentials_text
from assumed.aws_files.credentials_text import RemoveCredentials, SetCredentials, is_ours
from assumed.clock import Clock, SystemClock
from assumed.errors import CredentialsFileError, CredentialsFileUnwritableError
from assumed.fsutil import PRIVATE_MODE, open_regular
from assumed.logs.events import event
from assumed.models import Credentials, WriteMode
from assumed.storage.atomic_replace import AtomicReplacer, MountPointError, repair
from assumed.storage.backup import back_up
from assumed.storage.batch_writer import BatchWriter
from assumed.storage.errors import during, unwritable
from assumed.storage.file_paths import CredentialsFilePaths
from assumed.storage.in_place import InPlaceWriter, repair_in_place
from assumed.storage.locks import DaemonLock, commit_lock
from assumed.storage.permissions import access_list, is_private
from assumed.storage.reader import FileSignature, open_settled, refuse_no_file
from assumed.storage.stored_profile import StoredProfile
from assumed.storage.warn_once import WarnOnce

__all__ = ["CredentialsFile", "DaemonLock", "FileSignature", "StoredProfile", "WriteMode", "hold"]


@dataclass(frozen=True, slots=True)
class _Write:
    profile: str
    put: SetCredentials


def hold(path: Path, config: str) -> DaemonLock:
    """Lock the file `path`, which is made for that, for the life of a daemon; see `DaemonLock`."""
    return DaemonLock(path, config=config)


class CredentialsFile:
    """The only door to the credentials file; safe to use from many threads and processes.

    Args:
        path: as the user names it; symbolic links are followed, and stay.
        write: whether a new file takes the place of the old one, or the old one gets new bytes.
        clock: for the window in which refreshes are one rewrite.
        sleep: waits some seconds; for that window, and between looks at a file that is busy.
    """

    def __init__(
        self,
        path: Path,
        *,
        write: WriteMode = WriteMode.REPLACE,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._write_mode = write
        self._sleep = sleep
        self._notices = WarnOnce()
        self._own_last_write: FileSignature | None = None
        self._commits = 0
        self._group = BatchWriter(self._commit_group, clock=clock or SystemClock(), sleep=sleep)

    @property
    def path(self) -> Path:
        """The file behind all symbolic links, whether it is there or not."""
        return CredentialsFilePaths.of(self._path).file

    def exists(self) -> bool:
        """Whether there is a file, whatever it holds."""
        return self.signature() is not None

    def signature(self) -> FileSignature | None:
        """Return what changes whenever somebody writes the file: one stat, nothing is read.

        Raises:
            CredentialsFileUnwritableError: the system does not tell.
        """
        path = self.path
        with during("look at", path):
            return FileSignature.at(path)

    @property
    def own_last_write(self) -> FileSignature | None:
        """The signature that the file has for as long as nobody writes it after this object."""
        return self._own_last_write

    @property
    def commits(self) -> int:
        """How often this object has written the file."""
        return self._commits

    def read(self) -> Mapping[str, StoredProfile]:
        """Return all profiles by name, in the order of the file; none where it is missing.

        Raises:
            CredentialsFileMalformedError: botocore can't read the file either.
            CredentialsFileUnwritableError: the system refuses to open or to read it.
        """
        return {
            name: StoredProfile.from_section(name, section)
            for name, section in self._read_sections().items()
        }

    def write(
        self, profile: str, credentials: Credentials, *, overwrite: bool = False
    ) -> Future[None]:
        """Write a profile; what is returned is done once it is on disk.

        It is one rewrite for what comes within about 50 ms, or longer where the file is a big one
        and more keeps coming. The last one wins, also over credentials that expire later: what
        they allow may have changed.

        Args:
            profile: the name of the section.
            credentials: what is written.
            overwrite: also over long-term keys, which are backed up first, and over what another
                tool manages.

        Returns:
            Fails with `CredentialsFileMalformedError`, where botocore can't read the file either;
            `ProfileNotManagedError`, where somebody else's credentials are there;
            `ProfileAmbiguousError`, where the AWS SDKs would not all read the credentials;
            `CredentialsFileUnwritableError`, where the system refuses. The file is then as it was.
        """
        return self._group.submit(_Write(profile, SetCredentials(credentials, overwrite)))

    def remove(self, profiles: Sequence[str] | None = None) -> tuple[str, ...]:
        """Remove what we wrote, and return the profiles that it was removed from.

        Args:
            profiles: only these; None is every profile with our mark.

        Raises:
            CredentialsFileMalformedError: botocore can't read the file either.
            ProfileAmbiguousError: a profile can't be told apart from what stands below it; what
                else was to go is gone.
            CredentialsFileUnwritableError: the system refuses. The file is as it was.
        """
        # Not under the lock: a file that needs no change gets no lock file and no other mode.
        self.recover()
        if not _managed_profiles(self._read_sections(must_be_still=True), profiles):
            return ()
        result: credentials_text.EditResult | None = None
        with self._committing() as (place, replacer):

            def edit(data: bytes) -> bytes:
                nonlocal result
                sections = credentials_text.read(data, path=str(place.file))
                managed = _managed_profiles(sections, profiles)
                changes = {name: RemoveCredentials() for name in managed}
                result = credentials_text.edit(data, changes, path=str(place.file))
                return result.data

            self._commit(place, replacer, edit)
        if result is None:
            return ()
        for refusal in result.refused.values():
            raise refusal
        return result.removed

    def recover(self) -> None:
        """Tidy up after a run that was killed in the middle of a commit; call it once at start.

        Where there is nothing to tidy up nothing is created, nor is a lock waited for.

        Raises:
            CredentialsFileUnwritableError: the system refuses.
        """
        place = CredentialsFilePaths.of(self._path)
        if any(os.path.lexists(left_over) for left_over in (place.new, place.journal)):
            with self._committing():
                pass

    def close(self) -> None:
        """Take no more writes, and return when those that were asked for are done."""
        self._group.close()

    def hold(self, config: str) -> DaemonLock:
        """Take the lock that a daemon holds for its life; use it in a `with`, or `release` it.

        Args:
            config: the daemon's configuration file, to tell it to a second daemon.

        Raises:
            AlreadyRunningError: another daemon holds it; the message names its pid and
            configuration. CredentialsFileUnwritableError: the lock can't be had.
        """
        return hold(CredentialsFilePaths.of(self._path).daemon, config)

    def _read_sections(self, *, must_be_still: bool = False) -> Mapping[str, Mapping[str, str]]:
        path = self.path
        with during("read", path):
            file = open_settled(path, sleep=self._sleep, must_be_still=must_be_still)
            if file is None:
                return {}
            with file:
                return credentials_text.read(file.data, path=str(path))

    def _refuse_foreign_link(self, place: CredentialsFilePaths) -> None:
        """As root, follow no link of a user to a file that is somebody else's.

        Raises:
            CredentialsFileUnwritableError: one of them leads there.
        """
        if os.geteuid() != 0 or not place.file.exists():
            return
        owner = place.file.stat().st_uid
        named = self._path.absolute()
        for step in (named, named.parent):
            if step.is_symlink() and step.lstat().st_uid not in {owner, 0}:
                raise CredentialsFileUnwritableError(
                    f"{step} is a link of one user's to {place.file}, which is another's",
                    hint="run assumed as the user whose file it is",
                )

    @contextmanager
    def _committing(self) -> Iterator[tuple[CredentialsFilePaths, AtomicReplacer]]:
        place = CredentialsFilePaths.of(self._path)
        with during("write", place.file):
            # Root could leave a lock file beside a device, and change the mode of one.
            refuse_no_file(place.file)
            self._refuse_foreign_link(place)
        with (
            during("write", place.file),
            commit_lock(place.lock, sleep=self._sleep) as lock,
        ):
            repair(place, lock, self._notices)
            repair_in_place(place, self._notices)
            yield place, AtomicReplacer(place, lock, self._sleep, self._notices)

    def _commit(
        self, place: CredentialsFilePaths, replacer: AtomicReplacer, edit: Callable[[bytes], bytes]
    ) -> None:
        self._tighten(place)
        if self._write_mode is WriteMode.IN_PLACE and FileSignature.at(place.file) is not None:
            in_place = True
        else:
            in_place = False
            try:
                self._own_last_write = replacer.commit(edit)
            except MountPointError:
                self._notices.once(
                    "credentials_file_is_a_mount_point",
                    path=place.file,
                    hint="written in place; `write: in-place` says so in the configuration",
                )
                in_place = True
        if in_place:
            overwriter = InPlaceWriter(place, self._sleep, self._notices)
            self._own_last_write = overwriter.commit(edit)
        self._commits += 1

    def _tighten(self, place: CredentialsFilePaths) -> None:
        """Take the file away from everybody else's eyes, even before it is written."""
        try:
            descriptor = open_regular(place.file)
        except OSError:
            # The commit meets the same refusal, and says so.
            return
        try:
            status = os.fstat(descriptor)
            acl = access_list(descriptor)
            if not is_private(status, acl) and acl is None:
                os.fchmod(descriptor, PRIVATE_MODE)
                event(
                    logging.WARNING,
                    "credentials_file_permissions_tightened",
                    path=place.file,
                    old_mode=f"{status.st_mode & 0o777:04o}",
                )
        except OSError as error:
            if error.errno not in {errno.EPERM, errno.EROFS}:
                raise unwritable(place.file, "change the mode", error) from error
        finally:
            os.close(descriptor)

    def _commit_group(self, group: Sequence[_Write]) -> Sequence[CredentialsFileError | None]:
        changes = {write.profile: write.put for write in group}
        result: credentials_text.EditResult | None = None
        with self._committing() as (place, replacer):

            def edit(data: bytes) -> bytes:
                nonlocal result
                result = credentials_text.edit(data, changes, path=str(place.file))
                if result.replaced_keys and back_up(place, result.replaced_keys):
                    event(
                        logging.WARNING,
                        "long_term_keys_backed_up",
                        profiles=", ".join(result.replaced_keys),
                        path=place.backup,
                    )
                return result.data

            self._commit(place, replacer, edit)
        if result is None:
            return [None] * len(group)
        for profile in result.taken_over:
            event(logging.INFO, "profile_taken_over", profile=profile, path=place.file)
        return [result.refused.get(write.profile) for write in group]


def _managed_profiles(
    sections: Mapping[str, Mapping[str, str]], profiles: Sequence[str] | None
) -> list[str]:
    return [
        name
        for name, section in sections.items()
        if is_ours(section) and (profiles is None or name in profiles)
    ]
