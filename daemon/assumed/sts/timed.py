"""The same calls, and how long STS takes over each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from assumed.clock import Clock
from assumed.sts.client import StsClient
from assumed.sts.errors import Call


class TimedStsClient(StsClient):
    """Tells how many seconds each request took, a refused one too.

    Args:
        clock: as of the other one.
        connections: likewise.
        took: called with the seconds, from the thread of the call.
    """

    def __init__(self, clock: Clock, *, connections: int, took: Callable[[float], None]) -> None:
        super().__init__(clock, connections=connections)
        self._took = took

    def _answer_once(
        self,
        call: Call,
        ask: Callable[..., Mapping[str, Any]],
        parameters: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        began_at = self._clock.boottime()
        try:
            return super()._answer_once(call, ask, parameters)
        finally:
            self._took(self._clock.boottime() - began_at)
