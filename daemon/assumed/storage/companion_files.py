"""The paths of the credentials file and of the files that assumed keeps beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from assumed.storage.errors import wrap_os_errors


@dataclass(frozen=True, slots=True)
class CredentialsFilePaths:
    """The credentials file behind all symbolic links, and its companions in the same directory.

    The names are fixed: only the holder of the write lock touches these files, and after a crash
    the next process knows which ones assumed created.
    """

    file: Path

    @classmethod
    def of(cls, path: Path) -> CredentialsFilePaths:
        """Follow the links of `path`, including chains and links to a file that does not exist.

        Raises:
            CredentialsFileUnwritableError: a link changes at this very moment.
        """
        with wrap_os_errors("follow the links", path):
            return cls(Path(os.path.realpath(path)))

    @property
    def directory(self) -> Path:
        """The directory of all of them."""
        return self.file.parent

    @property
    def write_lock(self) -> Path:
        """Locked during a write; its content describes a replacement that a crash interrupted."""
        return self._companion("lock")

    @property
    def daemon_lock(self) -> Path:
        """Locked while a daemon runs; names its process and configuration."""
        return self._companion("daemon")

    @property
    def new(self) -> Path:
        """The new file, and after the exchange of the names the old one."""
        return self._companion("new")

    @property
    def journal(self) -> Path:
        """The old and the new content of a write in place."""
        return self._companion("journal")

    @property
    def backup(self) -> Path:
        """The long-term keys that `overwrite: true` replaced."""
        return self.directory / f"{self.file.name}.assumed-backup"

    @property
    def original(self) -> Path:
        """The whole file as it was before the first adoption of a profile."""
        return self.directory / f"{self.file.name}.assumed-original"

    @property
    def new_original(self) -> Path:
        """The same while it is being written."""
        return self._companion("new-original")

    def conflict(self, inode: int) -> Path:
        """Return where an edit of another program is kept if it cannot be put back."""
        return self.directory / f"{self.file.name}.assumed-conflict-{inode}"

    def _companion(self, role: str) -> Path:
        return self.directory / f".{self.file.name}.assumed-{role}"
