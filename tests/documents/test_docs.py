"""What the documents say is there, and what is there is in the documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from assumed.cli import _COMMANDS
from assumed.config import loader
from assumed.config.reference import reference
from assumed.config.schema import (
    ConfigurationModel,
    CredentialsFileModel,
    HooksModel,
    MetricsModel,
    ProfileModel,
)
from assumed.models import DaemonStatus, Failure, ProfileState, ProfileStatus, Status
from assumed.server.serialization import status_to_json
from tests.fakes import NOON
from tests.picture import PICTURE, drawn
from tests.repository import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
REFERENCE = (REPOSITORY / "docs" / "configuration.md").read_text()
PACKAGE = REPOSITORY / "daemon" / "assumed"


def event_names() -> Iterator[str]:
    """Every name that is given to `event` or to `notices.once`, wherever it is in the call."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            if isinstance(node.func, ast.Attribute):
                called = node.func.attr
            place = {"event": 1, "once": 0}.get(called)
            if place is None or len(node.args) <= place:
                continue
            for part in ast.walk(node.args[place]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


@pytest.mark.parametrize("command", _COMMANDS)
def test_the_readme_names_every_command(command: str) -> None:
    assert f"| `assumed {command}" in README


def test_the_readme_names_no_command_that_is_not_there() -> None:
    assert set(re.findall(r"`assumed ([a-z-]+)[ `]", README)) <= {*_COMMANDS}


@pytest.mark.parametrize(
    "key",
    [
        *ConfigurationModel.model_fields,
        *ProfileModel.model_fields,
        *CredentialsFileModel.model_fields,
        *HooksModel.model_fields,
        *MetricsModel.model_fields,
    ],
)
def test_the_reference_and_the_example_name_every_key(key: str) -> None:
    assert f"| `{key}` | " in REFERENCE
    assert f"{key}:" in (REPOSITORY / "config" / "config.yaml").read_text()


@pytest.mark.parametrize("state", ProfileState)
def test_the_readme_explains_every_state(state: ProfileState) -> None:
    assert f"| `{state}` | " in README


def test_the_readme_names_every_field_of_status_json() -> None:
    failure = Failure(code="", message="", hint="", at=NOON)
    profile = ProfileStatus(
        profile="", role_arn="", source="", state=ProfileState.VALID, last_error=failure
    )
    daemon = DaemonStatus(pid=1, version="", started_at=NOON, config="")
    shape = status_to_json(Status(daemon=daemon, profiles=(profile,)))
    (shown,) = shape["profiles"]
    for field in (*shape["daemon"], *shown, *shown["last_error"]):
        assert f"`{field}`" in README


def test_the_reference_is_made_of_the_types() -> None:
    made = "`python -m assumed.config.reference > docs/configuration.md`"
    assert reference() == REFERENCE, made


def test_every_event_is_explained() -> None:
    names = set(event_names())
    assert len(names) > 20
    explained = OPERATIONS.partition("## Logs")[2]
    assert {name for name in names if f"`{name}`" not in explained} == set()
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`(?=[,| ]+.*\|)", explained)) >= names - {"defect"}


def test_the_yaml_of_the_readme_is_a_configuration() -> None:
    (typed,) = re.findall(r"<<'END'\n(.*?)\n +END", README, re.S)
    plain = "\n".join(line.removeprefix("   ") for line in typed.splitlines())
    configuration = loader.parse(plain.encode(), Path("config.yaml"), user="me", host="here")
    assert list(configuration.profiles) == ["s3-read-only"]
    shown, hooks = re.findall(r"^```yaml\n(.*?)^```", README, re.M | re.S)
    configuration = loader.parse(
        f"{shown}{hooks}".encode(), Path("config.yaml"), user="me", host="here"
    )
    assert list(configuration.profiles) == ["s3-read-only", "deploy", "agent"]


PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_every_place_in_a_document_is_there(page: Path) -> None:
    text = page.read_text()
    headings = {
        other: {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", other.read_text(), re.M)
        }
        for other in PAGES
    }
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        assert not heading or heading in headings[file], f"{target}#{heading}"
    for path in re.findall(r"`((?:daemon|systemd|config|bench|docs|tests)/[\w/@.-]*)`", text):
        assert (REPOSITORY / path).exists(), path


def test_the_picture_of_status_is_what_status_shows() -> None:
    def texts(svg: str) -> list[str]:
        return re.findall(r"<text class=.*?>(.*?)</text>", svg)

    shown = texts(PICTURE.read_text())
    assert any("needs-login" in text for text in shown)
    assert shown == texts(drawn()), "make picture"


def test_the_changelog_speaks_of_this_version() -> None:
    assert "## Unreleased" in (REPOSITORY / "CHANGELOG.md").read_text()
