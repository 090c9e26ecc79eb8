"""Rate limits and outages of STS endpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from assumed.engine.rate_limiter import RateLimiter

# Longer than any session lasts, so that each configured endpoint is used more often.
_MAX_UNUSED_SECONDS = 86_400.0


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
    used_at: float = -math.inf


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
        limiter = self._state(endpoint, now).limiter
        if self._reservations.pop(profile, None) == (endpoint, limiter.generation):
            return now
        at = limiter.reserve(now)
        if at > now:
            self._reservations[profile] = (endpoint, limiter.generation)
        return at

    def succeeded(self, endpoint: StsEndpoint, now: float) -> float:
        """Record an answer; return when the one before it came, minus infinity if there is none."""
        state = self._state(endpoint, now)
        state.limiter.succeeded(now)
        before, state.succeeded_at = state.succeeded_at, now
        return before

    def throttled(self, endpoint: StsEndpoint, now: float) -> None:
        """Record a throttling answer: the calls of all profiles to this endpoint slow down."""
        self._state(endpoint, now).limiter.throttled(now)

    def _state(self, endpoint: StsEndpoint, now: float) -> _EndpointState:
        if endpoint not in self._states:
            self._forget_unused(now)
            self._states[endpoint] = _EndpointState()
        state = self._states[endpoint]
        state.used_at = now
        return state

    def _forget_unused(self, now: float) -> None:
        """Forget the endpoints of profiles that were removed long ago."""
        self._states = {
            endpoint: state
            for endpoint, state in self._states.items()
            if state.used_at > now - _MAX_UNUSED_SECONDS
        }
        self._reservations = {
            profile: reserved
            for profile, reserved in self._reservations.items()
            if reserved[0] in self._states
        }
