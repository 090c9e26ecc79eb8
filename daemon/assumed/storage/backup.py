"""The long-term keys that `overwrite: true` replaces, saved before that, once and for good."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count

from assumed.aws_files.credentials_text import read
from assumed.errors import CredentialsFileMalformedError
from assumed.fsutil import sync_directory, write_all
from assumed.storage.errors import during
from assumed.storage.file_paths import CredentialsFilePaths
from assumed.storage.locks import open_private


def back_up(place: CredentialsFilePaths, replaced_keys: Mapping[str, Mapping[str, str]]) -> bool:
    """Append keys to the backup, each under its profile's name; what is in it stays as it is.

    Keys that it has already are not saved again; other keys of a profile that it has already are
    saved as `[NAME 2]`, and so on.

    Args:
        place: where the credentials file is.
        replaced_keys: by profile and key.

    Returns:
        Whether there was anything to save.

    Raises:
        CredentialsFileUnwritableError: the backup can't be written: then nothing may be replaced.
    """
    descriptor = open_private(place.backup)
    try:
        with during("write the backup", place.backup):
            data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            added = _additions(data, replaced_keys, path=str(place.backup))
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
            sync_directory(place.folder)
    finally:
        os.close(descriptor)
    return True


def _additions(data: bytes, replaced_keys: Mapping[str, Mapping[str, str]], *, path: str) -> bytes:
    try:
        saved = dict(read(data, path=path))
    except CredentialsFileMalformedError:
        # Somebody edited it, or a crash cut it short: nothing in it is touched.
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
