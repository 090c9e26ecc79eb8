"""Rate limits and outages of STS endpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from assumed.engine.rate_limiter import RateLimiter


@dataclass(frozen=True, slots=True)
class StsEndpoint:
    """The quota that a call uses: STS counts the calls of each account at each of its endpoints.

    Args:
        url: where the call is sent, as botocore resolves it.
        account_id: the account that the source credentials belong to. If it is not known, a name
            of the source stands for it.
    """

    url: str
    account_id: str


@dataclass(slots=True)
class _EndpointState:
    limiter: RateLimiter = field(default_factory=RateLimiter)
    succeeded_at: float = -math.inf


class StsEndpoints:
    """The rate limit and the last success of each endpoint; guarded by the scheduler's lock."""

    def __init__(self) -> None:
        self._states: dict[StsEndpoint, _EndpointState] = {}
        self._reservations: dict[str, tuple[StsEndpoint, int]] = {}
        """Of each profile that waits: where, and by which generation of the limit."""

    def reserve(self, endpoint: StsEndpoint, profile: str, now: float) -> float:
        """Return when a profile may call; `now` if at once. Ask again at that moment.

        Args:
            endpoint: where it calls.
            profile: its name; it uses its reservation up when it asks again.
            now: seconds of `Clock.boottime()`.
        """
        limiter = self._state(endpoint).limiter
        if self._reservations.pop(profile, None) == (endpoint, limiter.generation):
            return now
        at = limiter.reserve(now)
        if at > now:
            self._reservations[profile] = (endpoint, limiter.generation)
        return at

    def succeeded(self, endpoint: StsEndpoint, now: float) -> float:
        """Record an answer; return when the one before it came, minus infinity if there is none."""
        state = self._state(endpoint)
        state.limiter.succeeded(now)
        before, state.succeeded_at = state.succeeded_at, now
        return before

    def throttled(self, endpoint: StsEndpoint, now: float) -> None:
        """Record a throttling answer: the calls of all profiles to this endpoint slow down."""
        self._state(endpoint).limiter.throttled(now)

    def _state(self, endpoint: StsEndpoint) -> _EndpointState:
        return self._states.setdefault(endpoint, _EndpointState())
