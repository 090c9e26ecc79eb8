"""Where the daemon's socket is, and who may be trusted there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from assumed.errors import DaemonUnreachableError
from assumed.fastpath import unix_http
from assumed.fsutil import ForeignDirectoryError, ensure_private_directory
from assumed.paths import MAX_SOCKET_PATH_BYTES

_CONNECT_TIMEOUT_SECONDS = 5.0


def listen(path: Path) -> socket.socket:
    """Listen at `path`: mode 0600, in a folder of mode 0700 that is ours.

    The caller has made sure, by a lock, that no other daemon listens there: what is at `path` is
    what a daemon left that was killed.

    Raises:
        DaemonUnreachableError: the folder is somebody else's, or the path is too long.
        OSError: it can't be made.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise DaemonUnreachableError(
            f"{path} is too long a path for a socket",
            hint=f"set XDG_RUNTIME_DIR to a path of under {MAX_SOCKET_PATH_BYTES - 21} characters",
        )
    private_folder(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode of a socket is its maker's umask; to set it later would leave a moment between.
    old = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(old)
    return listener


def private_folder(folder: Path) -> None:
    """Make `folder`, mode 0700, or see that it is ours and make it so.

    Raises:
        DaemonUnreachableError: it is a link, or another user's.
        OSError: it can't be made.
    """
    try:
        ensure_private_directory(folder)
    except ForeignDirectoryError as error:
        raise DaemonUnreachableError(
            f"{folder} is not a folder of this user: somebody else could answer in it",
            hint="remove it, or set XDG_RUNTIME_DIR to a folder of your own",
        ) from error


def connect(path: Path) -> socket.socket | None:
    """Return a connection to the daemon at `path`; None where nothing listens.

    Raises:
        DaemonUnreachableError: another user listens there.
        OSError: it can't be reached for another reason.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A daemon that is stopped takes no connections, and its queue may be full.
    connection.settimeout(_CONNECT_TIMEOUT_SECONDS)
    try:
        connection.connect(os.fspath(path))
        owner = unix_http.owner(connection, os.fspath(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    if owner != os.geteuid():
        connection.close()
        raise DaemonUnreachableError(
            f"{path} belongs to user {owner}, not to you: it is not trusted",
            hint="run this as the user whose daemon it is",
        )
    return connection
