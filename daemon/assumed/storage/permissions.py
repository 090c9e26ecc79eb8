"""Who may read the file: mode, owner, access control list, extended attributes."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

from assumed.fsutil import PRIVATE_MODE

_OTHERS = 0o077
_ACL = "system.posix_acl_access"
# Source: linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id.
_ACL_HEADER = 4
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_GROUP, _ACL_OTHERS = 0x04, 0x20
_NOT_FOR_US = frozenset((errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL))


def is_private(status: os.stat_result, acl: bytes | None) -> bool:
    """Whether nobody may read the file but its owner and those whom an access list names."""
    if acl is None:
        return not stat.S_IMODE(status.st_mode) & _OTHERS
    return _private_acl(acl) == acl


def access_list(descriptor: int) -> bytes | None:
    """Return the access control list of a file, None where it has none beyond its mode."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        return os.getxattr(descriptor, _ACL)
    except OSError:
        return None


def copy_attributes(source: int, target: int) -> None:
    """Give a file the owner, the access list and the attributes of another, and make it private.

    A list that names users or groups keeps them: somebody set it. Its group and others lose their
    rights, as those of the mode do.

    Raises:
        OSError: the owner can't be kept, or an attribute does not fit.
    """
    status = os.fstat(source)
    own(target, status.st_uid, status.st_gid)
    os.fchmod(target, PRIVATE_MODE)
    if hasattr(os, "listxattr"):
        _copy_extended(source, target)


def own(descriptor: int, user: int, group: int) -> None:
    """Give a file an owner and, where that is allowed, a group: nobody's mode lets it read.

    Raises:
        OSError: the owner is another, and only root may give files away.
    """
    status = os.fstat(descriptor)
    if status.st_uid != user:
        os.fchown(descriptor, user, -1)
    if status.st_gid != group:
        try:
            os.fchown(descriptor, -1, group)
        except PermissionError:
            return


def owner_of_new_files(folder: Path) -> tuple[int, int]:
    """Return the user and group that a new file belongs to: root leaves a user's folder to them."""
    status = folder.stat()
    if os.geteuid() == 0:
        return status.st_uid, status.st_gid
    return os.geteuid(), os.getegid()


def _copy_extended(source: int, target: int) -> None:
    try:
        names = os.listxattr(source)
    except OSError:
        return
    for name in names:
        try:
            value = os.getxattr(source, name)
            os.setxattr(target, name, _private_acl(value) if name == _ACL else value)
        except OSError as error:
            # Labels of security modules and of root are not a user's to set.
            if error.errno not in _NOT_FOR_US:
                raise


def _private_acl(acl: bytes) -> bytes:
    entries = b"".join(
        _ACL_ENTRY.pack(tag, 0 if tag in {_ACL_GROUP, _ACL_OTHERS} else permissions, identity)
        for tag, permissions, identity in _ACL_ENTRY.iter_unpack(acl[_ACL_HEADER:])
    )
    return acl[:_ACL_HEADER] + entries
