"""Reading of the AWS files: again when they have changed, and with the line of an error."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path

from botocore import exceptions

from assumed.aws_files import read
from assumed.aws_files.normalize import strip_managed_values
from assumed.credential_sources.aws_files_snapshot import AwsFilesSnapshot, read_aws_file
from assumed.errors import (
    AwsFilesUnreadableError,
    CredentialsFileMalformedError,
    LocalFaultError,
)
from assumed.file_calls import FileCalls
from assumed.fsutil import (
    MAX_AWS_FILE_BYTES,
    FileTooLargeError,
    NotRegularFileError,
    is_missing,
    local_fault_hint,
    read_file,
)
from assumed.local_faults import LOCAL_FAULTS
from assumed.logs import event
from assumed.untrusted_text import clean

FileState = tuple[str, int, int, int]
_NO_FILE = (0, 0, 0)


class AwsFilesReader:
    """The AWS config and credentials files; not safe to use from two threads at once.

    Args:
        config: the AWS config file.
        credentials: the credentials file.
    """

    def __init__(self, config: Path, credentials: Path) -> None:
        self.paths = (config, credentials)
        self.version = 0
        """How often the files were read; changes of managed credentials count too."""
        self._calls = FileCalls(str(config.parent))
        self._signature: tuple[FileState, ...] | None = None
        self._digest: bytes | None = None
        self._snapshot: AwsFilesSnapshot | None = None
        self._fault: str | None = None
        """Why the files cannot be read again now, as the log says."""

    @property
    def exist(self) -> bool:
        """Whether one of the files exists, also if it cannot be read now."""
        return any(state[1:] != _NO_FILE for state in map(file_state, self.paths))

    def read(self, *, keep: Collection[str]) -> AwsFilesSnapshot:
        """Return both files, read again if one has changed.

        Args:
            keep: the profiles whose managed credentials count as a change.

        Raises:
            AwsFilesUnreadableError: a file is malformed.
            LocalFaultError: a file cannot be read now, and none was read before.
        """
        try:
            signature, contents = self._calls.run(
                partial(_read_if_changed, self.paths, self._signature)
            )
        except (NotRegularFileError, FileTooLargeError) as error:
            raise wrong_kind(error) from None
        except OSError as error:
            self._keep_known(error)
        except MemoryError:
            directory = str(self.paths[0].parent)
            self._keep_known(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), directory))
        else:
            if contents is not None:
                self._update(contents, keep)
                self._signature = signature
            self._end_fault()
        return self.known()

    def known(self) -> AwsFilesSnapshot:
        """Return both files as they were read last; `read` must have succeeded before."""
        assert self._snapshot is not None  # noqa: S101 - by the contract
        return self._snapshot

    def _keep_known(self, error: OSError) -> None:
        """Go on with what was read before; it is read again at the next call."""
        fault = f"{error.filename}: cannot be read: {error.strerror}"
        if self._snapshot is None:
            raise LocalFaultError(fault, hint=local_fault_hint(error)) from error
        LOCAL_FAULTS.report(error)
        if fault != self._fault:
            self._fault = fault
            event(
                logging.WARNING,
                "aws_files_unreadable",
                error=fault,
                hint=f"{local_fault_hint(error)}; until then assumed uses what it has read before",
            )

    def _update(self, contents: Sequence[tuple[Path, bytes]], keep: Collection[str]) -> None:
        # Each refresh changes the credentials file, and botocore takes 50 ms to parse one with
        # a thousand profiles.
        digest = self._digest_of(contents, keep)
        if self._snapshot is None or digest != self._digest:
            try:
                self._snapshot = AwsFilesSnapshot.parse(*contents)
            except exceptions.ConfigParseError as error:
                raise self._unreadable(error) from error
        self._digest = digest
        self.version += 1

    def _end_fault(self) -> None:
        if self._fault is not None:
            self._fault = None
            event(logging.INFO, "aws_files_readable")

    def _unreadable(self, error: exceptions.ConfigParseError) -> AwsFilesUnreadableError:
        """Return the error with its line; botocore reports only the file."""
        for path in self.paths:
            try:
                read(read_file(path, max_bytes=MAX_AWS_FILE_BYTES), path=str(path))
            except CredentialsFileMalformedError as malformed:
                return AwsFilesUnreadableError(
                    f"no AWS tool can read the AWS files: {malformed.message}",
                    hint=malformed.hint,
                )
            except OSError:
                continue
        return AwsFilesUnreadableError(
            f"no AWS tool can read the AWS files: {clean(str(error))}",
            hint="correct that file",
        )

    def _digest_of(self, contents: Iterable[tuple[Path, bytes]], keep: Collection[str]) -> bytes:
        """Return a digest that refreshes do not change."""
        profiles = {} if self._snapshot is None else self._snapshot.merged["profiles"]
        sources = {str(entries.get("source_profile")) for entries in profiles.values()}
        digest = hashlib.sha256()
        for _, data in contents:
            # The keys of source profiles count, even if this program wrote them.
            kept = strip_managed_values(data, keep=sources.union(keep))
            digest.update(hashlib.sha256(kept).digest())
        return digest.digest()


def file_state(path: Path) -> FileState:
    """Return a value that changes with a file, or with the target of a link."""
    try:
        found = path.stat()
    except OSError as error:
        # A fault is another state than a missing file, so that its end is noticed.
        return (str(path), *(_NO_FILE if is_missing(error) else (0, 0, error.errno or 0)))
    # Not mtime, which `cp -p` and rsync restore, and which chmod does not change.
    return (str(path), found.st_ino, found.st_size, found.st_ctime_ns)


def wrong_kind(error: OSError) -> AwsFilesUnreadableError:
    """Return the error for a FIFO and the like, or a file that is too large."""
    return AwsFilesUnreadableError(
        f"no AWS tool can read the AWS files: {error.filename}: {error.strerror}",
        hint="replace it by a file, or correct the variable that names it",
    )


def _read_if_changed(
    paths: Sequence[Path], known: tuple[FileState, ...] | None
) -> tuple[tuple[FileState, ...], Sequence[tuple[Path, bytes]] | None]:
    """Return the states of files, and their contents if the states are not the known ones."""
    states = tuple(file_state(path) for path in paths)
    if states == known:
        return states, None
    return states, [(path, read_aws_file(path)) for path in paths]
