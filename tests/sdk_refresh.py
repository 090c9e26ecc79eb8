"""How AWS SDKs refresh the credentials that they fetched: the rule that all of them share.

The advisory window is chosen by what remains at the fetch. Within it, an SDK fetches again, and a
failed fetch is followed by a pause of 5 to 10 minutes in which the old credentials are used. An
error that only the user can end is raised at once, and is cached for 5 seconds.

Source: the test suite that the SDKs share; `tests/unit/server/test_sdk_refresh.py` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

_WINDOWS = (
    (timedelta(minutes=20), timedelta(minutes=5)),
    (timedelta(minutes=90) - timedelta.resolution, timedelta(minutes=15)),
    (timedelta.max, timedelta(minutes=60)),
)
_ERROR_CACHE = timedelta(seconds=5)


class FetchFailedError(Exception):
    """A failure that may pass, such as a response with 5xx."""


class FinalError(Exception):
    """A failure that only the user can end: a response with 4xx."""


class NoCredentialsError(Exception):
    """The first fetch failed."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Credentials as the source returned them."""

    expiration: datetime
    name: str = "new"


def advisory_window(remaining: timedelta) -> timedelta:
    """Return how long before the expiration an SDK fetches again."""
    return next(window for limit, window in _WINDOWS if remaining <= limit)


class SdkCredentials:
    """The credentials of one SDK client.

    Args:
        fetch: asks the source.
        pause: after a failed fetch: 5 to 10 minutes.
        window: replaces the window that is chosen by what remains.
    """

    def __init__(
        self,
        fetch: Callable[[], Fetched],
        *,
        pause: timedelta = timedelta(minutes=10),
        window: timedelta | None = None,
    ) -> None:
        self.cached: Fetched | None = None
        self.window = timedelta(0)
        self.is_paused = False
        self._fetch = fetch
        self.pause = pause
        self._fixed_window = window
        self._paused_until: datetime | None = None
        self._error: tuple[datetime, FinalError] | None = None
        self._is_invalid = False

    def store(self, fetched: Fetched, now: datetime) -> None:
        """Keep credentials, and choose their window."""
        self.cached = fetched
        self.window = self._fixed_window or advisory_window(fetched.expiration - now)
        self._paused_until, self._error, self._is_invalid = None, None, False

    def invalidate(self) -> None:
        """Fetch at the next use: AWS has rejected the credentials."""
        self._is_invalid = True

    def get(self, now: datetime) -> Fetched:
        """Return the credentials for a call.

        Raises:
            NoCredentialsError: there were none yet, and the fetch failed.
            FinalError: the source has answered with it.
        """
        self.is_paused = False
        if self._error is not None and now < self._error[0]:
            raise self._error[1]
        cached = self.cached
        if cached is not None and not self._is_invalid and now < cached.expiration - self.window:
            return cached
        if cached is not None and self._paused_until is not None and now < self._paused_until:
            self.is_paused = True
            return cached
        return self._refresh(now)

    def _refresh(self, now: datetime) -> Fetched:
        try:
            fetched = self._fetch()
            if fetched.expiration <= now:
                raise FetchFailedError("the credentials have expired")
        except FinalError as error:
            self._error = now + _ERROR_CACHE, error
            raise
        except FetchFailedError as error:
            if self.cached is None:
                raise NoCredentialsError from error
            self._paused_until = now + self.pause
            return self.cached
        self.store(fetched, now)
        return fetched
