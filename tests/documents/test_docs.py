"""The documents name what the program has, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from assumed.cli.main import _COMMANDS, _assumed
from assumed.cli.status_table import print_status
from assumed.config import loader
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
from tests.picture import PICTURE, afternoon, drawn
from tests.reference_page import PAGE as CONFIGURATION
from tests.reference_page import page as generated_page
from tests.repository import REPOSITORY, modules

README = (REPOSITORY / "README.md").read_text()
COMMANDS = (REPOSITORY / "docs" / "cli.md").read_text()
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
REFERENCE = CONFIGURATION.read_text()


def event_names() -> Iterator[str]:
    """Every name that is given to `event` or to `notices.once`, wherever it is in the call."""
    for tree in modules().values():
        for node in ast.walk(tree):
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


def options() -> Iterator[tuple[str, str]]:
    """Yield each option with its command; those of all commands with an empty one."""
    context = click.Context(_assumed)
    common: set[str] | None = None
    found: dict[str, set[str]] = {}
    for name in _COMMANDS:
        command = _assumed.get_command(context, name)
        parts = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        for part in parts:
            assert part is not None
            named = {
                parameter.opts[0]
                for parameter in part.params
                if isinstance(parameter, click.Option)
            }
            # `demo` and `service uninstall` use no configuration.
            named.add("--config")
            common = named if common is None else common & named
            found[name] = found.get(name, set()) | named
    assert common
    yield from (("", option) for option in sorted(common))
    yield from ((name, option) for name in found for option in sorted(found[name] - common))


def section(command: str) -> str:
    heading = f"`assumed {command}`" if command else "Common options"
    return COMMANDS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_readme_fits_on_a_page() -> None:
    assert len(README.splitlines()) <= 130
    assert len(README.split()) <= 900


@pytest.mark.parametrize("command", _COMMANDS)
def test_the_page_of_commands_names_every_command(command: str) -> None:
    assert f"| `assumed {command}" in COMMANDS
    assert section(command)


@pytest.mark.parametrize(("command", "option"), list(options()))
def test_the_page_of_commands_names_every_option(command: str, option: str) -> None:
    assert re.search(rf"\| `{option}[` ]", section(command)), option


def test_the_documents_name_no_command_that_does_not_exist() -> None:
    for page in PAGES:
        assert set(re.findall(r"`assumed ([a-z-]+)[ `]", page.read_text())) <= {*_COMMANDS}


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
def test_the_page_of_commands_explains_every_state(state: ProfileState) -> None:
    assert f"| `{state}` | " in COMMANDS


def test_the_page_of_commands_names_every_field_of_status_json() -> None:
    failure = Failure(code="", message="", hint="", at=NOON)
    profile = ProfileStatus(
        profile="", role_arn="", source="", state=ProfileState.VALID, last_error=failure
    )
    daemon = DaemonStatus(pid=1, version="", started_at=NOON, config="")
    shape = status_to_json(Status(daemon=daemon, profiles=(profile,)))
    (shown,) = shape["profiles"]
    for field in (*shape["daemon"], *shown):
        assert f"| `{field}` | " in COMMANDS
    for field in shown["last_error"]:
        assert f"`{field}`" in COMMANDS


def test_the_table_of_the_page_of_commands_is_printed_by_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, now = afternoon()
    print_status(status, now=now)
    table = capsys.readouterr().out.partition("\n\n")[0]
    assert f"```\n{table}\n```" in section("status")


def test_the_reference_is_generated_from_the_types() -> None:
    assert generated_page() == REFERENCE, "make reference"


def test_every_event_is_explained() -> None:
    names = set(event_names())
    assert len(names) > 20
    explained = OPERATIONS.partition("## Logs")[2]
    assert {name for name in names if f"`{name}`" not in explained} == set()
    assert set(re.findall(r"`([a-z]+_[a-z_]+)`(?=[,| ]+.*\|)", explained)) >= names


def test_the_yaml_of_the_documents_is_a_configuration() -> None:
    (typed,) = re.findall(r"<<'END'\n(.*?)\n +END", README, re.S)
    plain = "\n".join(line.removeprefix("   ") for line in typed.splitlines())
    configuration = loader.parse(plain.encode(), Path("config.yaml"), user="me", host="here")
    assert list(configuration.profiles) == ["s3-read-only"]
    expected = [
        ["s3-read-only", "deploy", "agent"],
        ["deploy-fresh"],
        ["s3-read-only"],
        ["nightly-import"],
    ]
    shown = re.findall(r"^```yaml\n(.*?)^```", REFERENCE, re.M | re.S)
    for text, names in zip(shown, expected, strict=True):
        configuration = loader.parse(text.encode(), Path("config.yaml"), user="me", host="here")
        assert list(configuration.profiles) == names


PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_every_path_in_a_document_exists(page: Path) -> None:
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


def test_the_picture_of_status_shows_the_output_of_status() -> None:
    def texts(svg: str) -> list[str]:
        return re.findall(r"<text class=.*?>(.*?)</text>", svg)

    shown = texts(PICTURE.read_text())
    assert any("needs-login" in text for text in shown)
    assert shown == texts(drawn()), "make picture"


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "## Unreleased" in (REPOSITORY / "CHANGELOG.md").read_text()
