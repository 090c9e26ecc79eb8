"""Adapts credentials that botocore resolves, and refreshes by itself if it can."""

from __future__ import annotations

import copy
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self, TypeVar

from botocore.credentials import (
    CredentialResolver,
    ProcessProvider,
    ReadOnlyCredentials,
    create_credential_resolver,
)
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.session import Session as BotocoreSession

from assumed.aws_files.ownership import is_long_term_key
from assumed.credential_sources.process_output import LimitedProcess
from assumed.credential_sources.source_slots import SOURCE_SLOTS
from assumed.errors import LongTermKeysError, SourceUnavailableError
from assumed.models import SourceCredentials, TemporaryCredentials
from assumed.progress import waiting_for
from assumed.sts.response_limits import limit_responses
from assumed.sts.tls import bypass_proxies
from assumed.untrusted_text import is_credential

ResultT = TypeVar("ResultT")


def credential_resolver(botocore_session: BotocoreSession) -> CredentialResolver:
    """Return botocore's resolver: no proxy for the metadata services, limits for what it reads.

    Raises:
        AttributeError: botocore has changed; a request could pass a proxy.
    """
    resolver = create_credential_resolver(botocore_session)
    instance: Any = resolver.get_provider("iam-role")
    container: Any = resolver.get_provider("container-role")
    for fetcher in (instance._role_fetcher, container._fetcher):
        bypass_proxies(fetcher._session)
        limit_responses(fetcher._session)
    for provider in resolver.providers:
        _limit_processes(provider)
    assume_role: Any = resolver.get_provider("assume-role")
    _limit_builder(assume_role._profile_provider_builder)
    return resolver


def _limit_processes(provider: Any) -> None:
    if isinstance(provider, ProcessProvider):
        process: Any = provider
        process._popen = partial(LimitedProcess, process._profile_name)


def _limit_builder(builder: Any) -> None:
    """Limit the processes of profiles that another profile names as its `source_profile`."""
    create = builder.providers

    def providers(*arguments: Any, **options: Any) -> list[Any]:
        created: list[Any] = create(*arguments, **options)
        for provider in created:
            _limit_processes(provider)
        return created

    builder.providers = providers


class CachedCredentials:
    """The credentials of one source; safe to use from many threads.

    Args:
        label: names the source in messages.
        load: resolves them; None if the source has none.
    """

    def __init__(self, label: str, load: Callable[[], BotocoreCredentials | None]) -> None:
        self._label = label
        self._load = load
        self._lock = threading.Lock()
        """Held while the credentials are resolved, for as long as a command or a server takes."""
        self._credentials: BotocoreCredentials | None = None
        self._failed_at = -math.inf
        self._failure: Exception | None = None

    def temporary(self, *, other_than: str | None) -> TemporaryCredentials | None:
        """Return temporary credentials as one set; None if the source has none.

        Args:
            other_than: the access key id of the credentials to replace; if the cache still has
                these, they are resolved again.

        Raises:
            LongTermKeysError: they do not expire, or their expiration is unknown.
            Exception: of any kind, from botocore.
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
                f"{self._label} holds long-term keys, which are never copied",
                hint="give the profile a `role_arn`, or an `mfa_serial` for an MFA session",
            )
        if expiration is None:
            raise LongTermKeysError(
                f"{self._label} has credentials without an expiration, which cannot be kept fresh",
                hint="have its `credential_process` print an `Expiration`, or use a source that "
                "has one: SSO, `mfa_serial`",
            )
        return TemporaryCredentials(
            credentials.access_key_id, credentials.secret_access_key, token, expiration
        )

    def _with_expiration(self) -> tuple[SourceCredentials, datetime | None] | None:
        while True:
            before = self.get()
            # botocore has no public attribute for it. Long-term keys have none.
            expiration: datetime | None = getattr(self._credentials, "_expiry_time", None)
            # Another thread may have refreshed them in between.
            if before is None or self.get() == before:
                break
        if before is None:
            return None
        return before, expiration.astimezone(UTC) if expiration else None

    def get(self) -> SourceCredentials | None:
        """Return the current credentials as one set; None if the source has none.

        Raises:
            SourceUnavailableError: they are malformed.
            Exception: of any kind, from botocore.
        """
        asked_at = time.monotonic()
        with SOURCE_SLOTS.exclusive(self._lock, self._label):
            if self._failure is not None and self._failed_at >= asked_at:
                # Another thread failed meanwhile: a command that hangs is not run once for each.
                raise self._failure
            try:
                frozen = self._resolve()
            except Exception as error:
                self._failed_at, self._failure = time.monotonic(), error
                raise
            self._failure = None
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            return None
        values = {
            "access key id": frozen.access_key,
            "secret access key": frozen.secret_key,
            "session token": frozen.token or None,
        }
        for what, value in values.items():
            if value is not None and not is_credential(value):
                # The next call resolves them again.
                self.forget()
                raise SourceUnavailableError(
                    f"{self._label}: the {what} is malformed: it has a blank, a line break or "
                    "another character that AWS never uses",
                    hint="correct what supplies it: a `credential_process` must print the value "
                    "alone, without a line break at its end",
                )
        return SourceCredentials(frozen.access_key, frozen.secret_key, frozen.token or None)

    def forget(self) -> None:
        """Clear the cache."""
        self._credentials = None

    def _resolve(self) -> ReadOnlyCredentials | None:
        with waiting_for(self._label):
            found = self._credentials
            if found is None:
                found = self._credentials = self._load()
            # It refreshes them if they expire soon.
            return None if found is None else found.get_frozen_credentials()


class BotocoreSource(ABC):
    """A source whose credentials botocore resolves; each subclass translates its failures.

    Args:
        label: names the source in messages.
        botocore_session: a botocore session, for its region, endpoint and CA settings.
        load: resolves the credentials; None if the source has none.
    """

    def __init__(
        self,
        label: str,
        botocore_session: BotocoreSession,
        load: Callable[[], BotocoreCredentials | None],
    ) -> None:
        self.botocore_session = botocore_session
        self._label = label
        self._cache = CachedCredentials(label, load)

    def credentials(self) -> SourceCredentials:
        """Return the current credentials as one set, refreshed by botocore if it can.

        Raises:
            SourceMissingError: there are none, or a login has expired.
            SourceUnavailableError: an endpoint or a `credential_process` failed.
        """
        return self._resolve(self._cache.get)

    def temporary(self, *, other_than: str | None) -> TemporaryCredentials:
        """Return temporary credentials; see `CredentialProvider`.

        Raises:
            LongTermKeysError: they do not expire, or their expiration is unknown.
            SourceMissingError, SourceUnavailableError: as `credentials`.
        """
        return self._resolve(lambda: self._cache.temporary(other_than=other_than))

    def forget(self) -> None:
        """Clear the cache, so that the next `credentials` resolves them again."""
        self._cache.forget()

    def with_settings_of(self, botocore_session: BotocoreSession) -> Self:
        """Return the same source, with the same cache, for calls by other settings."""
        other = copy.copy(self)
        other.botocore_session = botocore_session
        return other

    @abstractmethod
    def _resolve(self, load: Callable[[], ResultT | None]) -> ResultT:
        """Return the result of `load`; raise an `AssumedError` for its exceptions or for None."""
