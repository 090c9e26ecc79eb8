"""Process hardening: no core file, no ptrace, private files, fewer copies of secrets."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress

_PR_SET_DUMPABLE = 4  # prctl(2)
_M_ARENA_MAX = -8  # mallopt(3)
_ARENAS = 2


def harden_process() -> None:
    """Disable core files, deny ptrace by other processes of this user, create private files.

    RLIMIT_CORE=0 is not enough: the kernel ignores it if `core_pattern` is a pipe, as with
    systemd-coredump (core(5)). A process that is not dumpable creates no core at all.
    """
    os.umask(0o077)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    disable_core_dumps()


def disable_core_dumps() -> None:
    """Make this process not dumpable, until it executes another program.

    Other processes of this user cannot trace it then (prctl(2), PR_SET_DUMPABLE).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def limit_malloc_arenas() -> None:
    """Make all threads share two heaps.

    By default glibc creates up to eight heaps per core for threads, and each stays at its largest
    size: a copy of the credentials file that a thread held once would stay in memory.
    """
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
