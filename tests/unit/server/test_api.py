from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from assumed import __version__
from assumed.errors import DaemonUnreachableError
from assumed.models import Credentials, Login, Outcome, Status
from assumed.server.api import ROUTES, Api
from assumed.server.http import HttpRequest, HttpResponse
from tests.fake_daemon import FakeDaemon


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


def respond(
    daemon: FakeDaemon, method: str, target: str, body: bytes | None = b""
) -> tuple[int, Any]:
    request = HttpRequest(method, target.encode(), body=body)
    response = asyncio.run(Api(daemon).handle(request))
    assert isinstance(response.body, bytes)
    is_json = response.content_type == "application/json"
    return response.status, json.loads(response.body) if is_json else response.body


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/status", 404),
        ("GET", "/v1/status/", 404),
        ("GET", "/v1/%73tatus", 404),
        ("GET", "http://localhost/v1/status", 404),
        ("POST", "/v1/nothing", 404),
        ("POST", "/v1/status", 405),
        ("GET", "/v1/refresh", 405),
        ("HEAD", "/v1/refresh", 405),
        ("OPTIONS", "/v1/status", 405),
    ],
)
def test_handle_rejects_an_unknown_route(
    daemon: FakeDaemon, method: str, target: str, expected: int
) -> None:
    status, content = respond(daemon, method, target)
    assert status == expected
    assert content["error"]["hint"].startswith("use ")
    assert daemon.calls == []


def test_handle_names_the_method_of_a_route_in_allow(daemon: FakeDaemon) -> None:
    for path, (method, _) in ROUTES.items():
        request = HttpRequest("DELETE", path.encode())
        response = asyncio.run(Api(daemon).handle(request))
        allowed = "GET, HEAD" if method == "GET" else method
        expected = {"Allow": allowed, "Server": f"assumed/{__version__}"}
        assert (response.status, response.headers) == (405, expected)


def test_handle_answers_head_where_it_answers_get(daemon: FakeDaemon) -> None:
    assert respond(daemon, "HEAD", "/v1/status") == respond(daemon, "GET", "/v1/status")


def test_handle_reports_a_bug_and_logs_it(
    daemon: FakeDaemon, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(profiles: Sequence[str]) -> Status:
        raise ZeroDivisionError

    monkeypatch.setattr(daemon, "status", fail)
    status, content = respond(daemon, "GET", "/v1/status")
    assert (status, content["error"]["code"]) == (500, "Unexpected")
    [record] = caplog.records
    assert record.getMessage() == "internal_error"
    assert record.exc_info


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"profiles": []}',
        b'{"force": true}',
        b'{"profiles": "deploy", "force": false}',
        b'{"profiles": [1], "force": false}',
        b'{"profiles": [["deploy"]], "force": false}',
        b'{"profiles": ["deploy"], "force": 1}',
        b'{"profiles": ["deploy"], "force": "no"}',
        b'{"profiles": null, "force": false}',
        b"[" * 100_000,
        None,
    ],
    ids=lambda body: "too long" if body is None else body[:50].decode(errors="replace"),
)
def test_refresh_rejects_a_wrong_body_with_a_hint(daemon: FakeDaemon, body: bytes | None) -> None:
    status, content = respond(daemon, "POST", "/v1/refresh", body)
    assert status == 400
    assert list(content) == ["error"]
    assert list(content["error"]) == ["code", "message", "hint"]
    assert content["error"]["code"] == "Usage"
    assert content["error"]["hint"].startswith("send ")
    assert daemon.calls == []


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/refresh", rb'{"profiles": ["\ud800"], "force": false}'),
        ("POST", "/v1/login", rb'{"profile": "\udfff", "code": "492039"}'),
        ("GET", "/v1/status?profile=%ED%A0%80", b""),
        ("GET", "/v1/credentials?profile=%ED%A0%80", b""),
        ("GET", "/v1/credentials?profile=%FF", b""),
    ],
)
def test_a_lone_surrogate_in_a_profile_is_a_usage_error(
    daemon: FakeDaemon,
    method: str,
    target: str,
    body: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    status, content = respond(daemon, method, target, body)
    assert (status, content["error"]["code"]) == (400, "Usage")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("query", "expected", "code"),
    [
        ("profile=deploy", 500, "AccessDenied"),
        ("profile=nowhere", 400, "Usage"),
        ("", 400, "Usage"),
        ("profile=deploy&profile=fresh", 400, "Usage"),
        ("profile=fresh&min_left=much", 400, "Usage"),
        ("profile=fresh&min_left=", 400, "Usage"),
        (f"profile=fresh&min_left={'9' * 30}", 400, "Usage"),
        ("profile=fresh&config=/other.yaml", 409, "OtherConfiguration"),
    ],
)
def test_credentials_that_are_not_available_are_an_error_with_a_hint(
    daemon: FakeDaemon, query: str, expected: int, code: str
) -> None:
    status, content = respond(daemon, "GET", f"/v1/credentials?{query}")
    assert (status, content["error"]["code"]) == (expected, code)
    assert content["error"]["hint"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", timedelta(minutes=21)),
        ("&min_left=0", timedelta(0)),
        ("&min_left=60", timedelta(0, 60)),
    ],
)
def test_credentials_passes_min_left_on(
    daemon: FakeDaemon, query: str, expected: timedelta
) -> None:
    assert respond(daemon, "GET", f"/v1/credentials?profile=fresh{query}")[0] == 200
    assert daemon.min_left == expected


@pytest.mark.parametrize("route", ["status", "credentials"])
def test_config_is_the_configuration_of_the_daemon_or_a_conflict(
    daemon: FakeDaemon, route: str
) -> None:
    own = Path("config.yaml").absolute()
    assert respond(daemon, "GET", f"/v1/{route}?profile=fresh&config={own}")[0] == 200
    status, content = respond(daemon, "GET", f"/v1/{route}?profile=nowhere&config={own}.other")
    assert (status, content["error"]["code"]) == (409, "OtherConfiguration")


def test_endpoint_returns_the_address_after_the_credentials(daemon: FakeDaemon) -> None:
    status, content = respond(daemon, "GET", "/v1/endpoint?profile=fresh")
    assert (status, content["token_file"]) == (200, "/t")
    assert respond(daemon, "GET", "/v1/endpoint?profile=deploy")[0] == 500


@pytest.mark.parametrize("body", [b"{}", b'{"profile": "deploy", "code": 492039}', b"[]"])
def test_login_rejects_a_wrong_body_without_quoting_the_code(
    daemon: FakeDaemon, body: bytes
) -> None:
    status, content = respond(daemon, "POST", "/v1/login", body)
    assert status == 400
    assert "492039" not in str(content)


def test_metrics_are_text(daemon: FakeDaemon) -> None:
    assert respond(daemon, "GET", "/v1/metrics") == (200, b"assumed_build_info 1.0\n")


def test_a_stream_has_a_line_for_each_outcome_and_a_last_one_for_all(daemon: FakeDaemon) -> None:
    daemon.outcomes["deploy"] = Future()

    async def lines() -> list[Any]:
        body = b'{"profiles": ["deploy", "fresh"], "force": false, "stream": true}'
        response = await Api(daemon).handle(HttpRequest("POST", b"/v1/refresh", body=body))
        assert response.content_type == "application/x-ndjson"
        assert not isinstance(response.body, bytes)
        received = [json.loads(await anext(response.body))]
        daemon.outcomes["deploy"].set_result(Outcome(profile="deploy"))
        async for line in response.body:
            assert line.endswith(b"\n")
            received.append(json.loads(line))
        return received

    first, second, last = asyncio.run(lines())
    assert (first["profile"], second["profile"]) == ("fresh", "deploy")
    assert last == {"version": 1, "outcomes": [second, first]}


def test_an_error_ends_a_stream(daemon: FakeDaemon) -> None:
    daemon.outcomes["deploy"] = Future()
    daemon.outcomes["deploy"].set_exception(DaemonUnreachableError("stops", hint="wait"))

    async def lines() -> list[Any]:
        body = b'{"profiles": ["deploy"], "force": false, "stream": true}'
        response = await Api(daemon).handle(HttpRequest("POST", b"/v1/refresh", body=body))
        assert not isinstance(response.body, bytes)
        return [json.loads(line) async for line in response.body]

    error = {"code": "DaemonUnreachable", "message": "stops", "hint": "wait"}
    assert asyncio.run(lines()) == [{"error": error}]


class BlockedDaemon(FakeDaemon):
    """A daemon whose every method blocks, as on a lock, until the test releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.release = Event()

    def status(self, profiles: Sequence[str]) -> Status:
        self.release.wait()
        return super().status(profiles)

    def refresh(
        self, profiles: Sequence[str], *, force: bool, min_left: timedelta | None = None
    ) -> dict[str, Future[Outcome]]:
        self.release.wait()
        return super().refresh(profiles, force=force, min_left=min_left)

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        self.release.wait()
        return super().credentials(profile, min_left=min_left)

    def log_in(self, profile: str, code: str) -> Future[Login]:
        self.release.wait()
        return super().log_in(profile, code)

    def metrics(self) -> bytes:
        self.release.wait()
        return super().metrics()

    def reload(self) -> Future[None]:
        self.release.wait()
        return super().reload()


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/v1/status?config=config.yaml", b""),
        ("POST", "/v1/refresh", b'{"profiles": ["fresh"], "force": false}'),
        ("GET", "/v1/credentials?profile=fresh", b""),
        ("GET", "/v1/endpoint?profile=fresh", b""),
        ("POST", "/v1/login", b'{"profile": "fresh", "code": "492039"}'),
        ("GET", "/v1/metrics", b""),
        ("POST", "/v1/reload", b""),
    ],
)
def test_a_daemon_that_blocks_does_not_block_the_event_loop(
    method: str, target: str, body: bytes
) -> None:
    daemon = BlockedDaemon()

    async def while_blocked() -> HttpResponse:
        request = HttpRequest(method, target.encode(), body=body)
        response = asyncio.create_task(Api(daemon).handle(request))
        await asyncio.sleep(0)
        assert not response.done()
        daemon.release.set()
        return await response

    assert asyncio.run(while_blocked()).status == 200
