"""Words that people read: the private ones of an earlier edition may not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

READ_BY_PEOPLE = ("daemon", "docs", "config", "systemd", "README.md", "CHANGELOG.md")

# Each word with the one to write instead.
WORDS = {
    r"mend(?:s|ed|ing)?": "fix, repair; hint (in an error)",
    r"anew": "again",
    r"who(?:m|ever|mever)": "the user, the process, the caller",
    r"tells?|telling|told": "log, report, print, notify",
    r"somebody|nobody": "someone, no one, or the user, another user, another process",
    r"where none is": "if there is none",
    r"can't be had|to be had": "is not available, is available",
    r"of (?:ours|theirs)": "our, their",
    r"comes? to be": "become, appear",
    r"at a glance": "quickly, in short",
    r"behold|lest|befall\w*": "a plain word",
    r"reckon(?:s|ed|ing)?": "compute, treat as",
    r"nothing of": "none of, no",
    r"folders?": "directory",
    r"mistakes?": "problem, error",
}
PATTERN = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)


def hits(path: Path) -> list[str]:
    """Return the lines of a file in which one of the words occurs."""
    lines = path.read_text(errors="replace").splitlines()
    return [
        f"{path.relative_to(REPOSITORY)}:{number}: {found[0]!r} in {line.strip()!r}"
        for number, line in enumerate(lines, 1)
        if (found := PATTERN.search(line))
    ]


def files() -> list[Path]:
    """Return the files that people read."""
    return [
        path
        for place in READ_BY_PEOPLE
        for path in sorted([REPOSITORY / place, *(REPOSITORY / place).rglob("*")])
        if path.suffix in {".py", ".md", ".yaml", ".yml", ".json", ".service"}
    ]


def test_no_word_of_the_list_occurs_where_people_read() -> None:
    found = [hit for path in files() for hit in hits(path)]
    assert len(files()) > 100
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line", ["this mends it", "Nobody may", "made anew", "in a folder", "it was told", "by mistake"]
)
def test_a_word_of_the_list_is_found(line: str) -> None:
    assert PATTERN.search(line)


@pytest.mark.parametrize("line", ["recommended", "amendment", "untold", "lesson", "unmistaken"])
def test_a_word_that_contains_one_is_not(line: str) -> None:
    assert not PATTERN.search(line)
