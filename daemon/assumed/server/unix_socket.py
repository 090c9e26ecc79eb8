"""The path of the API socket, listening on it, and connecting to it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from assumed.errors import DaemonUnreachableError
from assumed.fastpath import unix_http
from assumed.fastpath.unix_http import LONGEST_SOCKET_PATH, SOCKET

_CONNECT_TIMEOUT_SECONDS = 5.0


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_STATE_HOME/assumed` (`~/.local/state/assumed`)."""
    return Path(unix_http.state_folder(environ))


def daemon_socket(environ: Mapping[str, str]) -> Path:
    """Return where a daemon of this environment makes its socket.

    That is in `$RUNTIME_DIRECTORY` (systemd's own, `/run/assumed/USER` for the system unit), in
    `$XDG_RUNTIME_DIR/assumed`, or in the `run` folder of the state folder.
    """
    if folder := environ.get("RUNTIME_DIRECTORY"):
        return Path(folder.split(":")[0]) / SOCKET
    if folder := environ.get("XDG_RUNTIME_DIR"):
        return Path(folder) / "assumed" / SOCKET
    return state_folder(environ) / "run" / SOCKET


def client_sockets(environ: Mapping[str, str], user: str) -> tuple[Path, ...]:
    """Return where a client looks for the daemon of `user`, in order."""
    return tuple(Path(path) for path in unix_http.client_sockets(environ, user))


def listen(path: Path) -> socket.socket:
    """Listen on a Unix socket with mode 0600, in a directory with mode 0700.

    The caller holds a lock that keeps other daemons from this path: an existing socket was left by
    a daemon that was killed, and is replaced.

    Raises:
        DaemonUnreachableError: the directory belongs to another user, or the path is too long.
        OSError: the socket cannot be created.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise DaemonUnreachableError(
            f"{path} is too long a path for a socket",
            hint=f"set XDG_RUNTIME_DIR to a path of under {LONGEST_SOCKET_PATH - 21} characters",
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
        DaemonUnreachableError: it is a link, or belongs to another user.
        OSError: it cannot be created.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise DaemonUnreachableError(
            f"{path} is not a directory of this user: another user could answer in it",
            hint="remove it, or set XDG_RUNTIME_DIR to a directory of your own",
        )
    if found.st_mode & 0o077:
        path.chmod(0o700)


def connect(path: Path) -> socket.socket | None:
    """Return a connection to the daemon at `path`; None if no daemon listens there.

    Raises:
        DaemonUnreachableError: a process of another user listens there.
        OSError: the connection fails for another reason.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A daemon that is stopped (SIGSTOP) accepts nothing, and its queue may be full.
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
            hint="run this as the user of that daemon",
        )
    return connection
