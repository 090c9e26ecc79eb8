"""The files for contributors: the decision records."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
RECORDS = REPOSITORY / "docs" / "adr"
MAX_LINES = 60


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
