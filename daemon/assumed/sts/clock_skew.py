"""Clock skew: signs requests with the time of the STS endpoint that they are sent to.

STS rejects a signature whose time is more than 15 minutes from its own (AWS General Reference,
"Elements of an AWS API request signature"). botocore makes the signature itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, SigV4Auth

from assumed.clock import Clock
from assumed.logs.events import event

MIN_SKEW = timedelta(minutes=1)
_SIGNER = "assumed-v4"
_CONTEXT = "assumed_skew"
_ZERO = timedelta(0)


class _SkewedAuth(SigV4Auth):
    """Signature version 4, shifted by the skew in the request's context."""

    def _modify_request_before_signing(self, request: Any) -> None:
        # `add_auth` has just set it from the local clock; everything that is signed uses it.
        local = datetime.strptime(request.context["timestamp"], SIGV4_TIMESTAMP)  # noqa: DTZ007
        corrected = local + request.context.get(_CONTEXT, _ZERO)
        request.context["timestamp"] = corrected.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs


AUTH_TYPE_MAPS[_SIGNER] = _SkewedAuth


@dataclass(frozen=True, slots=True)
class _EndpointTime:
    """The time in the last response of an endpoint.

    Args:
        answered_at: the endpoint's time.
        boottime: when the response arrived; no step of the wall clock changes this clock.
        is_skewed: whether the log says that it differs from the local clock.
    """

    answered_at: datetime
    boottime: float
    is_skewed: bool


class ClockSkewTracker:
    """The difference between each endpoint's clock and this machine's; safe in many threads.

    No endpoint's time is used for another one: each may be a server of its own.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._times: dict[str, _EndpointTime] = {}

    def ahead(self, endpoint_url: str) -> timedelta:
        """Return how far an endpoint's clock is ahead of this machine's.

        It is zero if the difference is less than a minute, or if the endpoint has not answered.
        """
        known = self._times.get(endpoint_url)
        if known is None:
            return _ZERO
        since = timedelta(seconds=self._clock.boottime() - known.boottime)
        return _significant(known.answered_at + since - self._clock.now())

    def ahead_by_endpoint(self) -> Mapping[str, timedelta]:
        """Return `ahead` of each endpoint that has answered, by its URL."""
        with self._lock:
            urls = list(self._times)
        return {url: self.ahead(url) for url in urls}

    def update(self, endpoint_url: str, answered_at: datetime) -> bool:
        """Record the time in a response that has just arrived, and log a change.

        Returns:
            Whether the correction of signatures has changed.
        """
        before = self.ahead(endpoint_url)
        ahead = _significant(answered_at - self._clock.now())
        with self._lock:
            known = self._times.get(endpoint_url)
            self._times[endpoint_url] = _EndpointTime(
                answered_at, self._clock.boottime(), is_skewed=bool(ahead)
            )
            is_local_clock_right = any(not known.is_skewed for known in self._times.values())
        if bool(ahead) is not (known is not None and known.is_skewed):
            _log_change(endpoint_url, ahead, is_local_clock_right=is_local_clock_right)
        return abs(ahead - before) >= MIN_SKEW

    def install_signer(self, client: Any) -> None:
        """Make this botocore client sign with the time of its endpoint."""
        url = client.meta.endpoint_url
        client.meta.events.register("before-sign.sts", partial(self._add_skew, url))
        client.meta.events.register("choose-signer.sts", partial(self._choose_signer, url))

    def _add_skew(self, endpoint_url: str, request: Any, **_: Any) -> None:
        request.context[_CONTEXT] = self.ahead(endpoint_url)

    def _choose_signer(self, endpoint_url: str, **_: Any) -> str | None:
        return _SIGNER if self.ahead(endpoint_url) else None


def _log_change(endpoint_url: str, ahead: timedelta, *, is_local_clock_right: bool) -> None:
    if not ahead:
        event(logging.INFO, "clock_skew_resolved", endpoint=endpoint_url)
        return
    advice = (
        "set the clock of that server, for other endpoints agree with this machine's"
        if is_local_clock_right
        else "set this machine's clock: `timedatectl set-ntp true`"
    )
    event(
        logging.WARNING,
        "clock_skew_detected",
        seconds=round(-ahead.total_seconds()),
        endpoint=endpoint_url,
        hint=f"{advice}; until then requests to this endpoint are signed with its time",
    )


def _significant(ahead: timedelta) -> timedelta:
    return ahead if abs(ahead) >= MIN_SKEW else _ZERO
