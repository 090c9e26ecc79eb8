"""The texts, exit statuses and codes on the pages are those of the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from assumed import errors
from assumed.errors import AssumedError
from tests.repository import REPOSITORY, modules

PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text()
FAILURES = (REPOSITORY / "docs" / "failures.md").read_text()
API = (REPOSITORY / "docs" / "api.md").read_text()

QUOTED = re.findall(r"^\| ((?:`[^|`]+`(?:, )?)+) \| ", PAGE, re.M)
"""The cells of quoted texts that begin a row."""
ROWS = re.findall(r"^\| (`[^|]+`) \| (\d+) \| ", PAGE, re.M)
"""The texts of commands, and their exit status."""
ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, AssumedError)
}
# Base classes, and errors that only a command raises: it prints their text, never their code.
WITHOUT_A_CODE_ON_THE_SCREEN = {
    "Error",
    "Unexpected",
    "CredentialsFile",
    "NoRoleProfiles",
    "AdoptionRejected",
    "ConfigurationNotWritten",
    "CommandNotStarted",
    "HookFailed",
    "ServiceManager",
}


def text_of(node: ast.AST) -> str:
    """Return a literal text, with an ellipsis for each value in it; empty for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        return "".join(map(str, parts))
    return ""


def nodes() -> Iterator[ast.AST]:
    for tree in modules().values():
        yield from ast.walk(tree)


NODES = tuple(nodes())
PROGRAM = "\n".join(filter(None, map(text_of, NODES)))


def pattern(text: str) -> str:
    return re.escape(text).replace("…", ".*?")


def exit_statuses(text: str) -> set[int]:
    """Return the exit statuses of the errors that the program creates with a text."""
    found = set()
    for node in NODES:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        kind = ERRORS.get(node.func.id)
        has_own_status = any(keyword.arg == "exit_status" for keyword in node.keywords)
        if kind is None or has_own_status or not node.args:
            continue
        texts = "\n".join(text_of(each) for each in ast.walk(node.args[0]))
        if re.search(pattern(text), texts):
            found.add(kind.exit_status)
    return found


@pytest.mark.parametrize("text", [text for cell in QUOTED for text in re.findall("`(.+?)`", cell)])
def test_the_program_prints_each_quoted_text(text: str) -> None:
    assert re.search(pattern(text), PROGRAM), text


@pytest.mark.parametrize(("cell", "status"), ROWS)
def test_the_exit_status_of_a_row_is_that_of_the_error(cell: str, status: str) -> None:
    for text in re.findall("`(.+?)`", cell):
        assert exit_statuses(text) <= {int(status)}, text


def test_the_errors_of_most_rows_are_found() -> None:
    found = [cell for cell, _ in ROWS if any(map(exit_statuses, re.findall("`(.+?)`", cell)))]
    assert len(found) >= 10


@pytest.mark.parametrize(
    "code", sorted({kind.code for kind in ERRORS.values()} - WITHOUT_A_CODE_ON_THE_SCREEN)
)
def test_every_code_is_explained_on_a_page(code: str) -> None:
    assert f"`{code}`" in FAILURES + API


@pytest.mark.parametrize("name", re.findall(r"^\| `(\w+)`(?:, `\w+`)* \| (?!\d)", PAGE, re.M))
def test_operations_explains_each_event_of_the_page(name: str) -> None:
    assert f"`{name}`" in (REPOSITORY / "docs" / "operations.md").read_text()
