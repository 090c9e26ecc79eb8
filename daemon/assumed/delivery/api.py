"""The routes of the local socket. Each is in the table at the end; shapes are `shapes`'s."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from assumed.delivery.shapes import VERSION, outcome_to_json, status_to_json
from assumed.errors import AssumedError, UsageError
from assumed.model import Outcome, Status

_MOST_BODY_BYTES = 1 << 20


class Daemon(Protocol):
    """What the socket asks of the daemon."""

    def status(self, profiles: Sequence[str]) -> Status:
        """Return the status of the daemon and of `profiles`, of all where none is named."""
        ...

    def refresh(self, profiles: Sequence[str], *, force: bool) -> dict[str, Future[Outcome]]:
        """Refresh now; return the outcomes to come."""
        ...


def application(daemon: Daemon) -> Starlette:
    """Return the ASGI application of the socket."""

    async def status(request: Request) -> JSONResponse:
        """GET /v1/status?profile=NAME…: the shape of `assumed status --json`."""
        return JSONResponse(status_to_json(daemon.status(request.query_params.getlist("profile"))))

    async def refresh(request: Request) -> JSONResponse:
        """POST /v1/refresh {"profiles": […], "force": false}: answers when all are tried."""
        asked = await _body(request)
        match asked:
            case {"profiles": [*profiles], "force": bool(force)} if all(
                isinstance(profile, str) for profile in profiles
            ):
                futures = daemon.refresh(profiles, force=force)
            case _:
                raise UsageError(
                    "the body is not of the shape of a refresh",
                    hint='send {"profiles": ["NAME"], "force": false}',
                )
        outcomes = [await asyncio.wrap_future(_follower(future)) for future in futures.values()]
        return JSONResponse(
            {"version": VERSION, "outcomes": [outcome_to_json(outcome) for outcome in outcomes]}
        )

    return Starlette(
        routes=[
            Route("/v1/status", status, methods=["GET"]),
            Route("/v1/refresh", refresh, methods=["POST"]),
        ],
        exception_handlers={AssumedError: _refused},
    )


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


def _follower(future: Future[Outcome]) -> Future[Outcome]:
    # A request that ends early cancels what it waits for, and the outcome is not its own.
    follower: Future[Outcome] = Future()

    def follow(done: Future[Outcome]) -> None:
        if follower.set_running_or_notify_cancel():
            follower.set_result(done.result())

    future.add_done_callback(follow)
    return follower


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AssumedError)  # noqa: S101 - by the table of handlers above
    return JSONResponse(
        {"error": {"code": error.code, "message": error.message, "hint": error.hint}},
        status_code=400 if isinstance(error, UsageError) else 500,
    )
