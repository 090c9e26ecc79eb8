"""The routes of the local socket. Each is in the table at the end; shapes are `shapes`'s."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from assumed.errors import AssumedError, OtherConfigurationError, UsageError
from assumed.models import Credentials, EndpointAddress, Login, Outcome, Status
from assumed.server.futures import follower
from assumed.server.metrics_endpoint import CONTENT_TYPE
from assumed.server.serialization import (
    VERSION,
    credentials_to_json,
    endpoint_to_json,
    login_to_json,
    outcome_to_json,
    status_to_json,
)

_MOST_BODY_BYTES = 1 << 20
_MIN_LEFT_SECONDS = 15 * 60
_BAD_REQUEST, _CONFLICT, _INTERNAL_SERVER_ERROR = 400, 409, 500


class DaemonApi(Protocol):
    """What the socket asks of the daemon."""

    def status(self, profiles: Sequence[str]) -> Status:
        """Return the status of the daemon and of `profiles`, of all where none is named."""
        ...

    def refresh(
        self, profiles: Sequence[str], *, force: bool, min_left: timedelta | None = None
    ) -> dict[str, Future[Outcome]]:
        """Refresh now; return the outcomes to come."""
        ...

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        """Return the credentials to come of one profile."""
        ...

    def log_in(self, profile: str, code: str) -> Future[Login]:
        """Start an MFA session with a code; return what comes of it."""
        ...

    def endpoint(self, profile: str) -> EndpointAddress:
        """Return where the AWS SDKs find the credentials of one profile."""
        ...

    def metrics(self) -> bytes:
        """Return what is counted, in the text format of Prometheus."""
        ...

    def reload(self) -> Future[None]:
        """Read the configuration again; done when that is."""
        ...


def application(daemon: DaemonApi) -> Starlette:
    """Return the ASGI application of the socket."""

    async def status(request: Request) -> JSONResponse:
        """GET /v1/status?profile=NAME…[&config=FILE]: the shape of `assumed status --json`."""
        _refuse_other_configuration(daemon, request)
        return JSONResponse(status_to_json(daemon.status(request.query_params.getlist("profile"))))

    async def refresh(request: Request) -> Response:
        """POST /v1/refresh {"profiles": […], "force": false}: answers when all are tried.

        With `"stream": true` a line comes as each is tried, and the answer as the last one.
        """
        asked = await _body(request)
        match asked:
            case {"profiles": [*profiles], "force": bool(force)} if all(
                isinstance(profile, str) for profile in profiles
            ):
                min_left = _min_left(asked.get("min_left"))
                futures = daemon.refresh(profiles, force=force, min_left=min_left)
            case _:
                raise UsageError(
                    "the body is not of the shape of a refresh",
                    hint='send {"profiles": ["NAME"], "force": false}',
                )
        coming = [asyncio.wrap_future(follower(future)) for future in futures.values()]
        if asked.get("stream") is True:
            return StreamingResponse(_outcome_lines(coming), media_type="application/x-ndjson")
        return JSONResponse(_outcomes(await asyncio.gather(*coming)))

    async def credentials(request: Request) -> JSONResponse:
        """GET /v1/credentials?profile=NAME[&min_left=900][&config=FILE]: a credential process's."""
        profile = _one_profile(request, "/v1/credentials")
        _refuse_other_configuration(daemon, request)
        min_left = _min_left(request.query_params.get("min_left", str(_MIN_LEFT_SECONDS)))
        assert min_left is not None  # noqa: S101 - for there is a text
        future = daemon.credentials(profile, min_left=min_left)
        return JSONResponse(credentials_to_json(await asyncio.wrap_future(follower(future))))

    async def endpoint(request: Request) -> JSONResponse:
        """GET /v1/endpoint?profile=NAME: answers when the endpoint has credentials of it."""
        profile = _one_profile(request, "/v1/endpoint")
        future = daemon.credentials(profile, min_left=timedelta(seconds=_MIN_LEFT_SECONDS))
        await asyncio.wrap_future(follower(future))
        return JSONResponse(endpoint_to_json(daemon.endpoint(profile)))

    async def login(request: Request) -> JSONResponse:
        """POST /v1/login {"profile": NAME, "code": "123456"}: answers when STS has."""
        match await _body(request):
            case {"profile": str(profile), "code": str(code)}:
                future = daemon.log_in(profile, code)
            case _:
                raise UsageError(
                    "the body is not of the shape of a login",
                    hint='send {"profile": "NAME", "code": "six digits"}',
                )
        return JSONResponse(login_to_json(await asyncio.wrap_future(follower(future))))

    async def metrics(_: Request) -> Response:
        """GET /v1/metrics: in the text format of Prometheus."""
        return Response(daemon.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def reload(_: Request) -> JSONResponse:
        """POST /v1/reload: reads the configuration again, and tells what is wrong with it."""
        await asyncio.wrap_future(follower(daemon.reload()))
        found = daemon.status(()).daemon
        error = None if found is None else found.config_error
        return JSONResponse({"version": VERSION, "config_error": error})

    return Starlette(
        routes=[
            Route("/v1/status", status, methods=["GET"]),
            Route("/v1/refresh", refresh, methods=["POST"]),
            Route("/v1/credentials", credentials, methods=["GET"]),
            Route("/v1/endpoint", endpoint, methods=["GET"]),
            Route("/v1/login", login, methods=["POST"]),
            Route("/v1/metrics", metrics, methods=["GET"]),
            Route("/v1/reload", reload, methods=["POST"]),
        ],
        exception_handlers={AssumedError: _refused},
    )


async def _outcome_lines(coming: Sequence[asyncio.Future[Outcome]]) -> AsyncIterator[str]:
    try:
        for outcome in asyncio.as_completed(coming):
            yield f"{json.dumps(outcome_to_json(await outcome))}\n"
        yield f"{json.dumps(_outcomes([outcome.result() for outcome in coming]))}\n"
    except AssumedError as error:
        yield f"{json.dumps(_refusal(error))}\n"


def _outcomes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {"version": VERSION, "outcomes": [outcome_to_json(outcome) for outcome in outcomes]}


def _refuse_other_configuration(daemon: DaemonApi, request: Request) -> None:
    asked = request.query_params.get("config")
    found = None if asked is None else daemon.status(()).daemon
    if asked is None or found is None:
        return
    if os.path.abspath(asked) != os.path.abspath(found.config):  # noqa: PTH100
        raise OtherConfigurationError(
            f"the daemon's configuration is {found.config}",
            hint="leave `config` out to be answered all the same",
        )


def _one_profile(request: Request, route: str) -> str:
    profiles = request.query_params.getlist("profile")
    if len(profiles) != 1:
        raise UsageError("one profile at a time", hint=f"ask for {route}?profile=NAME")
    return profiles[0]


def _min_left(seconds: object) -> timedelta | None:
    if seconds is None:
        return None
    try:
        return timedelta(seconds=int(str(seconds)))
    except (ValueError, OverflowError):
        raise UsageError("min_left is no number of seconds", hint="such as 900") from None


async def _body(request: Request) -> Any:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY_BYTES:
            raise UsageError("the body is too long", hint="send at most 1 MiB")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("the body is no JSON", hint="send JSON") from None


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AssumedError)  # noqa: S101 - by the table of handlers above
    status = _INTERNAL_SERVER_ERROR
    if isinstance(error, UsageError):
        status = _BAD_REQUEST
    elif isinstance(error, OtherConfigurationError):
        status = _CONFLICT
    return JSONResponse(_refusal(error), status_code=status)


def _refusal(error: AssumedError) -> dict[str, Any]:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
