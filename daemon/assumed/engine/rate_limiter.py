"""How fast calls go out to one endpoint: as fast as they come, until it asks for fewer."""

from __future__ import annotations

import math
from collections import deque

# Source: "IAM and STS quotas" of the IAM user guide: 600 requests a second, account and region.
_QUOTA = 600.0
_CLIMBS_BY = 10.0
"""Calls a second, each second: a minute from nothing back to the quota."""
_SLOWEST = 1.0
_WINDOW_SECONDS = 1.0


class RateLimiter:
    """The pace of one endpoint. Every time is seconds of one clock that never goes back.

    The first answer that asks for fewer calls halves the pace that the endpoint has just borne;
    the others of the same second, which were on their way already, don't halve it again. From then
    on it climbs slowly, until the quota of STS is reached and nothing is held back any more. Slots
    that are given out ahead of their time follow the climb.
    """

    def __init__(self) -> None:
        self.generation = 0
        """Changes when slots that were given out are void: they were of a faster pace."""
        self._rate = math.inf
        self._since = 0.0
        self._next_at = -math.inf
        self._throttled_at = -math.inf
        self._borne: deque[float] = deque()

    def slot(self, now: float) -> float:
        """Give out the next moment at which a call may begin; `now` where nothing holds it back."""
        at = max(now, self._next_at)
        self._next_at = at + 1 / self._rate_at(at)
        return at

    def succeeded(self, now: float) -> None:
        """Know that the endpoint took a call."""
        self._borne.append(now)
        self._forget(now)

    def throttled(self, now: float) -> None:
        """Know that the endpoint asked for fewer calls."""
        self._forget(now)
        if now - self._throttled_at < _WINDOW_SECONDS:
            return
        self._throttled_at = now
        borne = len(self._borne) / _WINDOW_SECONDS
        self._rate = max(_SLOWEST, min(self._rate_at(now), borne) / 2)
        self._since = now
        self._next_at = now + 1 / self._rate
        self.generation += 1

    def _rate_at(self, moment: float) -> float:
        rate = self._rate + _CLIMBS_BY * (moment - self._since)
        return rate if rate < _QUOTA else math.inf

    def _forget(self, now: float) -> None:
        while self._borne and self._borne[0] <= now - _WINDOW_SECONDS:
            self._borne.popleft()
