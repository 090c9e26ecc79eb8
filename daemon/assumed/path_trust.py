"""Whether only trusted users decide where a path leads, and what is there.

A path is walked component by component from the root directory, each one looked up in the open
directory before it, and symbolic links are followed here instead of by the kernel. If only trusted
users can change every directory and every link on the way, no other user can redirect a later
call with the same path.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

_MAX_LINKS = 40
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ALL_USERS = "0 0 4294967295"
_ROOT_GROUP = 0
_ACL = "system.posix_acl_access"
# Source: linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id.
_ACL_HEADER = 4
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER, _ACL_OWNING_GROUP, _ACL_GROUP = 0x02, 0x04, 0x08
_ACL_WRITE = 0x02
_FROM_ACL = " (ACL)"


class UntrustedPathError(PermissionError):
    """Another user could redirect what root would do at this path."""


@dataclass(frozen=True, slots=True)
class Component:
    """One step of a walk: a directory, a symbolic link, the final file, or a missing entry.

    `directory` is the open directory that contains it, valid until the next step; None for `/`.
    """

    path: Path
    status: os.stat_result | None
    directory: int | None
    directory_status: os.stat_result | None
    is_last: bool

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link, which the next steps follow."""
        return self.status is not None and stat.S_ISLNK(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)


@dataclass(frozen=True, slots=True)
class Untrusted:
    """The first component that is not trusted, and why.

    Args:
        path: the component, without symbolic links before it.
        reason: completes its name: `belongs to jane (uid 1002)`.
        owner: the other user that it belongs to; None if the reason is another one.
    """

    path: Path
    reason: str
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class TrustedUser:
    """A user, who trusts root and the user's private group.

    Args:
        uid: the user.
        gid: the user's primary group.
    """

    uid: int
    gid: int

    @classmethod
    def current(cls) -> TrustedUser:
        """Return the user of this process."""
        uid = os.geteuid()
        try:
            return cls(uid, pwd.getpwuid(uid).pw_gid)
        except KeyError:
            return cls(uid, os.getegid())

    def owns(self, status: os.stat_result) -> bool:
        """Whether a file belongs to this user or to root."""
        return status.st_uid in {self.uid, 0}

    def other_writers(
        self, path: Path, status: os.stat_result, *, with_private_group: bool = True
    ) -> str | None:
        """Return who else may write a file or directory, as in "writable by …"; or None.

        Args:
            path: without symbolic links.
            status: its status.
            with_private_group: accept root's group, and the user's own.
        """
        trusts_group = self.trusts_group if with_private_group else _trusts_no_group
        if status.st_mode & stat.S_IWOTH:
            return "everyone"
        entries = _acl_entries(path)
        if not status.st_mode & stat.S_IWGRP:
            return None  # with an ACL, these bits are its mask
        if not entries:
            return None if trusts_group(status.st_gid) else "its group"
        return next(
            (
                _name_of_entry(tag, identity)
                for tag, granted, identity in entries
                if granted & _ACL_WRITE
                and tag in {_ACL_USER, _ACL_GROUP, _ACL_OWNING_GROUP}
                and not (
                    (tag == _ACL_USER and identity in {self.uid, 0})
                    or (tag == _ACL_GROUP and trusts_group(identity))
                    or (tag == _ACL_OWNING_GROUP and trusts_group(status.st_gid))
                )
            ),
            None,
        )

    def trusts_group(self, gid: int) -> bool:
        """Whether a group is root's, or the user's primary group without other members."""
        if gid == _ROOT_GROUP:
            return True
        if gid != self.gid:
            return False
        members: set[int] = set()
        with suppress(KeyError):
            for name in grp.getgrgid(gid).gr_mem:
                members.add(_uid(name))
        members |= {entry.pw_uid for entry in pwd.getpwall() if entry.pw_gid == gid}
        return members <= {self.uid, 0}


def walk(path: Path) -> Iterator[Component]:
    """Yield each component of a path, those of link targets included; the last may be missing.

    Raises:
        OSError: a directory cannot be entered, or there are too many links.
    """
    pending = list(reversed(path.absolute().parts[1:]))
    links = 0
    current, descriptor = Path("/"), os.open("/", _DIRECTORY)
    try:
        status = os.fstat(descriptor)
        yield Component(current, status, None, None, is_last=not pending)
        while pending:
            name = pending.pop()
            here = current.parent if name == ".." else current / name
            if name != "..":
                found = _lstat(name, descriptor)
                yield Component(here, found, descriptor, status, is_last=not pending)
                if found is None:
                    return
                if stat.S_ISLNK(found.st_mode):
                    links += 1
                    if links > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                    target = PurePath(os.readlink(name, dir_fd=descriptor))
                    if target.is_absolute():
                        left, descriptor = descriptor, os.open("/", _DIRECTORY)
                        os.close(left)
                        current, status = Path("/"), os.fstat(descriptor)
                    pending += [part for part in reversed(target.parts) if part != "/"]
                    continue
                if not pending or not stat.S_ISDIR(found.st_mode):
                    return
            left, descriptor = descriptor, os.open(name, _DIRECTORY, dir_fd=descriptor)
            os.close(left)
            current, status = here, os.fstat(descriptor)
    finally:
        os.close(descriptor)


def untrusted_component(path: Path, *, final_may_be_missing: bool = False) -> Untrusted | None:
    """Return what lets another user redirect writes to `path`; None if nothing does.

    Each directory and link must belong to this user or to root. No other user may write the
    directories, except for sticky ones. For root, groups other than root's and access lists count
    too, and nothing may be missing in a sticky directory, where another user could create it. An
    ordinary user may share a directory with a group, and use a volume of root's that is writable
    by everyone, as an `emptyDir` of Kubernetes is. The mode of the last component does not
    matter: the caller makes it private.

    Args:
        path: need not exist.
        final_may_be_missing: the caller creates it with `O_EXCL`, in the directory walked here.

    Raises:
        OSError: a directory cannot be entered, or there are too many links.
    """
    user = TrustedUser.current()
    is_strict = user.uid == 0 and not in_user_namespace()
    for component in walk(path):
        if (found := _untrusted(component, user, is_strict, final_may_be_missing)) is not None:
            return found
    return None


def require_trusted_by_root(path: Path) -> None:
    """As root, reject a path that another user could redirect; other users are not restricted.

    Raises:
        UntrustedPathError: with the component and the command to run instead.
        OSError: a directory cannot be entered.
    """
    if os.geteuid() == 0 and (found := untrusted_component(path)) is not None:
        raise UntrustedPathError(errno.EPERM, describe(found), str(path))


def open_trusted(path: Path, flags: int, mode: int) -> int:
    """Open a file in the directory that was checked; no other user can redirect it.

    Links of trusted users are followed. With `O_CREAT`, a missing file is created.

    Raises:
        UntrustedPathError: with the component that is not trusted.
        OSError: a system call fails.
    """
    user = TrustedUser.current()
    is_strict = user.uid == 0 and not in_user_namespace()
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    for component in walk(path):
        found = _untrusted(component, user, is_strict, final_may_be_missing=component.is_last)
        if found is not None:
            raise UntrustedPathError(errno.EPERM, describe(found), str(path))
        if not component.is_last or component.is_link:
            continue
        if component.directory is None or component.path.name == "":
            break
        if component.status is None:
            flags |= os.O_EXCL if flags & os.O_CREAT else 0
        return os.open(component.path.name, flags, mode, dir_fd=component.directory)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def describe(found: Untrusted) -> str:
    """Return one sentence: the component, the reason, and what to do instead."""
    return f"{found.path} {found.reason}: {advice(found)}"


def advice(found: Untrusted) -> str:
    """Return what to do so that a path is trusted."""
    if found.owner is None:
        return f"take away that permission (`chmod go-w {found.path}`), or use another directory"
    if os.geteuid() != 0:
        return "use a directory that belongs to you"
    try:
        name = pwd.getpwuid(found.owner).pw_name
    except KeyError:
        return f"run it as that user: `sudo -u '#{found.owner}' assumed …`"
    return (
        f"run it as that user: `sudo -u {name} assumed …`, or as a service: "
        f"`assumed service install --system {name}`"
    )


def in_user_namespace() -> bool:
    """Whether this process sees only some users, as in a rootless container.

    The files of all others appear to belong to one user, the overflow user (user_namespaces(7)).
    """
    return _read_words("/proc/self/uid_map") not in {_ALL_USERS, ""}


def is_overflow_user(uid: int) -> bool:
    """Whether this user stands for all users outside the namespace of this process."""
    return in_user_namespace() and uid == int(_read_words("/proc/sys/kernel/overflowuid") or -1)


def is_read_only(component: Component) -> bool:
    """Whether a component is on a read-only mount, where it does not change."""
    place = component.path.parent if component.is_link else component.path
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def is_shared(status: os.stat_result) -> bool:
    """Whether everyone may create files in a directory, but not replace those of others."""
    return bool(status.st_mode & stat.S_ISVTX and status.st_mode & (stat.S_IWOTH | stat.S_IWGRP))


def user_name(uid: int) -> str:
    """Return the name and the number of a user, or the number alone."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _untrusted(
    component: Component, user: TrustedUser, is_strict: bool, final_may_be_missing: bool
) -> Untrusted | None:
    status, path = component.status, component.path
    if status is None:
        container = component.directory_status
        if is_strict and container is not None and is_shared(container):
            if component.is_last and final_may_be_missing:
                return None
            return Untrusted(path, "does not exist, and another user could create it")
        return None
    if not user.owns(status) and not is_overflow_user(status.st_uid):
        kind = "is a symbolic link that belongs" if component.is_link else "belongs"
        return Untrusted(path, f"{kind} to {user_name(status.st_uid)}", status.st_uid)
    if not component.is_directory or component.is_last or is_shared(status):
        return None
    if is_strict:
        writer = user.other_writers(path, status)
    else:
        is_world_writable = status.st_mode & stat.S_IWOTH and not _is_volume(component)
        writer = "everyone" if is_world_writable else None
    return Untrusted(path, f"is writable by {writer}") if writer else None


def _is_volume(component: Component) -> bool:
    status, container = component.status, component.directory_status
    return status is not None and container is not None and status.st_dev != container.st_dev


def _lstat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _acl_entries(path: Path) -> list[tuple[int, int, int]]:
    if not hasattr(os, "getxattr"):
        return []
    try:
        acl = os.getxattr(path, _ACL, follow_symlinks=False)
        return list(_ACL_ENTRY.iter_unpack(acl[_ACL_HEADER:]))
    except (OSError, struct.error):
        return []


def is_acl_entry(writer: str) -> bool:
    """Whether a writer comes from an access list and not from the mode."""
    return writer.endswith(_FROM_ACL)


def _trusts_no_group(_: int) -> bool:
    return False


def _name_of_entry(tag: int, identity: int) -> str:
    if tag == _ACL_OWNING_GROUP:
        return "its group"
    return f"{user_name(identity) if tag == _ACL_USER else f'group {identity}'}{_FROM_ACL}"


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1


def _read_words(path: str) -> str:
    try:
        return " ".join(Path(path).read_text().split())
    except OSError:
        return ""
