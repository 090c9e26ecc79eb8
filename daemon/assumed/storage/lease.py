"""File leases of the kernel: while one is held, a conflicting open of the file waits.

A lease needs a file that the process's user owns, on a local file system. The kernel breaks one by
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
    """Which opens conflict with the lease."""

    READ = fcntl.F_RDLCK
    """Other processes can read; an open for writing, or a truncate, waits."""
    WRITE = fcntl.F_WRLCK
    """Any open waits; only granted while no other process has the file open."""


@unique
class LeaseState(Enum):
    """The result of a request for a lease."""

    HELD = "held"
    BUSY = "busy"
    """Another process has the file open."""
    UNSUPPORTED = "unsupported"
    """Not on this file system, not for this user, or not on this operating system."""


def acquire_lease(descriptor: int, kind: LeaseKind) -> LeaseState:
    """Request a lease; it ends when the descriptor is closed."""
    if not _SUPPORTED:
        return LeaseState.UNSUPPORTED
    try:
        # The kernel announces a waiting process by SIGIO, which kills by default. SIGURG is ignored
        # by default, so it needs no handler, which only the main thread could install.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, kind.value)
    except OSError as error:
        return LeaseState.BUSY if error.errno == errno.EAGAIN else LeaseState.UNSUPPORTED
    return LeaseState.HELD


def is_lease_broken(descriptor: int, kind: LeaseKind) -> bool:
    """Whether another process waits for the lease to end, or the kernel has ended it."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != kind.value


def release_lease(descriptor: int) -> None:
    """End a lease and keep the file open; a process that waited for it continues."""
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
