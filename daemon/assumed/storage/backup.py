"""Backup of the long-term keys that `overwrite: true` replaces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count

from assumed.aws_files import read
from assumed.errors import CredentialsFileMalformedError
from assumed.fsutil import sync_directory, write_all
from assumed.storage.companion_files import CredentialsFilePaths
from assumed.storage.errors import wrap_os_errors
from assumed.storage.locks import open_private


def back_up(paths: CredentialsFilePaths, replaced_keys: Mapping[str, Mapping[str, str]]) -> bool:
    """Append keys to the backup, under the name of their profile; its old content stays.

    Keys that it already has are not saved again. Other keys of a profile that it already has are
    saved as `[NAME 2]`, and so on.

    Args:
        paths: the credentials file and its companions.
        replaced_keys: by profile and key.

    Returns:
        Whether anything was saved.

    Raises:
        CredentialsFileUnwritableError: the backup cannot be written, so no key may be replaced.
    """
    descriptor = open_private(paths.backup)
    try:
        with wrap_os_errors("write the backup", paths.backup):
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            added = _additions(data, replaced_keys, path=str(paths.backup))
            if not added:
                return False
            if data and not data.endswith(b"\n"):
                added = b"\n" + added
            try:
                write_all(descriptor, added, offset=len(data))
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, len(data))
                raise
            sync_directory(paths.directory)
    finally:
        os.close(descriptor)
    return True


def _additions(data: bytes, replaced_keys: Mapping[str, Mapping[str, str]], *, path: str) -> bytes:
    try:
        saved = dict(read(data, path=path))
    except CredentialsFileMalformedError:
        # The user edited it, or a crash truncated it: append, and leave its content alone.
        saved = {}
    added = b""
    for profile, keys in replaced_keys.items():
        if keys in saved.values():
            continue
        names = (profile if number == 1 else f"{profile} {number}" for number in count(1))
        name = next(name for name in names if name not in saved)
        saved[name] = keys
        lines = [f"[{name}]", *(f"{key} = {value}" for key, value in keys.items()), ""]
        added += "\n".join(lines).encode()
    return added
