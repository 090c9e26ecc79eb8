"""Whether only root can change a program: its files, and the directories on the way to them."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from assumed.path_trust import (
    TrustedUser,
    Untrusted,
    is_overflow_user,
    is_shared,
    user_name,
    walk,
)

_ROOT = TrustedUser(0, 0)
_ITS_GROUP = "its group"


def untrusted_part(paths: Iterable[Path]) -> Untrusted | None:
    """Return what a user other than root could change; None if there is nothing.

    Args:
        paths: files, and directories with everything below them. One that is missing may only be
            created by root.
    """
    checked: set[Path] = set()
    for path in paths:
        for each in _tree(path):
            try:
                found = _untrusted(each, checked)
            except OSError as error:
                found = Untrusted(
                    each, f"cannot be checked: {os.strerror(error.errno or errno.EIO)}"
                )
            if found is not None:
                return found
    return None


def _tree(path: Path) -> Iterator[Path]:
    yield path
    for directory, subdirectories, files in os.walk(path.resolve()):
        for name in (*subdirectories, *files):
            yield Path(directory, name)


def _untrusted(path: Path, checked: set[Path]) -> Untrusted | None:
    # A walk from `/` for each file takes thirty times as long.
    if path.parent in checked:
        with suppress(FileNotFoundError):
            status = path.lstat()
            if not stat.S_ISLNK(status.st_mode):
                return _unsafe(path, status, checked)
    for component in walk(path):
        if component.status is None:
            container = component.directory_status
            if container is not None and is_shared(container):
                return Untrusted(component.path, "does not exist, and another user could create it")
        elif (found := _unsafe(component.path, component.status, checked)) is not None:
            return found
    return None


def _unsafe(path: Path, status: os.stat_result, checked: set[Path]) -> Untrusted | None:
    if path in checked:
        return None
    if status.st_uid != 0 and not is_overflow_user(status.st_uid):
        return Untrusted(path, f"belongs to {user_name(status.st_uid)}", status.st_uid)
    is_link = stat.S_ISLNK(status.st_mode)
    writer = None if is_link or is_shared(status) else _ROOT.other_writers(path, status)
    if writer is not None and not (writer == _ITS_GROUP and _is_empty(status.st_gid)):
        return Untrusted(path, f"is writable by {writer}")
    checked.add(path)
    return None


@cache
def _is_empty(gid: int) -> bool:
    """Whether no one is in a group that exists, such as staff, to which Debian gave /usr/local."""
    try:
        members = grp.getgrgid(gid).gr_mem
    except KeyError:
        return False
    return not members and all(entry.pw_gid != gid for entry in pwd.getpwall())
