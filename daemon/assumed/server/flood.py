"""Which connections a server drops while more arrive than it can serve."""

from __future__ import annotations

from collections.abc import Callable

IsUnwelcome = Callable[[str, int], bool]
"""Whether a client at this address is not to be served during a flood."""

_FLOOD_SECONDS = 1.0


class FloodFilter:
    """Detects a flood of connections, and drops those of unwelcome clients until it is over.

    A flood is when half of the connections are open that may be, or as many had to be accepted
    without an end of the queue. It is over when neither was so for a second.

    Args:
        is_unwelcome: is asked only during a flood; None to drop nothing.
        connections: that may be open at the same time.
    """

    def __init__(self, is_unwelcome: IsUnwelcome | None, *, connections: int) -> None:
        self._is_unwelcome = is_unwelcome
        self._threshold = connections // 2
        self._accepted = 0
        self._flooded_until = 0.0

    def queue_is_empty(self) -> None:
        """Record that all connections that arrived were accepted."""
        self._accepted = 0

    def drops(self, address: tuple[str, int], *, open_connections: int, now: float) -> bool:
        """Return whether to drop a connection that was accepted.

        Args:
            address: of the client.
            open_connections: without this one.
            now: in seconds of a clock that cannot be set.
        """
        if self._is_unwelcome is None:
            return False
        self._accepted += 1
        if max(self._accepted, open_connections) >= self._threshold:
            self._flooded_until = now + _FLOOD_SECONDS
        return now < self._flooded_until and self._is_unwelcome(*address)
