"""The container credentials endpoint, from which the AWS SDKs fetch credentials again in time.

An SDK that finds `AWS_CONTAINER_CREDENTIALS_FULL_URI` in its environment fetches the credentials
there, and new ones before they expire. It sends the token from the file
`AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` in the header `Authorization`. Any process of any user can
connect to the port, a web page in a browser included, so the handler rejects every request but
the one that an SDK sends.

Source: the AWS SDKs and Tools reference guide, "Container credential provider".
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from shutil import rmtree
from typing import Protocol
from urllib.parse import quote, unquote

from assumed.errors import (
    AssumedError,
    DaemonUnreachableError,
    LongTermKeysError,
    MfaCodeNeededError,
    SourceMissingError,
    StsUnavailableError,
    UsageError,
)
from assumed.fastpath.main import FRESH_SECONDS
from assumed.logs import event, timestamp
from assumed.models import Credentials, EndpointAddress
from assumed.server.http import (
    LOOPBACK,
    HttpRequest,
    HttpResponse,
    HttpServer,
    is_loopback_host,
    json_response,
)
from assumed.server.listeners import (
    ListenerStore,
    NullListenerStore,
    listen_and_keep,
    take_loopback,
)
from assumed.server.peers import LoopbackPeers
from assumed.server.threads import WorkerThreads, result_of
from assumed.server.tokens import TokenStore
from assumed.server.unix_socket import private_directory
from assumed.sts.errors import REJECTED_CREDENTIALS

MIN_LEFT = timedelta(seconds=FRESH_SECONDS)
"""Credentials with less remaining are refreshed before they are served."""
_LOGIN_REQUIRED_CODES = REJECTED_CREDENTIALS | {
    error.code for error in (SourceMissingError, LongTermKeysError, MfaCodeNeededError)
}
_PATH = b"/v1/credentials/"
_DIRECTORY_PREFIX = "endpoint-"
_LISTENER = "endpoint"
# botocore gives up on a request after 2 s (utils.py, ContainerMetadataFetcher).
_REFRESH_TIMEOUT_SECONDS = 1.5


class CredentialsSource(Protocol):
    """The source of the endpoint's credentials."""

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        """Return a profile's credentials, refreshed first if less than `min_left` remains."""
        ...


class Tokens(Protocol):
    """The tokens of `tokens.TokenStore`, as the handler needs them."""

    def get(self, profile: str) -> bytes | None:
        """Return the token of a profile; None if it has none."""
        ...


@dataclass(frozen=True, slots=True)
class _OpenEndpoint:
    server: HttpServer
    tokens: TokenStore
    peers: LoopbackPeers
    port: int


class ContainerCredentialsEndpoint:
    """The container credentials endpoint of this process, opened on first use; thread-safe.

    The port is part of the name of a directory that holds the token files and stays when the
    process ends: commands that use the endpoint know only this port and these files, so the next
    daemon must listen there. The tokens stay valid if the listening socket was kept. Otherwise
    another process may have listened there, and SDKs may have sent it the tokens, so that they are
    replaced. If another process has taken the port, the directory is removed: SDKs would send
    tokens that are valid at the new port to the process at the old one.

    Args:
        source: of the credentials.
        directory: with mode 0700, for the directory of the endpoint.
        listeners: keeps the listening socket.
    """

    def __init__(
        self,
        source: CredentialsSource,
        directory: Path,
        listeners: ListenerStore | None = None,
    ) -> None:
        self._source = source
        self._directory = directory
        self._listeners = listeners or NullListenerStore()
        self._lock = threading.Lock()
        self._open: _OpenEndpoint | None = None

    def address(self, profile: str) -> EndpointAddress:
        """Return the URL and the token file of a profile; open the endpoint if it is closed.

        Raises:
            DaemonUnreachableError: the endpoint cannot be opened.
        """
        try:
            with self._lock:
                if self._open is None:
                    self._open = self._start(listen_and_keep(self._listeners, _LISTENER))
                return EndpointAddress(
                    url=f"http://{LOOPBACK}:{self._open.port}{_PATH.decode()}{_quoted(profile)}",
                    token_file=self._open.tokens.path(profile),
                )
        except OSError as error:
            raise DaemonUnreachableError(
                f"profile {profile}: cannot open the container credentials endpoint: {error}",
                hint=f"check that {self._directory} is writable",
            ) from error

    def restore(self) -> None:
        """Listen again on the port of an earlier process of this user; log if that fails."""
        with self._lock:
            if (kept := take_loopback(self._listeners, _LISTENER)) is not None:
                self._restore_kept(kept)
            own = None if self._open is None else self._name(self._open.port)
            for directory in sorted(self._directory.glob(f"{_DIRECTORY_PREFIX}*")):
                if directory.name == own:
                    continue
                try:
                    if self._open is None:
                        port = int(directory.name.removeprefix(_DIRECTORY_PREFIX))
                        listener = listen_and_keep(self._listeners, _LISTENER, port)
                        self._open = self._start(listener)
                        continue
                except (OSError, ValueError, OverflowError, AssumedError) as error:
                    event(
                        logging.WARNING,
                        "endpoint_restore_failed",
                        error=f"{directory.name}: {error}",
                        hint="restart the commands that `assumed exec` started before",
                    )
                rmtree(directory, ignore_errors=True)

    def restore_tokens(self) -> None:
        """Write the token files again after the runtime directory was removed; log a failure."""
        with self._lock:
            if self._open is not None:
                try:
                    self._open.tokens.restore()
                except (OSError, AssumedError) as error:
                    event(logging.WARNING, "endpoint_restore_failed", error=str(error))

    def drain(self) -> None:
        """Accept no more connections, and answer those that are open within 0.1 seconds."""
        with self._lock:
            if self._open is not None:
                self._open.server.drain()

    def close(self) -> None:
        """Close the endpoint."""
        with self._lock:
            if self._open is not None:
                self._open.server.stop()
                self._open.peers.close()
                self._open = None

    def _restore_kept(self, listener: socket.socket) -> None:
        if (self._directory / self._name(listener.getsockname()[1])).is_dir():
            with suppress(OSError, AssumedError):
                self._open = self._start(listener, has_kept_port=True)
                return
        # No command knows its tokens any more.
        listener.close()
        self._listeners.drop(_LISTENER)

    @staticmethod
    def _name(port: int) -> str:
        return f"{_DIRECTORY_PREFIX}{port}"

    def _start(self, listener: socket.socket, *, has_kept_port: bool = False) -> _OpenEndpoint:
        port: int = listener.getsockname()[1]
        try:
            private_directory(self._directory)
            directory = self._directory / self._name(port)
            tokens = TokenStore(directory, keeps_tokens=has_kept_port)
        except BaseException:
            listener.close()
            raise
        peers = LoopbackPeers(port)
        handler = CredentialsHandler(self._source, tokens, port=port)
        server = HttpServer(
            listener,
            handler.handle,
            name="container-credentials",
            is_unwelcome=peers.is_other_user,
        )
        try:
            server.start()
        except AssumedError:
            server.stop()
            peers.close()
            raise
        return _OpenEndpoint(server, tokens, peers, port)


class CredentialsHandler:
    """Answers GET requests for the credentials of one profile, and rejects everything else.

    Args:
        source: of the credentials.
        tokens: `Authorization` must be the token of the profile.
        port: `Host` must be 127.0.0.1 or localhost, with or without this port.
        refresh_timeout_seconds: after this time the response is the old session.
    """

    def __init__(
        self,
        source: CredentialsSource,
        tokens: Tokens,
        *,
        port: int,
        refresh_timeout_seconds: float = _REFRESH_TIMEOUT_SECONDS,
    ) -> None:
        self._source = source
        self._tokens = tokens
        self._port = port
        self._refresh_timeout_seconds = refresh_timeout_seconds
        self._workers = WorkerThreads("container-credentials-worker")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request."""
        if request.method != "GET":
            why = "only GET is supported"
            return _rejection(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", why, Allow="GET")
        if {name for name, _ in request.headers} & {b"content-length", b"transfer-encoding"}:
            why = "a request must not have a body"
            return _rejection(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BodyNotAllowed", why)
        if not is_loopback_host(request.header(b"host"), self._port):
            why = "the Host header names another server"
            return _rejection(HTTPStatus.FORBIDDEN, "ForeignHost", why)
        profile = self._authorized_profile(request.target, request.header(b"authorization"))
        if profile is None:
            # The same response for an unknown profile, so that it does not reveal which exist.
            why = "the token is not valid for this profile"
            return _rejection(HTTPStatus.UNAUTHORIZED, "Unauthorized", why)
        try:
            return _credentials_response(await self._credentials(profile))
        except AssumedError as error:
            # Users see the message, so it has the hint.
            return _rejection(_status(error), error.code, f"{error.message}; {error.hint}")

    def _authorized_profile(self, target: bytes, token: bytes | None) -> str | None:
        """Return the profile that a target and a token are both for; None if there is none."""
        for profile in _profiles(target):
            if self._is_authorized(profile, token):
                return profile
        return None

    def _is_authorized(self, profile: str, token: bytes | None) -> bool:
        expected = self._tokens.get(profile)
        # Compared in every case and in constant time, so that the duration reveals nothing.
        is_same = hmac.compare_digest(token or b"", expected or b"none")
        return is_same and token is not None and expected is not None

    async def _credentials(self, profile: str) -> Credentials:
        with suppress(TimeoutError):
            return await self._fetch(profile, MIN_LEFT)
        try:
            return await self._fetch(profile, timedelta(0))
        except TimeoutError:
            raise StsUnavailableError(
                f"profile {profile}: the refresh is still running",
                hint="try again; `assumed status` shows what it waits for",
            ) from None

    async def _fetch(self, profile: str, min_left: timedelta) -> Credentials:
        async with asyncio.timeout(self._refresh_timeout_seconds):
            future = await self._workers.run(
                lambda: self._source.credentials(profile, min_left=min_left)
            )
            return await result_of(future)


def _profiles(target: bytes) -> Iterator[str]:
    """Yield the profiles that a target may be for: none, one or two.

    The target is compared as it was sent: `..`, a second slash, a query or another encoding of
    the same name is rejected. Only the C++ SDK changes what `address` returns: it encodes the path
    again. So `a%2520b` is the profile `a%20b`, or `a b` from the C++ SDK; the token decides.
    """
    if not target.startswith(_PATH):
        return
    sent = target.removeprefix(_PATH).decode("latin-1")
    once = unquote(sent)
    twice = unquote(once)
    if sent == _quoted(once):
        yield once
    if twice != once and sent == _quoted(_quoted(twice)):
        yield twice


def _status(error: AssumedError) -> HTTPStatus:
    """Return 4xx for what only the user can change: SDKs report it at once and do not back off.

    Everything else passes: after 5xx, SDKs try again and keep the session that they have.
    """
    if isinstance(error, UsageError):
        return HTTPStatus.NOT_FOUND
    if error.code in _LOGIN_REQUIRED_CODES:
        return HTTPStatus.FORBIDDEN
    return HTTPStatus.SERVICE_UNAVAILABLE


def _quoted(profile: str) -> str:
    return quote(profile, safe="")


def _credentials_response(credentials: Credentials) -> HttpResponse:
    return json_response(
        HTTPStatus.OK,
        {
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token,
            "Expiration": timestamp(credentials.expiration),
            "AccountId": credentials.account_id,
            "RoleArn": credentials.principal_arn,
        },
    )


def _rejection(status: HTTPStatus, code: str, message: str, **headers: str) -> HttpResponse:
    return json_response(status, {"code": code, "message": message}, **headers)
