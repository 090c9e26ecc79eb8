"""Leases of the kernel: while we hold one, whoever opens the file in a way that conflicts waits.

Leases work on files that the process's user owns, on local file systems. The kernel ends one by
force after `/proc/sys/fs/lease-break-time` (45 s).

Source: fcntl(2), "Leases"; Linux only.
"""

from __future__ import annotations

import errno
import fcntl
import signal
from enum import Enum, unique

_SUPPORTED = hasattr(fcntl, "F_SETLEASE")


@unique
class LeaseKind(Enum):
    """What conflicts with the lease."""

    READ = fcntl.F_RDLCK
    """Others may read; opening for writing, or truncating, waits."""
    WRITE = fcntl.F_WRLCK
    """Any opening by others waits; it is only to be had while nobody else has the file open."""


@unique
class LeaseState(Enum):
    """What asking for a lease came to."""

    HELD = "held"
    BUSY = "busy"
    """Somebody has the file open just now."""
    UNSUPPORTED = "unsupported"
    """Not on this file system, not for this user, or not on this system."""


def take_lease(descriptor: int, kind: LeaseKind) -> LeaseState:
    """Ask for a lease; it ends when the descriptor is closed."""
    if not _SUPPORTED:
        return LeaseState.UNSUPPORTED
    try:
        # SIGIO, which the kernel sends when somebody waits, kills by default; SIGURG is ignored
        # by default, so that no handler is needed, which only the main thread could install.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, kind.value)
    except OSError as error:
        return LeaseState.BUSY if error.errno == errno.EAGAIN else LeaseState.UNSUPPORTED
    return LeaseState.HELD


def is_awaited(descriptor: int, kind: LeaseKind) -> bool:
    """Whether somebody waits for the lease to end, or the kernel has ended it."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != kind.value


def give_up_lease(descriptor: int) -> None:
    """End a lease and keep the file open: whoever waited for its end goes on."""
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
