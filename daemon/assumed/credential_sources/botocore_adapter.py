"""What botocore has found, and keeps fresh by itself where it can."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from botocore.credentials import Credentials as BotocoreCredentials
from botocore.session import Session as BotocoreSession

from assumed.aws_files.ownership import is_long_term_key
from assumed.errors import LongTermKeysError
from assumed.models import SourceCredentials, TemporaryCredentials

FoundT = TypeVar("FoundT")


class CachedCredentials:
    """The credentials of one source; safe to use from many threads.

    Args:
        load: finds them; None where there are none.
    """

    def __init__(self, load: Callable[[], BotocoreCredentials | None]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._credentials: BotocoreCredentials | None = None

    def temporary(self, name: str, *, other_than: str | None) -> TemporaryCredentials | None:
        """Return credentials that end, as one set; None where there is nothing.

        Args:
            name: of the source, for messages.
            other_than: the access key id of those that are to be replaced: the source is asked
                anew where it would give them again.

        Raises:
            LongTermKeysError: they don't end, or don't say when.
            Exception: what botocore raises, of many kinds.
        """
        found = self._with_expiration()
        if found is not None and found[0].access_key_id == other_than:
            self.forget()
            found = self._with_expiration()
        if found is None:
            return None
        credentials, expiration = found
        token = credentials.session_token
        if token is None or is_long_term_key(credentials.access_key_id):
            raise LongTermKeysError(
                f"{name} holds long-term keys, and those are never copied",
                hint="give the profile a `role_arn`, or an `mfa_serial` for a session with a code; "
                "or use the keys where they are",
            )
        if expiration is None:
            raise LongTermKeysError(
                f"{name} does not say when its credentials end, so that they can't be kept fresh",
                hint="have its `credential_process` print an `Expiration`, or name a source that "
                "tells it: SSO, a `credential_process`, `mfa_serial`",
            )
        return TemporaryCredentials(
            credentials.access_key_id, credentials.secret_access_key, token, expiration
        )

    def _with_expiration(self) -> tuple[SourceCredentials, datetime | None] | None:
        while True:
            before = self.get()
            with self._lock:
                # None of long-term keys. botocore has no other way to tell.
                expiration: datetime | None = getattr(self._credentials, "_expiry_time", None)
            # Another thread may have had them refreshed meanwhile.
            if before is None or self.get() == before:
                break
        if before is None:
            return None
        return before, expiration.astimezone(UTC) if expiration else None

    def get(self) -> SourceCredentials | None:
        """Return what signs calls now, as one set; None where there is nothing.

        Raises:
            Exception: what botocore raises, of many kinds.
        """
        with self._lock:
            if self._credentials is None:
                self._credentials = self._load()
            found = self._credentials
        if found is None:
            return None
        frozen = found.get_frozen_credentials()
        if not frozen.access_key or not frozen.secret_key:
            return None
        return SourceCredentials(frozen.access_key, frozen.secret_key, frozen.token or None)

    def forget(self) -> None:
        """Have them found anew the next time."""
        with self._lock:
            self._credentials = None


class BotocoreSource(ABC):
    """A source whose credentials botocore finds; each kind says what its failures mean.

    Args:
        label: names the source in messages.
        botocore_session: a botocore session, for its region, endpoint and CA settings.
        load: finds the credentials; None where there are none.
    """

    def __init__(
        self,
        label: str,
        botocore_session: BotocoreSession,
        load: Callable[[], BotocoreCredentials | None],
    ) -> None:
        self.botocore_session = botocore_session
        self._label = label
        self._held = CachedCredentials(load)

    def credentials(self) -> SourceCredentials:
        """Return what signs calls now, as one set, refreshed by botocore where it can.

        Raises:
            SourceMissingError: there are none, or a login has run out: somebody has to act.
            SourceUnavailableError: an endpoint or a `credential_process` failed.
        """
        return self._found(self._held.get)

    def temporary(self, *, other_than: str | None) -> TemporaryCredentials:
        """Return credentials that end; see `CredentialProvider`.

        Raises:
            LongTermKeysError: they don't end, or don't say when.
            SourceMissingError, SourceUnavailableError: as `credentials`.
        """
        return self._found(lambda: self._held.temporary(self._label, other_than=other_than))

    def forget(self) -> None:
        """Have the next `credentials` asked for anew."""
        self._held.forget()

    @abstractmethod
    def _found(self, find: Callable[[], FoundT | None]) -> FoundT:
        """Return what `find` returns; in the place of what it raises, or of None, an error."""
