"""The container credentials endpoint: what the AWS SDKs ask again by themselves in time.

An SDK that finds `AWS_CONTAINER_CREDENTIALS_FULL_URI` in its environment gets the session there,
and a new one before it ends, with the token of `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` in the
header `Authorization`. Any process of any user of this machine can connect, a page in a browser
among them: what is not answered is as much of the matter here as what is.

Source: the SDKs and Tools reference guide, "Container credential provider".
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from shutil import rmtree
from typing import Protocol
from urllib.parse import quote, unquote_to_bytes

import h11

from assumed.errors import (
    AssumedError,
    DaemonUnreachableError,
    StsUnavailableError,
    UnexpectedError,
)
from assumed.logs import event, timestamp
from assumed.models import Credentials, EndpointAddress
from assumed.server.futures import follower
from assumed.server.loopback_http import ADDRESS, HttpResponse, LoopbackServer, listen
from assumed.server.tokens import TokenStore
from assumed.server.unix_socket import private_folder

MIN_LEFT = timedelta(minutes=15)
"""Under so much botocore's refreshing clients ask again at each call (`RefreshableCredentials`)."""
_PATH = b"/v1/credentials/"
_FOLDER = "endpoint-"
# botocore gives up on a request after 2 s (utils.py, ContainerMetadataFetcher).
_PATIENCE_SECONDS = 1.5


class CredentialsSource(Protocol):
    """What the endpoint asks of the daemon."""

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        """Return a profile's credentials, refreshed first where under `min_left` is left."""
        ...


class Tokens(Protocol):
    """What the endpoint asks of `tokens.TokenStore`."""

    def get(self, profile: str) -> bytes | None:
        """Return the token of a profile; None where it has none."""
        ...


class ContainerCredentialsEndpoint:
    """The endpoint of a process, opened when somebody asks for it; safe to use from many threads.

    Its port is in the name of a folder that stays when the process ends, with the token files in
    it: the commands that it serves know that port and those files and no others, and there the
    next daemon has to be. Where another process has taken the port, the folder is removed: else
    the tokens that are good at the new port would be sent to whoever listens at the old one.

    Args:
        source: has the credentials.
        folder: of mode 0700, for the folder of the endpoint.
    """

    def __init__(self, source: CredentialsSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._lock = threading.Lock()
        self._open: tuple[LoopbackServer, TokenStore, int] | None = None

    def address(self, profile: str) -> EndpointAddress:
        """Return where the credentials of a profile are from now on.

        Raises:
            DaemonUnreachableError: the endpoint can't be opened.
        """
        try:
            with self._lock:
                if self._open is None:
                    self._open = self._start(listen())
                _, tokens, port = self._open
                return EndpointAddress(
                    url=f"http://{ADDRESS}:{port}{_PATH.decode()}{_quoted(profile)}",
                    token_file=tokens.path(profile),
                )
        except OSError as error:
            raise DaemonUnreachableError(
                f"profile {profile}: the endpoint can't be opened: {error}",
                hint=f"see that {self._folder} can be written",
            ) from error

    def resume(self) -> None:
        """Go on where an earlier process of this user has left off; where that fails, tell."""
        with self._lock:
            for folder in sorted(self._folder.glob(f"{_FOLDER}*")):
                try:
                    if self._open is None:
                        port = int(folder.name.removeprefix(_FOLDER))
                        self._open = self._start(listen(port))
                        continue
                except (OSError, ValueError, OverflowError, AssumedError) as error:
                    event(
                        logging.WARNING,
                        "endpoint_restore_failed",
                        error=f"{folder.name}: {error}",
                        hint="what `assumed exec` started before has to be started again",
                    )
                rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Answer no more."""
        with self._lock:
            if self._open is not None:
                self._open[0].stop()
                self._open = None

    def _start(self, listener: socket.socket) -> tuple[LoopbackServer, TokenStore, int]:
        port: int = listener.getsockname()[1]
        try:
            private_folder(self._folder)
            tokens = TokenStore(self._folder / f"{_FOLDER}{port}")
        except BaseException:
            listener.close()
            raise
        answers = CredentialsHandler(self._source, tokens, port=port)
        server = LoopbackServer(listener, answers.answer)
        server.start()
        return server, tokens, port


class CredentialsHandler:
    """What is answered: one kind of path, one method, nothing else.

    Args:
        source: has the credentials.
        tokens: one of them has to be in `Authorization`.
        port: a request has to name it in `Host`, behind 127.0.0.1 or localhost. A page in a browser
            whose name was made to mean 127.0.0.1 (DNS rebinding) sends its own name there.
        patience_seconds: how long a refresh may take before the old session is given.
    """

    def __init__(
        self,
        source: CredentialsSource,
        tokens: Tokens,
        *,
        port: int,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._source = source
        self._tokens = tokens
        self._hosts = {f"{name}:{port}".encode() for name in (ADDRESS, "localhost")}
        self._patience_seconds = patience_seconds

    async def answer(self, request: h11.Request) -> HttpResponse:
        """Return the answer to a request."""
        headers = request.headers
        if request.method != b"GET":
            only = "only GET is answered"
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", only, Allow="GET")
        if {name for name, _ in headers} & {b"content-length", b"transfer-encoding"}:
            why = "a request has no body here"
            return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BodyNotAllowed", why)
        if _only(headers, b"host") not in self._hosts:
            why = "the Host header names another server"
            return _refusal(HTTPStatus.FORBIDDEN, "ForeignHost", why)
        profile = _profile(request.target)
        token = _only(headers, b"authorization")
        if profile is None or not self._is_authorized(profile, token):
            # The same for what is not there: nobody learns the names of profiles.
            why = "the token is not this profile's"
            return _refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized", why)
        return await self._found(profile)

    def _is_authorized(self, profile: str, token: bytes | None) -> bool:
        expected = self._tokens.get(profile)
        # Compared in every case and in constant time, so that nothing is told by how long it takes.
        is_same = hmac.compare_digest(token or b"", expected or b"none")
        return is_same and token is not None and expected is not None

    async def _found(self, profile: str) -> HttpResponse:
        try:
            return _given(await self._credentials(profile))
        except AssumedError as error:
            # Not 4xx, at which SDKs give up for good; and the hint is for people: they see it.
            message = f"{error.message}; {error.hint}"
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, error.code, message)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the client waiting
            event(logging.ERROR, "internal_error", profile=profile, exc_info=error)
            why = "this is a mistake in assumed; its log has it"
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, UnexpectedError.code, why)

    async def _credentials(self, profile: str) -> Credentials:
        with suppress(TimeoutError):
            return await self._within(self._source.credentials(profile, min_left=MIN_LEFT))
        try:
            return await self._within(self._source.credentials(profile, min_left=timedelta(0)))
        except TimeoutError:
            raise StsUnavailableError(
                f"profile {profile}: its refresh is still under way",
                hint="ask again; `assumed status` tells what it waits for",
            ) from None

    async def _within(self, future: Future[Credentials]) -> Credentials:
        waiting = asyncio.wrap_future(follower(future))
        return await asyncio.wait_for(waiting, self._patience_seconds)


def _profile(target: bytes) -> str | None:
    """Return the profile that a request is for; None for every target but the one that we give.

    The target as it was sent, not as a server reads it: `..`, a second slash, a query or another
    way to write the same name is none of ours.
    """
    name = unquote_to_bytes(target.removeprefix(_PATH)).decode(errors="replace")
    return name if target == _PATH + _quoted(name).encode() else None


def _quoted(profile: str) -> str:
    return quote(profile, safe="")


def _only(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of a header that is there once; two are no better than none."""
    values = [value for key, value in headers if key == name]
    return values[0] if len(values) == 1 else None


def _given(credentials: Credentials) -> HttpResponse:
    return HttpResponse(
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


def _refusal(status: HTTPStatus, code: str, message: str, **headers: str) -> HttpResponse:
    return HttpResponse(status, {"code": code, "message": message}, headers)
