"""The path of the API socket, listening on it, and connecting to it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from assumed.errors import DaemonUnreachableError
from assumed.fastpath import unix_http
from assumed.fsutil import ForeignDirectoryError, ensure_private_directory
from assumed.path_trust import UntrustedPathError
from assumed.paths import MAX_SOCKET_PATH_BYTES

_CONNECT_TIMEOUT_SECONDS = 5.0


def listen(path: Path) -> socket.socket:
    """Listen on a Unix socket with mode 0600, in a directory with mode 0700.

    The caller holds a lock that keeps other daemons from this path: an existing socket was left by
    a daemon that was killed, and is replaced.

    Raises:
        DaemonUnreachableError: the directory belongs to another user, or the path is too long.
        OSError: the socket cannot be created.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise DaemonUnreachableError(
            f"{path} is too long a path for a socket",
            hint=f"set XDG_RUNTIME_DIR to a path of under {MAX_SOCKET_PATH_BYTES - 21} characters",
        )
    private_directory(path.parent)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The umask, since chmod after bind would leave a moment in which others can connect.
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


def private_directory(path: Path) -> None:
    """Create a directory with mode 0700, or check that it is this user's and set that mode.

    Raises:
        DaemonUnreachableError: it is a link, or belongs to another user; or this is root, and
            another user could redirect it.
        OSError: it cannot be created.
    """
    try:
        ensure_private_directory(path)
    except ForeignDirectoryError as error:
        raise DaemonUnreachableError(
            f"{path} is not a directory of this user: another user could answer in it",
            hint="remove it, or set XDG_RUNTIME_DIR to a directory of your own",
        ) from error
    except UntrustedPathError as error:
        raise DaemonUnreachableError(
            f"root creates no directory {path}, because another user could redirect it",
            hint=error.strerror or "run it as that user",
        ) from error


def connect(path: Path) -> socket.socket | None:
    """Return a connection to the daemon at `path`; None if no daemon listens there.

    Raises:
        DaemonUnreachableError: a process of another user listens there.
        OSError: the connection fails for another reason.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A daemon that is stopped (SIGSTOP) accepts nothing, and its queue may be full.
    connection.settimeout(_CONNECT_TIMEOUT_SECONDS)
    try:
        connection.connect(os.fspath(path))
        owner = unix_http.peer_uid(connection, os.fspath(path))
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
            hint="run this as the user of that daemon",
        )
    return connection
