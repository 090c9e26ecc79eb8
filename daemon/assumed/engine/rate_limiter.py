"""The rate of calls to one STS endpoint: unlimited until it throttles."""

from __future__ import annotations

import math
from collections import deque

# Source: "IAM and STS quotas" of the IAM user guide: 600 requests a second, account and region.
_QUOTA = 600.0
_RISE = 10.0
"""Calls a second, each second: a minute from nothing back to the quota."""
_MIN_RATE = 1.0
_WINDOW_SECONDS = 1.0


class RateLimiter:
    """The rate limit of one endpoint. Every time is seconds of one clock that never goes back.

    The first throttling answer halves the rate that the endpoint has carried in the last second;
    further ones within the same second, whose calls were under way already, do not halve it again.
    From then on the rate rises slowly, until the quota of STS is reached and the limit ends.
    Reservations ahead of time take the rise into account.
    """

    def __init__(self) -> None:
        self.generation = 0
        """Changes when earlier reservations are void, because they assumed a higher rate."""
        self._rate = math.inf
        self._since = 0.0
        self._next_at = -math.inf
        self._throttled_at = -math.inf
        self._succeeded_at: deque[float] = deque()

    def reserve(self, now: float) -> float:
        """Reserve the next moment at which a call may begin; `now` if there is no limit."""
        at = max(now, self._next_at)
        self._next_at = at + 1 / self._rate_at(at)
        return at

    def succeeded(self, now: float) -> None:
        """Record a call that the endpoint has answered."""
        self._succeeded_at.append(now)
        self._drop_old(now)

    def throttled(self, now: float) -> None:
        """Record a throttling answer."""
        self._drop_old(now)
        if now - self._throttled_at < _WINDOW_SECONDS:
            return
        self._throttled_at = now
        carried = len(self._succeeded_at) / _WINDOW_SECONDS
        self._rate = max(_MIN_RATE, min(self._rate_at(now), carried) / 2)
        self._since = now
        self._next_at = now + 1 / self._rate
        self.generation += 1

    def _rate_at(self, moment: float) -> float:
        rate = self._rate + _RISE * (moment - self._since)
        return rate if rate < _QUOTA else math.inf

    def _drop_old(self, now: float) -> None:
        while self._succeeded_at and self._succeeded_at[0] <= now - _WINDOW_SECONDS:
            self._succeeded_at.popleft()
