"""Who can read the credentials file: mode, owner, access control list, extended attributes."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

from assumed.errors import CredentialsFileUnwritableError
from assumed.fsutil import PRIVATE_MODE, open_regular
from assumed.path_trust import advice, untrusted_component
from assumed.storage.errors import unwritable

_OTHERS = 0o077
_ACL = "system.posix_acl_access"
# Source: linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id.
_ACL_HEADER = 4
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_GROUP, _ACL_OTHERS = 0x04, 0x20
_NOT_PERMITTED = frozenset((errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL))


def is_private(status: os.stat_result, acl: bytes | None) -> bool:
    """Whether only the owner can read the file, and the users and groups that its ACL names."""
    if acl is None:
        return not stat.S_IMODE(status.st_mode) & _OTHERS
    return _private_acl(acl) == acl


def make_private(path: Path) -> int | None:
    """Set mode 0600 on a file that group or others can access, unless it has an ACL.

    Returns:
        The old mode; None if the mode is unchanged.

    Raises:
        CredentialsFileUnwritableError: the mode cannot be changed for another reason than missing
            permission or a read-only file system: the write fails for the same reason.
    """
    try:
        descriptor = open_regular(path)
    except OSError:
        # The write fails with the same error, and reports it.
        return None
    try:
        status = os.fstat(descriptor)
        acl = access_list(descriptor)
        if acl is not None or is_private(status, acl):
            return None
        os.fchmod(descriptor, PRIVATE_MODE)
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EROFS}:
            return None
        raise unwritable(path, "change the mode", error) from error
    finally:
        os.close(descriptor)
    return stat.S_IMODE(status.st_mode)


def reject_untrusted_path(path: Path) -> None:
    """Reject a credentials file that another user could replace by another one.

    Args:
        path: as the user names it.

    Raises:
        CredentialsFileUnwritableError: with the component that is not trusted.
        OSError: a directory cannot be entered.
    """
    try:
        found = untrusted_component(path)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise CredentialsFileUnwritableError(
            f"{path} is a symbolic link that leads nowhere", hint="correct or remove the link"
        ) from error
    if found is not None:
        raise CredentialsFileUnwritableError(
            f"{path} is not written, because another user could redirect it: {found.path} "
            f"{found.reason}",
            hint=advice(found),
        )


def access_list(descriptor: int) -> bytes | None:
    """Return the access control list of a file, or None if it has none beyond its mode."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        return os.getxattr(descriptor, _ACL)
    except OSError:
        return None


def copy_attributes(source: int, target: int, *, is_private: bool = True) -> None:
    """Copy the owner, the ACL and the extended attributes of a file, and make the copy private.

    Users and groups that the ACL names keep their access: someone granted it. The owning group and
    others lose theirs, as with the mode. If not `is_private`, all keep the access that they have.

    Raises:
        OSError: the owner cannot be kept, or an attribute cannot be stored.
    """
    status = os.fstat(source)
    chown(target, status.st_uid, status.st_gid)
    os.fchmod(target, PRIVATE_MODE if is_private else stat.S_IMODE(status.st_mode))
    if hasattr(os, "listxattr"):
        _copy_extended(source, target, is_private=is_private)


def chown(descriptor: int, user: int, group: int) -> None:
    """Set the owner of a file, and its group if permitted: the mode gives the group no access.

    Raises:
        OSError: the owner differs, and only root can change it.
    """
    status = os.fstat(descriptor)
    if status.st_uid != user:
        os.fchown(descriptor, user, -1)
    if status.st_gid != group:
        try:
            os.fchown(descriptor, -1, group)
        except PermissionError:
            return


def owner_of_new_files(directory: Path) -> tuple[int, int]:
    """Return user and group of a new file: for root the owner of the directory, else our own."""
    status = directory.stat()
    if os.geteuid() == 0:
        return status.st_uid, status.st_gid
    return os.geteuid(), os.getegid()


def _copy_extended(source: int, target: int, *, is_private: bool) -> None:
    try:
        names = os.listxattr(source)
    except OSError:
        return
    for name in names:
        try:
            value = os.getxattr(source, name)
            if name == _ACL and is_private:
                value = _private_acl(value)
            os.setxattr(target, name, value)
        except OSError as error:
            # A user cannot set the labels of security modules and of root.
            if error.errno not in _NOT_PERMITTED:
                raise


def _private_acl(acl: bytes) -> bytes:
    entries = b"".join(
        _ACL_ENTRY.pack(tag, 0 if tag in {_ACL_GROUP, _ACL_OTHERS} else permissions, identity)
        for tag, permissions, identity in _ACL_ENTRY.iter_unpack(acl[_ACL_HEADER:])
    )
    return acl[:_ACL_HEADER] + entries
