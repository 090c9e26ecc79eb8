"""When every profile has been tried once."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress


class FirstPass:
    """Tracks which profiles have not been tried yet; `check` alone is called without the lock."""

    def __init__(self) -> None:
        self.done: Future[None] = Future()
        self._untried: set[str] = set()

    def expect(self, *, new: AbstractSet[str], enabled: AbstractSet[str]) -> None:
        """Take a configuration: its new profiles have not been tried, disabled ones never are."""
        self._untried = (self._untried | new) & enabled

    def tried(self, profile: str) -> None:
        """Record that a profile has been tried, or is fresh."""
        self._untried.discard(profile)

    def check(self) -> None:
        """Mark the first pass as done once every profile has been tried."""
        if self._untried or self.done.done():
            return
        # Two threads may have come this far.
        with suppress(InvalidStateError):
            self.done.set_result(None)
