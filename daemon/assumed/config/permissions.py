"""Whether only trusted users can write the configuration file.

The file decides which credentials are used and which commands run, so anyone who can write it has
the rights of the user who runs assumed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_ALL_USERS = "0 0 4294967295"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def insecure_reason(path: Path, descriptor: int) -> str | None:
    """Return why the open file at `path` is not trusted and how to fix it; None if it is.

    Checks the file, the directory that holds it, and all parents, also those of symbolic links
    on the way: a user who can write to one of them can replace the file.
    """
    real = path.resolve()
    for parent in {*path.absolute().parents, *real.parents} - {real.parent}:
        if (reason := _insecure_parent_reason(parent)) is not None:
            return reason
    directory = real.parent
    for name, target, status in (
        ("the file", path, os.fstat(descriptor)),
        (f"its directory {directory}", directory, directory.stat()),
    ):
        if status.st_uid not in _trusted_owners():
            return (
                f"{name} belongs to another user (uid {status.st_uid}): "
                f"`chown {os.geteuid()} {target}`"
            )
        if status.st_mode & _WRITABLE_BY_OTHERS:
            who = "everyone" if status.st_mode & stat.S_IWOTH else "its group"
            return f"{name} is writable by {who}: `chmod go-w {target}`"
    return None


def permission_state(path: Path) -> object:
    """Return a value that changes with everything that `insecure_reason` depends on."""
    real = Path(os.path.realpath(path))
    checked = {path, *path.absolute().parents, *real.parents}
    return real, frozenset((each, _owner_and_mode(each)) for each in checked)


def _owner_and_mode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_uid, status.st_mode


def _insecure_parent_reason(directory: Path) -> str | None:
    """Check a directory further up, which may be writable by its group.

    On Debian that group is by default the user's own.
    """
    status = directory.stat()
    if status.st_uid not in _trusted_owners():
        return (
            f"its parent directory {directory} belongs to another user (uid {status.st_uid}), who "
            "can replace the file: move it elsewhere"
        )
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return f"its parent directory {directory} is writable by everyone: `chmod o-w {directory}`"
    return None


def _trusted_owners() -> set[int]:
    owners = {os.geteuid(), 0}
    # In a user namespace (PrivateUsers=yes, a rootless container) the files of the real root
    # appear to belong to the overflow user (user_namespaces(7)).
    if _read_words("/proc/self/uid_map") not in {_ALL_USERS, ""}:
        overflow_user = int(_read_words("/proc/sys/kernel/overflowuid") or 0)
        owners |= {overflow_user} & {Path("/").stat().st_uid}
    return owners


def _read_words(path: str) -> str:
    try:
        return " ".join(Path(path).read_text().split())
    except OSError:
        return ""
