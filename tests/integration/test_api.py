"""The routes of docs/api.md at a real daemon, without the client."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from typing import Any

from tests.integration.world import World

_MAX_SECONDS = 30


def request(world: World, method: str, target: str, body: object = None) -> tuple[int, Any]:
    connection = HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(_MAX_SECONDS)
    connection.sock.connect(str(world.home / "run" / "assumed" / "assumed.sock"))
    try:
        connection.request(method, target, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_reload_answers_after_the_configuration_is_active(world: World) -> None:
    role = world.add_role()
    world.configure({"one": role})
    with world.running():
        world.configure({"one": role, "two": world.add_role()})
        assert request(world, "POST", "/v1/reload") == (200, {"version": 1, "config_error": None})
        status, content = request(world, "GET", "/v1/status")
        assert (status, [row["profile"] for row in content["profiles"]]) == (200, ["one", "two"])


def test_reload_of_a_wrong_configuration_reports_the_problems_and_changes_nothing(
    world: World,
) -> None:
    world.configure({"one": world.add_role()})
    with world.running():
        world.write_config("profiles:\n  one:\n    role_arn: nonsense\n")
        status, content = request(world, "POST", "/v1/reload")
        assert status == 200
        assert "config.yaml:3: profiles.one.role_arn: not an ARN" in content["config_error"]
        assert request(world, "GET", "/v1/credentials?profile=one")[0] == 200


def test_credentials_are_refreshed_if_less_than_min_left_remains(world: World) -> None:
    role = world.add_role()
    world.configure({"one": role})
    with world.running():
        first = request(world, "GET", "/v1/credentials?profile=one")
        assert request(world, "GET", "/v1/credentials?profile=one&min_left=1800") == first
        # No more than half of the hour counts.
        assert request(world, "GET", "/v1/credentials?profile=one&min_left=7200") == first
        assert world.server.calls(role) == 1


def test_refresh_skips_a_session_with_more_than_min_left(world: World) -> None:
    role = world.add_role()
    world.configure({"one": role})
    with world.running():
        body = {"profiles": ["one"], "force": False, "min_left": 2700}
        for min_left, was_fresh, calls in ((2700, True, 1), (7200, False, 2)):
            response = request(world, "POST", "/v1/refresh", {**body, "min_left": min_left})
            assert response[1]["outcomes"][0]["was_fresh"] is was_fresh
            assert world.server.calls(role) == calls
