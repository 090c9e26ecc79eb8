"""The routes of docs/api.md, asked of a real daemon with nothing but HTTP."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from typing import Any

from tests.integration.world import World


def answer_of(world: World, method: str, target: str, asked: object = None) -> tuple[int, Any]:
    connection = HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(world.home / "run" / "assumed" / "assumed.sock"))
    try:
        connection.request(method, target, None if asked is None else json.dumps(asked))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_reload_is_done_when_it_answers(world: World) -> None:
    role = world.add_role()
    world.configure({"one": role})
    with world.running():
        world.configure({"one": role, "two": world.add_role()})
        assert answer_of(world, "POST", "/v1/reload") == (200, {"version": 1, "config_error": None})
        status, shape = answer_of(world, "GET", "/v1/status")
        assert (status, [row["profile"] for row in shape["profiles"]]) == (200, ["one", "two"])


def test_a_reload_of_a_wrong_configuration_tells_what_is_wrong_and_changes_nothing(
    world: World,
) -> None:
    world.configure({"one": world.add_role()})
    with world.running():
        world.write_config("profiles:\n  one:\n    role_arn: nonsense\n")
        status, shape = answer_of(world, "POST", "/v1/reload")
        assert status == 200
        assert "config.yaml:3: profiles.one.role_arn: not an ARN" in shape["config_error"]
        assert answer_of(world, "GET", "/v1/credentials?profile=one")[0] == 200


def test_credentials_are_refreshed_where_too_little_is_left(world: World) -> None:
    role = world.add_role()
    world.configure({"one": role})
    with world.running():
        first = answer_of(world, "GET", "/v1/credentials?profile=one")
        assert answer_of(world, "GET", "/v1/credentials?profile=one&min_left=1800") == first
        # No more than half of the hour counts.
        assert answer_of(world, "GET", "/v1/credentials?profile=one&min_left=7200") == first
        assert world.server.calls(role) == 1


def test_a_refresh_leaves_alone_what_has_enough_left(world: World) -> None:
    role = world.add_role()
    world.configure({"one": role})
    with world.running():
        asked = {"profiles": ["one"], "force": False, "min_left": 2700}
        for min_left, was_fresh, calls in ((2700, True, 1), (7200, False, 2)):
            answer = answer_of(world, "POST", "/v1/refresh", {**asked, "min_left": min_left})
            assert answer[1]["outcomes"][0]["was_fresh"] is was_fresh
            assert world.server.calls(role) == calls
