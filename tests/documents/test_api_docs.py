"""docs/api.md describes every route of the API socket, field by field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from assumed.models import (
    DaemonStatus,
    EndpointAddress,
    Failure,
    Login,
    Outcome,
    ProfileState,
    ProfileStatus,
    Status,
)
from assumed.server import api
from assumed.server.serialization import (
    credentials_to_json,
    endpoint_to_json,
    login_to_json,
    outcome_to_json,
    status_to_json,
)
from tests.fakes import NOON, issued, role
from tests.repository import REPOSITORY

PAGE = (REPOSITORY / "docs" / "api.md").read_text()
SECTIONS = dict(re.findall(r"^## `?([^`\n]+)`?\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M))
HANDLERS = {f"{method} {path}": handler for path, (method, handler) in api.ROUTES.items()}

FAILURE = Failure(code="AccessDenied", message="no", hint="ask", at=NOON)
STATUS = Status(
    daemon=DaemonStatus(pid=1, version="", started_at=NOON, config=""),
    profiles=(
        ProfileStatus(
            profile="",
            role_arn="",
            source="",
            state=ProfileState.VALID,
            last_error=FAILURE,
            config_profiles=("", ""),
        ),
    ),
)
ANSWERS = {
    "GET /v1/status": status_to_json(STATUS),
    "POST /v1/refresh": {
        "version": 1,
        "outcomes": [outcome_to_json(Outcome(profile="", failure=FAILURE))],
    },
    "GET /v1/credentials": credentials_to_json(issued(role("deploy"), NOON)),
    "POST /v1/login": login_to_json(Login(profile="", mfa_serial="", expires_at=NOON)),
    "GET /v1/endpoint": endpoint_to_json(EndpointAddress(url="", token_file=Path())),
}


def examples(section: str) -> list[Any]:
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", section, re.S)]


def keys(shape: Any) -> Any:
    """Return the keys of a JSON value, in their order."""
    if isinstance(shape, dict):
        return [(key, keys(value)) for key, value in shape.items()]
    return [keys(each) for each in shape] if isinstance(shape, list) else None


def test_every_route_has_a_section_and_a_line_in_the_table() -> None:
    assert {name for name in SECTIONS if "/" in name} == set(HANDLERS)
    for route in HANDLERS:
        assert re.search(rf"^\| \[`{re.escape(route)}`\]\(#[a-z0-9-]+\) \| ", PAGE, re.M), route


@pytest.mark.parametrize("route", ANSWERS)
def test_the_example_of_a_response_has_the_fields_of_the_response(route: str) -> None:
    assert keys(examples(SECTIONS[route])[-1]) == keys(ANSWERS[route])


# The format is Prometheus's.
@pytest.mark.parametrize("route", sorted(HANDLERS.keys() - {"GET /v1/metrics"}))
def test_each_example_has_the_version(route: str) -> None:
    answer = examples(SECTIONS[route])[-1]
    assert answer.get("version", answer.get("Version")) == 1


@pytest.mark.parametrize("route", sorted(HANDLERS))
def test_the_handler_of_each_route_names_its_parameters(route: str) -> None:
    """The docstring of a handler begins with its route; its parameters are those of the page."""
    first_line = (HANDLERS[route].__doc__ or "").partition("\n")[0]
    assert first_line.startswith(route)
    parameters = set(re.findall(r"[?&](\w+)=", first_line))
    assert parameters == set(re.findall(r"^\| `(\w+)` \| ", SECTIONS[route], re.M))
