"""Signatures by STS's time where this machine's clock is wrong.

STS refuses what was signed at another time than its own, 15 minutes to either side (AWS General
Reference, "Elements of an AWS API request signature"). The signing itself is botocore's.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from typing import Any

from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, SigV4Auth

from assumed.clock import Clock
from assumed.logs.events import event

_NOTABLE = timedelta(minutes=1)
_SIGNER = "assumed-v4"
_CONTEXT = "assumed_skew"


class _SkewedAuth(SigV4Auth):
    """Signature version 4 at the time that the request's context asks for."""

    def _modify_request_before_signing(self, request: Any) -> None:
        # Set by `add_auth` just before, from the local clock; everything that is signed uses it.
        here = datetime.strptime(request.context["timestamp"], SIGV4_TIMESTAMP)  # noqa: DTZ007
        there = here + request.context.get(_CONTEXT, timedelta(0))
        request.context["timestamp"] = there.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs


AUTH_TYPE_MAPS[_SIGNER] = _SkewedAuth


class ClockSkewTracker:
    """How far STS's clock is from this machine's; safe to use from many threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answered_at: datetime | None = None
        """STS's time in its last answer, at `_boottime`, which no step of the wall clock moves."""
        self._boottime = 0.0
        self._is_told = False

    @property
    def ahead(self) -> timedelta:
        """By how much STS's clock is ahead of this machine's; zero where it is under a minute."""
        with self._lock:
            if self._answered_at is None:
                return timedelta(0)
            since = timedelta(seconds=self._clock.boottime() - self._boottime)
            return _notable(self._answered_at + since - self._clock.now())

    def learn(self, answered_at: datetime) -> bool:
        """Take notice of STS's time in an answer of this moment; tell what is new about it.

        Returns:
            Whether signatures have to be made at another time than before.
        """
        before = self.ahead
        ahead = _notable(answered_at - self._clock.now())
        with self._lock:
            self._answered_at, self._boottime = answered_at, self._clock.boottime()
            is_new = self._is_told is not bool(ahead)
            self._is_told = bool(ahead)
        if is_new:
            event(
                logging.WARNING if ahead else logging.INFO,
                "clock_skew_detected" if ahead else "clock_skew_resolved",
                seconds=round(-ahead.total_seconds()) if ahead else None,
                hint="set this machine's clock: `timedatectl set-ntp true`; until then calls are "
                "signed by STS's time, and sessions last as long as STS says"
                if ahead
                else None,
            )
        return abs(ahead - before) >= _NOTABLE

    def sign(self, client: Any) -> None:
        """Have this botocore client sign by STS's time."""
        client.meta.events.register("before-sign.sts", self._tell)
        client.meta.events.register("choose-signer.sts", self._choose)

    def _tell(self, request: Any, **_: Any) -> None:
        request.context[_CONTEXT] = self.ahead

    def _choose(self, **_: Any) -> str | None:
        return _SIGNER if self.ahead else None


def _notable(ahead: timedelta) -> timedelta:
    return ahead if abs(ahead) >= _NOTABLE else timedelta(0)
