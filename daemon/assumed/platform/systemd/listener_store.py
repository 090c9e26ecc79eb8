"""systemd's file descriptor store: it keeps the listening sockets while the daemon restarts.

The unit needs `FileDescriptorStoreMax=`. systemd closes the sockets when the unit is stopped and
not started again.

Source: sd_notify(3), `FDSTORE=1`; sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from assumed.platform.systemd.notify import SystemdNotifier

_FIRST_DESCRIPTOR = 3
_PREFIX = "assumed-"
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class SystemdListenerStore:
    """Implements `server.listeners.ListenerStore` with the store of this unit.

    Args:
        notifier: sends the sockets to systemd.
        environ: says which sockets systemd has passed; these variables are removed, since they
            are not for child processes.
    """

    def __init__(self, notifier: SystemdNotifier, environ: MutableMapping[str, str]) -> None:
        self._notifier = notifier
        self._names: dict[str, str] = {}
        """The names in the store of systemd, by the name of the socket."""
        self._passed: dict[str, tuple[socket.socket, str]] = {}
        pid, count, names = (environ.pop(variable, "") for variable in _VARIABLES)
        if pid != str(os.getpid()) or not count.isdecimal():
            return
        for number, full_name in zip(range(int(count)), names.split(":"), strict=False):
            self._receive(_FIRST_DESCRIPTOR + number, full_name)

    def take(self, name: str) -> tuple[socket.socket, str] | None:
        """Return the socket that an earlier process kept, and its mark; each of them once."""
        return self._passed.pop(name, None)

    def keep(self, name: str, listener: socket.socket, mark: str = "") -> bool:
        """Send a socket to systemd; return whether systemd listens."""
        self.drop(name)
        full_name = f"{_PREFIX}{name}.{mark}"
        is_sent = self._notifier.store_descriptor(full_name, listener.fileno())
        if is_sent:
            self._names[name] = full_name
        return is_sent

    def drop(self, name: str) -> None:
        """Close the socket of this name that was kept or could be taken, if there is one."""
        if (passed := self._passed.pop(name, None)) is not None:
            passed[0].close()
        if (full_name := self._names.pop(name, None)) is not None:
            self._notifier.remove_descriptor(full_name)

    def _receive(self, descriptor: int, full_name: str) -> None:
        try:
            os.set_inheritable(descriptor, False)
            passed = socket.socket(fileno=descriptor)
        except OSError:
            # It is no socket, so it is not from here.
            return
        name, _, mark = full_name.removeprefix(_PREFIX).partition(".")
        if full_name.startswith(_PREFIX) and name not in self._passed:
            self._passed[name] = passed, mark
            self._names[name] = full_name
        else:
            passed.close()
