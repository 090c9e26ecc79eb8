"""The files for contributors: hooks that agree with the Makefile, and the decision records."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.repository import REPOSITORY

RECORDS = REPOSITORY / "docs" / "adr"
MAX_LINES = 60


def recipe(target: str) -> list[str]:
    """Return the commands of a target of the Makefile, with the variables replaced."""
    text = (REPOSITORY / "Makefile").read_text().replace("\\\n\t", "")
    values = dict(re.findall(r"^(\w+) := (.*)$", text, re.M))
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.M)
    assert found is not None
    expanded = re.sub(r"\$\((\w+)\)", lambda name: values.get(name[1], name[0]), found[1])
    return [line.strip() for line in expanded.splitlines()]


def test_the_git_hooks_run_the_commands_of_lint_and_types() -> None:
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {hook["id"]: hook for hook in local["hooks"]}
    commands = [*recipe("lint"), *recipe("types")]
    for hook in hooks.values():
        same = [
            command
            for command in commands
            if command == hook["entry"]
            or (hook.get("pass_filenames", True) and command.startswith(f"{hook['entry']} "))
        ]
        assert len(same) == 1, hook["id"]
        commands.remove(same[0])
    assert commands == []


def records() -> list[Path]:
    return sorted(RECORDS.glob("[0-9]*.md"))


def test_the_index_lists_every_decision_with_its_title() -> None:
    listed = re.findall(r"^\| \[(\d{4})\]\((.+?)\) \| (.+?) \|", index(), re.M)
    expected = []
    for record in records():
        title = re.match(r"# (\d{4}): (.+)\n", record.read_text())
        assert title is not None, record.name
        expected.append((title[1], record.name, title[2]))
        assert record.name.startswith(f"{title[1]}-")
    assert listed == expected
    assert len(expected) >= 10


def index() -> str:
    return (RECORDS / "README.md").read_text()


@pytest.mark.parametrize("record", records(), ids=lambda record: record.stem)
def test_a_decision_is_one_page_with_the_four_parts(record: Path) -> None:
    text = record.read_text()
    parts = re.findall(r"^## (.+)$", text, re.M)
    assert parts == ["Context", "Decision", "Consequences", "Alternatives"]
    assert len(text.splitlines()) <= MAX_LINES


@pytest.mark.parametrize("page", [RECORDS / "README.md", *records()], ids=lambda page: page.stem)
def test_every_link_of_a_decision_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
