"""A store that keeps nothing, for processes that must not write the credentials file."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from assumed.models import Credentials


class NullStore:
    """Accepts every write and writes nothing; the sessions stay in memory."""

    def write(self, profile: str, credentials: Credentials, *, overwrite: bool) -> Future[None]:
        """Return a future that is done."""
        written: Future[None] = Future()
        written.set_result(None)
        return written

    def remove(self, profiles: Sequence[str]) -> None:
        """Do nothing."""
