"""What the page of troubleshooting quotes is what the program says."""

from __future__ import annotations

import ast
import re

import pytest

from assumed import errors
from tests.repository import REPOSITORY

PACKAGE = REPOSITORY / "daemon" / "assumed"
PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
FAILURES = (REPOSITORY / "docs" / "failures.md").read_text()

QUOTED = re.findall(r"^\| ((?:`[^|`]+`(?:, )?)+) \| ", PAGE, re.M)
"""The texts that begin a row, whoever says them."""
ROWS = re.findall(r"^\| (`[^|]+`) \| `(\w+)` \| ", PAGE, re.M)
"""The texts of commands, and their codes."""
NOT_FOR_USERS = {"Error", "Unexpected", "CredentialsFile", "HookFailed", "OtherConfiguration"}


def said() -> str:
    """Return every text in the program, those with values in them with an ellipsis for each."""
    texts: list[str] = []
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                )
                texts.append("".join(map(str, parts)))
    return "\n".join(texts)


SAID = said()


@pytest.mark.parametrize("text", [text for cell in QUOTED for text in re.findall("`(.+?)`", cell)])
def test_a_text_that_the_page_explains_is_one_that_the_program_says(text: str) -> None:
    assert re.search(re.escape(text).replace("…", ".*?"), SAID), text


def codes() -> dict[str, type]:
    return {
        kind.code: kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.AssumedError)
    }


@pytest.mark.parametrize("code", [code for _, code in ROWS])
def test_a_code_of_the_page_is_one_that_there_is(code: str) -> None:
    assert any(f'code = "{code}"' in file.read_text() for file in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("code", sorted(codes().keys() - NOT_FOR_USERS))
def test_every_code_is_explained_on_one_of_the_pages(code: str) -> None:
    assert f"`{code}`" in PAGE + FAILURES


@pytest.mark.parametrize("name", re.findall(r"^\| `(\w+)`(?:, `\w+`)* \| (?!`)", PAGE, re.M))
def test_an_event_of_the_page_is_one_that_there_is(name: str) -> None:
    assert f"`{name}`" in (REPOSITORY / "docs" / "operations.md").read_text()
