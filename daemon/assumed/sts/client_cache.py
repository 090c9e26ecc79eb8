"""botocore's STS clients: one for each source, region and botocore session with its settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from botocore import UNSIGNED, exceptions
from botocore.config import Config
from botocore.session import Session as BotocoreSession

from assumed import __version__
from assumed.models import Source, SourceCredentials
from assumed.sts.direct_calls import DirectClient
from assumed.sts.error_bodies import unify_error_body
from assumed.sts.errors import Call, bad_endpoint, translate_error
from assumed.sts.tls import is_loopback, plain_http_error, reject_ambiguous_endpoint

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

_CONNECT_TIMEOUT_SECONDS = 3
_READ_TIMEOUT_SECONDS = 6


@dataclass(frozen=True, slots=True)
class _CachedClient:
    credentials: SourceCredentials | None
    client: DirectClient


class ClientCache:
    """Creates STS clients and keeps them; safe to use from many threads.

    Args:
        connections: how many requests there can be at once.
        on_create: called with each new client that signs its requests.
    """

    def __init__(self, *, connections: int, on_create: Callable[[Any], None]) -> None:
        self._connections = connections
        self._on_create = on_create
        self._lock = threading.Lock()
        # Neither the clients nor these entries refer to the session, so it can be collected.
        self._clients: WeakKeyDictionary[BotocoreSession, dict[tuple[Source, str], _CachedClient]]
        self._clients = WeakKeyDictionary()
        self._endpoint_urls: WeakKeyDictionary[BotocoreSession, dict[str, str]] = (
            WeakKeyDictionary()
        )

    def get(
        self,
        call: Call,
        region: str,
        credentials: SourceCredentials | None,
        botocore_session: BotocoreSession,
    ) -> DirectClient:
        """Return the client for these credentials and this region, created if there is none.

        Args:
            call: what its next request is for.
            region: the region to call.
            credentials: what signs its requests; None for requests that need no signature.
            botocore_session: for endpoint and CA settings.

        Raises:
            StsRequestRejectedError: an invalid endpoint or region, or plain HTTP.
            StsUnavailableError: a CA bundle that cannot be read.
        """
        key = (call.source, region)
        with self._lock:
            clients = self._clients.setdefault(botocore_session, {})
            known = clients.get(key)
            if known is None or known.credentials != credentials:
                client = self._create(call, region, credentials, botocore_session)
                known = clients[key] = _CachedClient(credentials, DirectClient(client))
            return known.client

    @contextmanager
    def temporary(
        self,
        call: Call,
        region: str,
        credentials: SourceCredentials,
        botocore_session: BotocoreSession,
    ) -> Iterator[STSClient]:
        """Create a client that is not kept, for the only request with these credentials.

        Raises:
            AssumedError: as `get`.
        """
        with self._lock:
            client = self._create(call, region, credentials, botocore_session)
        try:
            yield client
        finally:
            client.close()

    def endpoint_url(self, call: Call, region: str, botocore_session: BotocoreSession) -> str:
        """Return the URL of the STS endpoint of a region; the network is not used.

        Raises:
            AssumedError: as `get`.
        """
        with self._lock:
            urls = self._endpoint_urls.setdefault(botocore_session, {})
            if region not in urls:
                client = self._create(call, region, None, botocore_session)
                urls[region] = client.meta.endpoint_url.rstrip("/")
            return urls[region]

    def _create(
        self,
        call: Call,
        region: str,
        credentials: SourceCredentials | None,
        botocore_session: BotocoreSession,
    ) -> STSClient:
        try:
            client = self._secure_client(region, credentials, botocore_session)
        except ValueError as error:
            raise bad_endpoint(error) from None
        except (exceptions.BotoCoreError, OSError) as error:
            raise translate_error(call, error) from None
        client.meta.events.register("before-parse.sts", unify_error_body)
        if credentials is not None:
            self._on_create(client)
        return client

    def _secure_client(
        self,
        region: str,
        credentials: SourceCredentials | None,
        botocore_session: BotocoreSession,
    ) -> STSClient:
        def create(config: Config) -> STSClient:
            client = botocore_session.create_client(
                "sts",
                region,
                config=config,
                aws_access_key_id=credentials.access_key_id if credentials else None,
                aws_secret_access_key=credentials.secret_access_key if credentials else None,
                aws_session_token=credentials.session_token if credentials else None,
            )
            return cast("STSClient", client)

        config = Config(
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            read_timeout=_READ_TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
            max_pool_connections=self._connections,
            user_agent_extra=f"assumed/{__version__}",
        )
        if credentials is None:
            config = config.merge(Config(signature_version=UNSIGNED))
        client = create(config)
        endpoint_url = client.meta.endpoint_url
        is_plain = not endpoint_url.startswith("https://")
        if is_plain and not is_loopback(endpoint_url):
            raise plain_http_error(endpoint_url)
        reject_ambiguous_endpoint(endpoint_url)
        # A proxy would carry the response over the network after all.
        return create(config.merge(Config(proxies={}))) if is_plain else client
