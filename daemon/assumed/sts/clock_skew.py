"""Clock skew: signs requests with STS's time while this machine's clock is wrong.

STS rejects a signature whose time is more than 15 minutes from its own (AWS General Reference,
"Elements of an AWS API request signature"). botocore makes the signature itself.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from typing import Any

from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, SigV4Auth

from assumed.clock import Clock
from assumed.logs.events import event

_MIN_SKEW = timedelta(minutes=1)
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


class ClockSkewTracker:
    """The difference between STS's clock and this machine's; safe to use from many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answered_at: datetime | None = None
        """STS's time in its last response, received at `_boottime`."""
        self._boottime = 0.0
        """A step of the wall clock does not change this clock."""
        self._is_skewed = False

    @property
    def ahead(self) -> timedelta:
        """How far STS's clock is ahead of this machine's; zero if it is less than a minute."""
        with self._lock:
            if self._answered_at is None:
                return _ZERO
            since = timedelta(seconds=self._clock.boottime() - self._boottime)
            return _significant(self._answered_at + since - self._clock.now())

    def update(self, answered_at: datetime) -> bool:
        """Record STS's time of a response that has just arrived, and log a change.

        Returns:
            Whether the correction of signatures has changed.
        """
        before = self.ahead
        ahead = _significant(answered_at - self._clock.now())
        with self._lock:
            self._answered_at, self._boottime = answered_at, self._clock.boottime()
            has_changed = self._is_skewed is not bool(ahead)
            self._is_skewed = bool(ahead)
        if has_changed:
            event(
                logging.WARNING if ahead else logging.INFO,
                "clock_skew_detected" if ahead else "clock_skew_resolved",
                seconds=round(-ahead.total_seconds()) if ahead else None,
                hint="set this machine's clock: `timedatectl set-ntp true`; until then requests "
                "are signed with STS's time"
                if ahead
                else None,
            )
        return abs(ahead - before) >= _MIN_SKEW

    def install_signer(self, client: Any) -> None:
        """Make this botocore client sign with STS's time."""
        client.meta.events.register("before-sign.sts", self._add_skew)
        client.meta.events.register("choose-signer.sts", self._choose_signer)

    def _add_skew(self, request: Any, **_: Any) -> None:
        request.context[_CONTEXT] = self.ahead

    def _choose_signer(self, **_: Any) -> str | None:
        return _SIGNER if self.ahead else None


def _significant(ahead: timedelta) -> timedelta:
    return ahead if abs(ahead) >= _MIN_SKEW else _ZERO
