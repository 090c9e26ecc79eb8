"""The names of what stands beside the credentials file, and where the file really is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CredentialsFilePaths:
    """The credentials file behind all symbolic links, and its companions in the same folder.

    Their names are fixed: only who holds the commit lock touches them, and after a crash the next
    one knows what is ours.
    """

    file: Path

    @classmethod
    def of(cls, path: Path) -> CredentialsFilePaths:
        """Follow the links of `path`, also chained ones and ones that lead to no file yet."""
        return cls(Path(os.path.realpath(path)))

    @property
    def folder(self) -> Path:
        """The folder of all of them."""
        return self.file.parent

    @property
    def lock(self) -> Path:
        """Locked for the length of a commit; holds what a crashed commit was about to do."""
        return self._companion("lock")

    @property
    def daemon(self) -> Path:
        """Locked for the life of a daemon; says which."""
        return self._companion("daemon")

    @property
    def new(self) -> Path:
        """The new file before, the old one after they are exchanged."""
        return self._companion("new")

    @property
    def journal(self) -> Path:
        """What a write in place replaces, and by what."""
        return self._companion("journal")

    @property
    def backup(self) -> Path:
        """The long-term keys that `overwrite: true` replaced."""
        return self.folder / f"{self.file.name}.assumed-backup"

    def conflict(self, inode: int) -> Path:
        """Return where an edit of another program is kept that could not be put back."""
        return self.folder / f"{self.file.name}.assumed-conflict-{inode}"

    def _companion(self, role: str) -> Path:
        return self.folder / f".{self.file.name}.assumed-{role}"
