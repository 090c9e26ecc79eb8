"""A configuration that somebody else could have written is not read: it says whose rights we use.

It will also name commands to run.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_ALL_USERS = "0 0 4294967295"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def insecure_reason(path: Path, descriptor: int) -> str | None:
    """Return why the open file at `path` is not to be trusted, and the mend; None where it is.

    The file itself counts, the folder that it really is in, and those above it, also of the links
    that lead to it: who may write there may put another file in its place.
    """
    real = path.resolve()
    for above in {*path.absolute().parents, *real.parents} - {real.parent}:
        if (reason := _distrust_above(above)) is not None:
            return reason
    for what, status in ((path, os.fstat(descriptor)), (real.parent, real.parent.stat())):
        if status.st_uid not in _trusted_owners():
            return (
                f"{what} belongs to another user (uid {status.st_uid}), who could change what is "
                f"done with your credentials: `chown {os.geteuid()} {what}`"
            )
        if status.st_mode & _WRITABLE_BY_OTHERS:
            who = "everybody" if status.st_mode & stat.S_IWOTH else "its group"
            return f"{what} is writable by {who}: `chmod go-w {what}`"
    return None


def _distrust_above(folder: Path) -> str | None:
    """Who may rename what is in a folder further up can put a tree of their own in its place.

    Its group may be the user's own, as it is by default on Debian: that one is not asked about.
    """
    status = folder.stat()
    if status.st_uid not in _trusted_owners():
        return (
            f"{folder}, which it is in, belongs to another user (uid {status.st_uid}), who could "
            "put another file in its place: keep it elsewhere"
        )
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return f"{folder}, which it is in, is writable by everybody: `chmod o-w {folder}`"
    return None


def _trusted_owners() -> set[int]:
    owners = {os.geteuid(), 0}
    # In a user namespace (PrivateUsers=yes, a rootless container) the files of the real root seem
    # to belong to nobody (user_namespaces(7)).
    if _text("/proc/self/uid_map") not in {_ALL_USERS, ""}:
        nobody = int(_text("/proc/sys/kernel/overflowuid") or 0)
        owners |= {nobody} & {Path("/").stat().st_uid}
    return owners


def _text(path: str) -> str:
    try:
        return " ".join(Path(path).read_text().split())
    except OSError:
        return ""
