"""The API socket of the daemon: its lock, its server, and its return after it was removed."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, suppress
from pathlib import Path

from assumed.errors import AssumedError, DaemonUnreachableError, LocalFaultError
from assumed.logs import event
from assumed.server.api import ApiServer, DaemonApi
from assumed.server.listeners import ListenerStore, inode_mark, take_unix
from assumed.server.unix_socket import listen, private_directory
from assumed.storage import DaemonLock

_LISTENER = "api"


class ApiListener:
    """Listens on the API socket, and again if another program removes it or its directory.

    `is_lost` may be called from any thread, everything else from the main thread.

    Args:
        daemon: answers the requests.
        path: the socket.
        config: the daemon's configuration, to report it to a second daemon.
        listeners: keeps the listening socket.
    """

    def __init__(
        self, daemon: DaemonApi, path: Path, *, config: str, listeners: ListenerStore
    ) -> None:
        self._daemon = daemon
        self._path = path
        self._config = config
        self._listeners = listeners
        self._stack = ExitStack()
        self._server: ApiServer | None = None
        self._inode: tuple[int, int] | None = None
        self._is_loss_logged = False
        self._is_started = False

    def open(self) -> None:
        """Create the socket, or take the one that was kept; clients wait in it until `start`.

        Raises:
            AlreadyRunningError: another daemon holds the socket.
            AssumedError: the socket or its lock cannot be created.
        """
        with ExitStack() as stack:
            try:
                private_directory(self._path.parent)
                stack.enter_context(
                    DaemonLock(self._path.with_suffix(".lock"), config=self._config)
                )
                listener = take_unix(self._listeners, _LISTENER, self._path)
                is_kept = listener is not None
                if listener is None:
                    listener = listen(self._path)
                    mark = inode_mark(self._path)
                    is_kept = self._listeners.keep(_LISTENER, listener, mark)
            except OSError as error:
                raise DaemonUnreachableError(
                    f"{self._path}: the socket cannot be created: {error.strerror}",
                    hint="set XDG_RUNTIME_DIR to a directory of your own",
                ) from error
            self._inode = _inode(self._path)
            if not is_kept:
                stack.callback(self._unlink)
            self._server = ApiServer(self._daemon, listener)
            stack.callback(self._server.stop)
            self._stack = stack.pop_all()

    def start(self) -> None:
        """Start to answer; without a thread for it, the next call tries again."""
        if self._server is not None and not self._is_started:
            with suppress(LocalFaultError):
                self._server.start()
                self._is_started = True

    @property
    def is_started(self) -> bool:
        """Whether it answers."""
        return self._is_started

    def drain(self) -> None:
        """Accept no more connections, and answer those that are open within 0.1 seconds."""
        if self._server is not None:
            self._server.drain()

    def is_lost(self) -> bool:
        """Return whether the path no longer leads to the socket of this daemon."""
        return self._inode is None or _inode(self._path) != self._inode

    def reopen(self) -> bool:
        """Create the socket again if it is lost; return whether that was done.

        What prevents it is logged once: the runtime directory is missing until the next login.
        """
        if not self.is_lost():
            return False
        self.close()
        try:
            self.open()
        except AssumedError as error:
            if not self._is_loss_logged:
                self._is_loss_logged = True
                event(
                    logging.WARNING,
                    "socket_lost",
                    socket=self._path,
                    error=error.message,
                    hint="refreshing continues; the socket returns with its directory",
                )
            return False
        self.start()
        self._is_loss_logged = False
        event(logging.INFO, "socket_restored", socket=self._path)
        return True

    def close(self) -> None:
        """Stop answering, and remove the socket unless it was kept."""
        self._stack.close()
        self._server = None
        self._is_started = False
        self._inode = None

    def _unlink(self) -> None:
        # Another daemon's socket may have taken its place.
        if not self.is_lost():
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
