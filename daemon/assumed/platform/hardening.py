"""What a process that holds secrets asks of the operating system."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress

_PR_SET_DUMPABLE = 4  # prctl(2)
_M_ARENA_MAX = -8  # mallopt(3)
_ARENAS = 2


def protect() -> None:
    """Leave no core file, let no other process of this user look in, make files private.

    A limit of 0 alone is not enough: where `core_pattern` is a pipe, as with systemd-coredump, the
    kernel does not look at it (core(5)). A process that is not dumpable makes no core at all, and
    can't be traced by the user's other processes (prctl(2), PR_SET_DUMPABLE).
    """
    os.umask(0o077)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hide_memory()


def hide_memory() -> None:
    """Make no core, and let no other process of this user look in, until another program begins."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def share_memory() -> None:
    """Have all threads share two heaps.

    glibc gives threads heaps of their own, up to eight for each core, and each keeps what it had
    at its most: a copy of the credentials file that each thread held once would stay for good.
    """
    with suppress(AttributeError):  # where the C library is another
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
