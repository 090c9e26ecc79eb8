"""Writes the generated documents: the end of `docs/configuration.md`, and the JSON Schema."""

from __future__ import annotations

from assumed.config.json_schema import json_schema
from assumed.config.reference import reference
from tests.repository import REPOSITORY

PAGE = REPOSITORY / "docs" / "configuration.md"
SCHEMA = REPOSITORY / "config" / "assumed.schema.json"
_MARK = "<!-- Generated below this line: `make reference` -->\n"


def page() -> str:
    """Return the page with its prose as it is on disk, and a reference that is up to date."""
    prose, mark, _ = PAGE.read_text().partition(_MARK)
    if not mark:
        raise ValueError(f"{PAGE} has no line {_MARK.strip()}")
    return f"{prose}{mark}\n{reference()}"


if __name__ == "__main__":
    PAGE.write_text(page())
    SCHEMA.write_text(json_schema())
