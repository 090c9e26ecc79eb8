"""Whether only trusted users can write the configuration file.

The file decides which credentials are used and which commands run, so anyone who can write it has
the rights of the user who runs assumed.
"""

from __future__ import annotations

import os
import stat
from enum import Enum
from pathlib import Path

from assumed.path_trust import (
    Component,
    TrustedUser,
    is_acl_entry,
    is_overflow_user,
    is_read_only,
    is_shared,
    walk,
)


def insecure_reason(path: Path, descriptor: int) -> str | None:
    """Return why the open file at `path` is not trusted and how to fix it; None if it is.

    Checks the file, the directory that holds it, all directories above, and all symbolic links on
    the way, with the directories that hold those: a user who can write to one of them can replace
    the file.

    Raises:
        OSError: a directory cannot be entered.
    """
    user = TrustedUser.current()
    opened = os.fstat(descriptor)
    directory = path.resolve().parent
    found: os.stat_result | None = None
    for component in walk(path):
        found = component.status
        if found is None:
            break
        place = _place(component, directory)
        target = path if place is _Place.FILE else component.path
        reason = _owner_reason(component, found, user, place=place, target=target)
        if reason is None and place is not _Place.LINK:
            reason = _writer_reason(component.path, found, user, place=place, target=target)
        if reason is not None:
            return f"{place.value.format(target)} {reason}"
    if found is None or not os.path.samestat(found, opened):
        return "the file was replaced while it was opened: run the command again"
    return None


class _Place(Enum):
    FILE = "the file"
    DIRECTORY = "its directory {}"
    PARENT = "its parent directory {}"
    LINK = "the symbolic link {}"


def permission_state(path: Path) -> object:
    """Return a value that changes with everything that `insecure_reason` depends on."""
    try:
        return tuple(
            (component.path, None if status is None else (status.st_uid, status.st_mode))
            for component in walk(path)
            for status in [component.status]
        )
    except OSError as error:
        return error.errno


def _place(component: Component, directory: Path) -> _Place:
    if component.is_link:
        return _Place.LINK
    if component.is_last and not component.is_directory:
        return _Place.FILE
    return _Place.DIRECTORY if component.path == directory else _Place.PARENT


def _owner_reason(
    component: Component,
    status: os.stat_result,
    user: TrustedUser,
    *,
    place: _Place,
    target: Path,
) -> str | None:
    if user.owns(status) or _is_fixed(component, status):
        return None
    owner = f"belongs to another user (uid {status.st_uid})"
    if is_overflow_user(status.st_uid):
        return f"{owner}, or to one outside this user namespace: mount it read-only"
    if place is _Place.PARENT:
        return f"{owner}, who can replace the file: move it elsewhere"
    sudo = "" if user.uid == 0 else "sudo "
    new_owner = "root" if target.is_relative_to("/etc") else user.uid
    return f"{owner}: `{sudo}chown {'-h ' if place is _Place.LINK else ''}{new_owner} {target}`"


def _writer_reason(
    real: Path, status: os.stat_result, user: TrustedUser, *, place: _Place, target: Path
) -> str | None:
    is_parent = place is _Place.PARENT
    if is_parent and is_shared(status):
        return None
    writer = user.other_writers(real, status, with_private_group=is_parent)
    if writer is None:
        return None
    if is_acl_entry(writer):
        fix = "setfacl -b"
    elif is_parent:
        fix = "chmod o-w" if status.st_mode & stat.S_IWOTH else "chmod g-w"
    else:
        fix = "chmod go-w"
    return f"is writable by {writer}: `{fix} {target}`"


def _is_fixed(component: Component, status: os.stat_result) -> bool:
    """Whether it belongs to a user outside this user namespace, on a read-only mount.

    That user may be the real root or anyone else. `/` itself is always root's.
    """
    return is_overflow_user(status.st_uid) and (
        component.directory is None or is_read_only(component)
    )
