"""A configuration that somebody else could have written is not read: it says whose rights we use.

It will also name commands to run.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_ALL_USERS = "0 0 4294967295"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def distrust(path: Path, descriptor: int) -> str | None:
    """Return why the open file at `path` is not to be trusted, and the mend; None where it is.

    The file itself counts, and the folder that it really is in: who may write there may put
    another file in its place.
    """
    folder = path.resolve().parent
    for what, status in ((path, os.fstat(descriptor)), (folder, folder.stat())):
        if status.st_uid not in _trusted_owners():
            return (
                f"{what} belongs to another user (uid {status.st_uid}), who could change what is "
                f"done with your credentials: `chown {os.geteuid()} {what}`"
            )
        if status.st_mode & _WRITABLE_BY_OTHERS:
            who = "everybody" if status.st_mode & stat.S_IWOTH else "its group"
            return f"{what} is writable by {who}: `chmod go-w {what}`"
    return None


def _trusted_owners() -> set[int]:
    owners = {os.geteuid(), 0}
    # In a user namespace (PrivateUsers=yes, a rootless container) the files of the real root seem
    # to belong to nobody (user_namespaces(7)).
    if _text("/proc/self/uid_map") not in {_ALL_USERS, ""}:
        owners.add(int(_text("/proc/sys/kernel/overflowuid") or 0))
    return owners


def _text(path: str) -> str:
    try:
        return " ".join(Path(path).read_text().split())
    except OSError:
        return ""
