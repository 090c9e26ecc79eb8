"""Listening sockets that stay open while the daemon restarts, because a service manager keeps them.

Clients that connect during a restart wait in the queue of the socket, and no other process can
take its port. A socket that comes back is used only if it is the one that the caller would open.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Protocol

from assumed.server.http import LOOPBACK, listen_on_loopback


class ListenerStore(Protocol):
    """Keeps listening sockets by name. Each name has at most one."""

    def take(self, name: str) -> tuple[socket.socket, str] | None:
        """Return the socket that an earlier process kept, and its mark; each of them once."""
        ...

    def keep(self, name: str, listener: socket.socket, mark: str = "") -> bool:
        """Keep a socket instead of an earlier one; return whether it outlives this process.

        Args:
            name: letters.
            listener: stays open after this process has closed it.
            mark: letters, digits and `-`, to recognize the socket by.
        """
        ...

    def drop(self, name: str) -> None:
        """Close the socket of this name that was kept or could be taken, if there is one."""
        ...


class NullListenerStore:
    """Keeps nothing: each socket closes with its process."""

    def take(self, name: str) -> tuple[socket.socket, str] | None:
        """Return None."""
        return None

    def keep(self, name: str, listener: socket.socket, mark: str = "") -> bool:
        """Return False."""
        return False

    def drop(self, name: str) -> None:
        """Do nothing."""


def take_loopback(
    store: ListenerStore, name: str, *, port: int | None = None
) -> socket.socket | None:
    """Return the kept socket that listens on 127.0.0.1; None if there is none.

    Args:
        store: has it; any other socket of this name is dropped.
        name: of the socket.
        port: that it must have; None for any.
    """
    found = store.take(name)
    if found is None:
        return None
    listener, _ = found
    if _is_own(listener, socket.AF_INET):
        host, found_port = listener.getsockname()
        if host == LOOPBACK and port in {None, found_port}:
            return listener
    listener.close()
    store.drop(name)
    return None


def listen_and_keep(store: ListenerStore, name: str, port: int = 0) -> socket.socket:
    """Listen on 127.0.0.1, and have the socket kept instead of an earlier one.

    Raises:
        OSError: another process has the port.
    """
    store.drop(name)
    listener = listen_on_loopback(port)
    store.keep(name, listener)
    return listener


def take_unix(store: ListenerStore, name: str, path: Path) -> socket.socket | None:
    """Return the kept socket to which `path` still leads; None if there is none.

    Args:
        store: has it, with `inode_mark` as its mark; any other socket of this name is dropped.
        name: of the socket.
        path: in a directory that only this user can write.
    """
    found = store.take(name)
    if found is None:
        return None
    listener, mark = found
    if (
        _is_own(listener, socket.AF_UNIX)
        and listener.getsockname() == os.fspath(path)
        and mark == inode_mark(path)
    ):
        return listener
    listener.close()
    store.drop(name)
    return None


def inode_mark(path: Path) -> str:
    """Return which socket file is at `path`; empty if there is none of this user.

    A listening socket does not say where its file is now: it may have been removed or replaced.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return ""
    is_own = stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid()
    return f"{status.st_dev}-{status.st_ino}" if is_own else ""


def _is_own(listener: socket.socket, family: socket.AddressFamily) -> bool:
    """Whether this user created the socket, and it listens."""
    return (
        listener.family == family
        and listener.type == socket.SOCK_STREAM
        and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        and os.fstat(listener.fileno()).st_uid == os.geteuid()
    )
