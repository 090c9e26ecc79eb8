"""Zombies of orphaned processes, which the first process of a container has to wait for.

A hook or a `credential_process` may leave processes behind. When their parent ends, process 1
becomes it. An init does that job elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from pathlib import Path

_INIT = 1
_PROC = Path("/proc")
# A thread that waits for its own child does so at once, unless it reads output first that another
# process keeps open. Those children are known, but for the ones that botocore has started, which
# are in this process's session.
_MIN_SECONDS = 5.0
_MIN_SECONDS_IN_OWN_SESSION = 180.0


class ZombieReaper:
    """Waits for zombies that nothing else in this process waits for; only as process 1.

    Args:
        own_children: returns the processes that other code waits for.
        monotonic: returns seconds that never jump.
    """

    def __init__(
        self, own_children: Callable[[], Set[int]], monotonic: Callable[[], float]
    ) -> None:
        self._own_children = own_children
        self._monotonic = monotonic
        self._seen_at: dict[int, float] = {}

    def reap(self) -> int:
        """Wait for the zombies that are old enough; return how many there were. Never blocks."""
        if os.getpid() != _INIT:
            return 0
        now, own_session = self._monotonic(), os.getsid(0)
        zombies = dict(_zombies())
        self._seen_at = {pid: self._seen_at.get(pid, now) for pid in zombies}
        reaped = 0
        for pid in zombies.keys() - self._own_children():
            is_in_own_session = zombies[pid] == own_session
            min_seconds = _MIN_SECONDS_IN_OWN_SESSION if is_in_own_session else _MIN_SECONDS
            if now - self._seen_at[pid] >= min_seconds:
                with suppress(ChildProcessError):
                    reaped += os.waitpid(pid, os.WNOHANG)[0] == pid
        return reaped


def _zombies() -> Iterator[tuple[int, int]]:
    """Yield the process ID and the session of each child that has ended; see proc(5)."""
    for directory in _PROC.iterdir():
        if not directory.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            # The name of the program, in parentheses, may contain anything.
            fields = (directory / "stat").read_bytes().rpartition(b")")[2].split()
            state, parent, session = fields[0], int(fields[1]), int(fields[3])
            if state == b"Z" and parent == _INIT:
                yield int(directory.name), session
