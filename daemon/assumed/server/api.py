"""The API socket: its routes, their handlers and its server. docs/api.md describes them."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qs

from assumed import __version__
from assumed.errors import AssumedError, OtherConfigurationError, UnexpectedError, UsageError
from assumed.logs import event
from assumed.models import Credentials, EndpointAddress, Login, Outcome, Status
from assumed.server.container_credentials import MIN_LEFT
from assumed.server.http import (
    HttpRequest,
    HttpResponse,
    HttpServer,
    Limits,
    json_response,
    to_json_bytes,
)
from assumed.server.metrics_endpoint import CONTENT_TYPE
from assumed.server.serialization import (
    VERSION,
    credentials_to_json,
    endpoint_to_json,
    login_to_json,
    outcome_to_json,
    status_to_json,
)
from assumed.server.threads import WorkerThreads, completions, result_of

# The clients are the user's own programs, which may be stopped for a while (Ctrl-Z).
_PRODUCT = f"assumed/{__version__}"
_LIMITS = Limits(body_bytes=1 << 20, timeout_seconds=30.0)


class DaemonApi(Protocol):
    """The daemon, as the API needs it. Its methods may block, but not for the futures."""

    def status(self, profiles: Sequence[str]) -> Status:
        """Return the status of the daemon and of `profiles`, or of all profiles if empty."""
        ...

    def refresh(
        self, profiles: Sequence[str], *, force: bool, min_left: timedelta | None = None
    ) -> dict[str, Future[Outcome]]:
        """Refresh profiles now; return the future outcome of each."""
        ...

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        """Return the future credentials of a profile."""
        ...

    def log_in(self, profile: str, code: str) -> Future[Login]:
        """Start an MFA session with a code."""
        ...

    def endpoint(self, profile: str) -> EndpointAddress:
        """Return the address of a profile at the container credentials endpoint."""
        ...

    def metrics(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        ...

    def reload(self) -> Future[None]:
        """Read the configuration again."""
        ...


class ApiServer(HttpServer):
    """The server of the API socket.

    Args:
        daemon: answers the requests.
        listener: the API socket; the server closes it.
    """

    def __init__(self, daemon: DaemonApi, listener: socket.socket) -> None:
        super().__init__(listener, Api(daemon).handle, name="api", limits=_LIMITS)


class Api:
    """The handlers of the API, by the table `ROUTES`."""

    def __init__(self, daemon: DaemonApi) -> None:
        self._daemon = daemon
        self._workers = WorkerThreads("api-worker")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Return the response of the route that a request is for; it names this version."""
        response = await self._respond(request)
        return replace(response, headers={**response.headers, "Server": _PRODUCT})

    async def _respond(self, request: HttpRequest) -> HttpResponse:
        path = request.target.partition(b"?")[0].decode("latin-1")
        if path not in ROUTES:
            return _error_response(
                HTTPStatus.NOT_FOUND, "NotFound", f"no route {path}", f"use {', '.join(ROUTES)}"
            )
        method, handler = ROUTES[path]
        methods = ("GET", "HEAD") if method == "GET" else (method,)
        if request.method not in methods:
            return _error_response(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                f"{path} does not support {request.method}",
                f"use {method}",
                Allow=", ".join(methods),
            )
        try:
            return await handler(self, request)
        except AssumedError as error:
            return _rejection(error)
        except Exception as error:  # noqa: BLE001 - a bug must not leave the client without answer
            event(logging.ERROR, "internal_error", exc_info=error)
            hint = "please report it with the traceback in the log of the daemon"
            return _rejection(UnexpectedError(f"internal error: {type(error).__name__}", hint=hint))

    async def status(self, request: HttpRequest) -> HttpResponse:
        """GET /v1/status?profile=NAME…[&config=FILE]: the content of `assumed status --json`."""
        query = _query(request)

        def answer() -> HttpResponse:
            self._reject_other_configuration(query)
            status = self._daemon.status(query.get("profile", []))
            return json_response(HTTPStatus.OK, status_to_json(status))

        return await self._workers.run(answer)

    async def refresh(self, request: HttpRequest) -> HttpResponse:
        """POST /v1/refresh {"profiles": […], "force": false}: answers after all attempts.

        With `"stream": true`, each outcome is a line of its own, and the answer the last one.
        """
        body = _json_body(request)
        profiles, force = _refresh_arguments(body)
        seconds = body.get("min_left")
        min_left = None if seconds is None else _min_left(seconds)
        outcomes = await self._workers.run(
            lambda: self._daemon.refresh(profiles, force=force, min_left=min_left)
        )
        futures = list(outcomes.values())
        if body.get("stream") is True:
            return HttpResponse(
                HTTPStatus.OK, _outcome_lines(futures), content_type="application/x-ndjson"
            )
        content = _outcomes_to_json([await result_of(future) for future in futures])
        return json_response(HTTPStatus.OK, content)

    async def credentials(self, request: HttpRequest) -> HttpResponse:
        """GET /v1/credentials?profile=NAME[&min_left=1260][&config=FILE]: a credential_process."""
        query = _query(request)
        profile = _one_profile(query, "/v1/credentials")
        min_left = _min_left(query["min_left"][-1]) if "min_left" in query else MIN_LEFT

        def start() -> Future[Credentials]:
            self._reject_other_configuration(query)
            return self._daemon.credentials(profile, min_left=min_left)

        credentials = await result_of(await self._workers.run(start))
        return json_response(HTTPStatus.OK, credentials_to_json(credentials))

    async def endpoint(self, request: HttpRequest) -> HttpResponse:
        """GET /v1/endpoint?profile=NAME: answers once the endpoint has the credentials."""
        profile = _one_profile(_query(request), "/v1/endpoint")
        await result_of(
            await self._workers.run(lambda: self._daemon.credentials(profile, min_left=MIN_LEFT))
        )
        address = await self._workers.run(lambda: self._daemon.endpoint(profile))
        return json_response(HTTPStatus.OK, endpoint_to_json(address))

    async def login(self, request: HttpRequest) -> HttpResponse:
        """POST /v1/login {"profile": NAME, "code": "123456"}: answers when STS has."""
        match _json_body(request):
            case {"profile": str(profile), "code": str(code)}:
                login = await result_of(
                    await self._workers.run(lambda: self._daemon.log_in(profile, code))
                )
                return json_response(HTTPStatus.OK, login_to_json(login))
        raise UsageError(
            "the body is not a login request",
            hint='send {"profile": "NAME", "code": "six digits"}',
        )

    async def metrics(self, _: HttpRequest) -> HttpResponse:
        """GET /v1/metrics: in the text format of Prometheus."""
        text = await self._workers.run(self._daemon.metrics)
        return HttpResponse(HTTPStatus.OK, text, content_type=CONTENT_TYPE)

    async def reload(self, _: HttpRequest) -> HttpResponse:
        """POST /v1/reload: reads the configuration again and reports its problems."""
        await result_of(await self._workers.run(self._daemon.reload))
        daemon = (await self._workers.run(lambda: self._daemon.status(()))).daemon
        error = None if daemon is None else daemon.config_error
        return json_response(HTTPStatus.OK, {"version": VERSION, "config_error": error})

    def _reject_other_configuration(self, query: Mapping[str, Sequence[str]]) -> None:
        if "config" not in query:
            return
        daemon = self._daemon.status(()).daemon
        wanted = os.path.abspath(query["config"][-1])  # noqa: PTH100 - a link is not followed
        if daemon is not None and wanted != os.path.abspath(daemon.config):  # noqa: PTH100
            raise OtherConfigurationError(
                f"the daemon uses the configuration {daemon.config}",
                hint="leave `config` out to get an answer from this daemon",
            )


ROUTES: Mapping[str, tuple[str, Callable[[Api, HttpRequest], Awaitable[HttpResponse]]]] = {
    "/v1/status": ("GET", Api.status),
    "/v1/refresh": ("POST", Api.refresh),
    "/v1/credentials": ("GET", Api.credentials),
    "/v1/endpoint": ("GET", Api.endpoint),
    "/v1/login": ("POST", Api.login),
    "/v1/metrics": ("GET", Api.metrics),
    "/v1/reload": ("POST", Api.reload),
}
"""The method and the handler of each route."""


def _query(request: HttpRequest) -> Mapping[str, Sequence[str]]:
    query = request.target.partition(b"?")[2].decode("latin-1")
    return parse_qs(query, keep_blank_values=True)


def _one_profile(query: Mapping[str, Sequence[str]], route: str) -> str:
    profiles = query.get("profile", [])
    if len(profiles) != 1:
        raise UsageError("exactly one profile is required", hint=f"use {route}?profile=NAME")
    return profiles[0]


def _min_left(seconds: object) -> timedelta:
    try:
        return timedelta(seconds=int(str(seconds)))
    except (ValueError, OverflowError):
        raise UsageError("min_left is not a number of seconds", hint="use 1260, say") from None


def _json_body(request: HttpRequest) -> Any:
    if request.body is None:
        raise UsageError("the body is too long", hint="send at most 1 MiB")
    try:
        return json.loads(request.body)
    except (ValueError, RecursionError):
        raise UsageError("the body is not JSON", hint="send JSON") from None


def _refresh_arguments(body: object) -> tuple[list[str], bool]:
    match body:
        case {"profiles": [*profiles], "force": bool(force)} if all(
            isinstance(profile, str) for profile in profiles
        ):
            return profiles, force
    raise UsageError(
        "the body is not a refresh request", hint='send {"profiles": ["NAME"], "force": false}'
    )


async def _outcome_lines(futures: Sequence[Future[Outcome]]) -> AsyncGenerator[bytes, None]:
    done = completions(futures)
    try:
        for _ in futures:
            yield _json_line(outcome_to_json((await done.get()).result()))
        yield _json_line(_outcomes_to_json([future.result() for future in futures]))
    except AssumedError as error:
        yield _json_line(_error_to_json(error.code, error.message, error.hint))


def _json_line(content: object) -> bytes:
    return to_json_bytes(content) + b"\n"


def _outcomes_to_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {"version": VERSION, "outcomes": [outcome_to_json(outcome) for outcome in outcomes]}


def _error_to_json(code: str, message: str, hint: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": hint}}


def _error_response(
    status: HTTPStatus, code: str, message: str, hint: str, **headers: str
) -> HttpResponse:
    return json_response(status, _error_to_json(code, message, hint), **headers)


def _rejection(error: AssumedError) -> HttpResponse:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, UsageError):
        status = HTTPStatus.BAD_REQUEST
    elif isinstance(error, OtherConfigurationError):
        status = HTTPStatus.CONFLICT
    return _error_response(status, error.code, error.message, error.hint)
