"""How many threads a pool needs: pure functions of what its jobs have taken."""

from __future__ import annotations

import math
from collections import deque

_RECENT_JOBS = 16
_MIN_PROCESSOR_SECONDS = 1e-4


class ThreadCount:
    """The number of threads that keep one processor busy while the others wait for an answer.

    Only one thread of Python runs at a time, so more threads than that only wait for each other,
    and each wait costs processor time. The number is the ratio of the elapsed time to the processor
    time of a job. Threads that wait for the interpreter look as if they waited for an answer, so
    the smallest ratio of the recent jobs counts. Short jobs do not count: they made no call.

    Args:
        most: the largest number, which counts until a job has ended.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.value = most
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT_JOBS)

    def add(self, elapsed: float, processor: float) -> None:
        """Take a job that has ended.

        Args:
            elapsed: how many seconds it took.
            processor: how many seconds of processor time it used.
        """
        self._recent.append((elapsed, max(processor, _MIN_PROCESSOR_SECONDS)))
        long = max(processor for _, processor in self._recent) / 2
        ratio = min(elapsed / used for elapsed, used in self._recent if used >= long)
        self.value = max(1, min(math.ceil(ratio) + 1, self.most))

    def raise_to_most(self) -> None:
        """Allow the largest number, because no job ends any more; what was measured is void."""
        self._recent.clear()
        self.value = self.most
