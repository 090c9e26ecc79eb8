"""The credentials file: read profiles, write many at once, remove them, recover from a crash.

| topic | module |
| --- | --- |
| batch writes | `batch_writer` |
| locking, replacing, repairing | `locked_file` |
| read beside other writers | `reader`, `lease` |
| atomic replacement | `atomic_replace`, `renameat2` |
| write in place | `in_place` |
| mode, owner, ACL | `permissions` |
| backup of replaced long-term keys | `backup` |
| lock files and paths | `locks`, `companion_files` |
| errors of the operating system | `errors` |
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assumed import aws_files
from assumed.aws_files import EditResult, RemoveCredentials, SetCredentials
from assumed.aws_files.ownership import is_managed
from assumed.clock import Clock, SystemClock
from assumed.errors import CredentialsFileError
from assumed.logs import event
from assumed.models import Credentials, WriteMode
from assumed.storage.backup import back_up
from assumed.storage.batch_writer import BatchWriter
from assumed.storage.companion_files import CredentialsFilePaths
from assumed.storage.errors import wrap_os_errors
from assumed.storage.locked_file import LockedFile
from assumed.storage.locks import DaemonLock
from assumed.storage.permissions import reject_untrusted_path
from assumed.storage.reader import FileSignature, open_stable
from assumed.storage.stored_profile import StoredProfile
from assumed.untrusted_text import is_credential


@dataclass(frozen=True, slots=True)
class _Write:
    profile: str
    change: SetCredentials


class CredentialsFile:
    """Reads and writes the credentials file; thread- and process-safe.

    Args:
        path: as the user names it; symbolic links are followed, and stay.
        write: whether a new file replaces the old one, or the old one is overwritten in place.
        clock: measures the time between batch writes.
        sleep: waits for a number of seconds, between batch writes and while the file is busy.
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
        self._sleep = sleep
        self._file = LockedFile(path, write=write, sleep=sleep)
        self._batch_writer = BatchWriter(
            self._write_batch, clock=clock or SystemClock(), sleep=sleep
        )

    @property
    def path(self) -> Path:
        """The file behind all symbolic links, which need not exist."""
        return CredentialsFilePaths.of(self._path).file

    def exists(self) -> bool:
        """Whether the file exists, whatever its content."""
        return self.signature() is not None

    def has_hard_links(self) -> bool:
        """Whether the file has other names, which keep the old content when it is replaced."""
        with suppress(OSError):
            return self.path.lstat().st_nlink > 1
        return False

    def signature(self) -> FileSignature | None:
        """Return a value that changes with each write of the file, from a single stat call.

        Raises:
            CredentialsFileUnwritableError: a system call fails.
        """
        path = self.path
        with wrap_os_errors("check", path):
            return FileSignature.lstat(path)

    @property
    def own_last_write(self) -> FileSignature | None:
        """The signature of the file after this object's last write."""
        return self._file.own_last_write

    @property
    def writes(self) -> int:
        """How many times this object has written the file."""
        return self._file.writes

    def read(self) -> Mapping[str, StoredProfile]:
        """Return all profiles by name, in the order of the file; none if it is missing.

        Raises:
            CredentialsFileMalformedError: botocore cannot read the file either.
            CredentialsFileUnwritableError: the file cannot be opened or read.
        """
        return {
            name: StoredProfile.from_section(name, section)
            for name, section in self._read_sections().items()
        }

    def write(
        self, profile: str, credentials: Credentials, *, overwrite: bool = False
    ) -> Future[None]:
        """Write a profile.

        Requests within about 50 ms share one write; longer if the file is large and more requests
        keep arriving. The last one wins, also over credentials that expire later: their permissions
        may have changed.

        Args:
            profile: the name of the section.
            credentials: the values to write.
            overwrite: also over long-term keys, which are backed up first, and over credentials
                that another tool manages.

        Returns:
            Done once the profile is on disk. Otherwise the profile is as it was, and it fails with:
            `CredentialsFileMalformedError`: botocore cannot read the file either;
            `ProfileNotManagedError`: the profile has credentials that assumed does not manage;
            `ProfileAmbiguousError`: the AWS SDKs would not read the same credentials from it;
            `CredentialsFileUnwritableError`: a system call fails;
            `CredentialsFileError`: a value is malformed.
        """
        values = (
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
            credentials.principal_arn,
        )
        if not all(is_credential(value) for value in values):
            # Here, so that the other profiles of the batch are written.
            rejected: Future[None] = Future()
            rejected.set_exception(
                CredentialsFileError(
                    "its credentials cannot be written: a value has a blank, a line break or "
                    "another character that AWS never uses",
                    hint="correct what supplies the credentials",
                )
            )
            return rejected
        return self._batch_writer.submit(_Write(profile, SetCredentials(credentials, overwrite)))

    def remove(self, profiles: Sequence[str] | None = None) -> tuple[str, ...]:
        """Remove the managed keys, and return the profiles from which they were removed.

        Args:
            profiles: only from these; None for all managed profiles.

        Raises:
            CredentialsFileMalformedError: botocore cannot read the file either.
            ProfileAmbiguousError: an indented line continues a managed key of a profile;
                the keys of the other profiles are removed.
            CredentialsFileUnwritableError: a system call fails. The file is as it was.
        """
        # Not under the lock: a file that needs no change gets no lock file and no other mode.
        self.recover()
        if not _managed_profiles(self._read_sections(require_no_writer=True), profiles):
            return ()
        result: EditResult | None = None
        path = str(self.path)

        def edit(data: bytes) -> bytes:
            nonlocal result
            managed = _managed_profiles(aws_files.read(data, path=path), profiles)
            changes = {name: RemoveCredentials() for name in managed}
            result = aws_files.edit(data, changes, path=path)
            return result.data

        self._file.edit(edit)
        if result is None:
            return ()
        for error in result.rejected.values():
            raise error
        return result.removed

    def recover(self) -> None:
        """Clean up after a process that was killed during a write; call it once at start.

        If there is nothing to clean up, no file is created and no lock is awaited.

        Raises:
            CredentialsFileUnwritableError: a system call fails.
        """
        self._file.recover()

    def close(self) -> None:
        """Accept no more writes, and return once the accepted ones are done."""
        self._batch_writer.close()

    def acquire_daemon_lock(self, config: str) -> DaemonLock:
        """Acquire the lock that a daemon holds while it runs; use it in a `with`, or `release` it.

        Args:
            config: the daemon's configuration file, to report it to a second daemon.

        Raises:
            AlreadyRunningError: another daemon holds it; the message names its process and
                configuration.
            CredentialsFileUnwritableError: the lock file cannot be opened or locked.
        """
        with wrap_os_errors("write", self._path):
            reject_untrusted_path(self._path)
        return DaemonLock(CredentialsFilePaths.of(self._path).daemon_lock, config=config)

    def _read_sections(self, *, require_no_writer: bool = False) -> Mapping[str, Mapping[str, str]]:
        path = self.path
        with wrap_os_errors("read", path):
            file = open_stable(path, sleep=self._sleep, require_no_writer=require_no_writer)
            if file is None:
                return {}
            with file:
                return aws_files.read(file.data, path=str(path))

    def _write_batch(self, batch: Sequence[_Write]) -> Sequence[CredentialsFileError | None]:
        changes = {write.profile: write.change for write in batch}
        result: EditResult | None = None
        paths = CredentialsFilePaths.of(self._path)

        def edit(data: bytes) -> bytes:
            nonlocal result
            result = aws_files.edit(data, changes, path=str(paths.file))
            if result.replaced_keys and back_up(paths, result.replaced_keys):
                event(
                    logging.WARNING,
                    "long_term_keys_backed_up",
                    profiles=", ".join(result.replaced_keys),
                    path=paths.backup,
                )
            return result.data

        self._file.edit(edit)
        if result is None:
            return [None] * len(batch)
        for profile in result.taken_over:
            event(logging.INFO, "profile_taken_over", profile=profile, path=paths.file)
        return [result.rejected.get(write.profile) for write in batch]


def _managed_profiles(
    sections: Mapping[str, Mapping[str, str]], profiles: Sequence[str] | None
) -> list[str]:
    return [
        name
        for name, section in sections.items()
        if is_managed(section) and (profiles is None or name in profiles)
    ]
