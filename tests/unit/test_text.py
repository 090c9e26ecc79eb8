from __future__ import annotations

import ast
from datetime import timedelta

import pytest

from assumed import text
from assumed.config.fields import parse_duration
from assumed.text import (
    duration_literal,
    format_duration,
    join_words,
    printable,
    printable_lines,
    truncate,
)
from tests.repository import REPOSITORY


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0s"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (2699, "44m"),
        (3600, "1h00m"),
        (7500, "2h05m"),
        (129_600, "36h00m"),
    ],
)
def test_format_duration_rounds_down_to_two_units(seconds: float, expected: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize("literal", ["0m", "1s", "90s", "15m", "1h", "1h30m", "36h"])
def test_duration_literal_is_what_the_configuration_accepts(literal: str) -> None:
    assert duration_literal(parse_duration(literal)) == literal


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_join_words_lists_words_as_a_sentence_does(words: list[str], expected: str) -> None:
    assert join_words(words) == expected


def test_truncate_keeps_the_length_and_marks_the_cut() -> None:
    assert truncate("x" * 80, 80) == "x" * 80
    assert truncate("x" * 81, 80) == "x" * 79 + "…"


def test_printable_escapes_what_controls_a_terminal() -> None:
    assert printable("é a\x1b]0;title\x07\nb\u202e") == r"é a\x1b]0;title\x07\nb\u202e"
    assert printable_lines("a\x1b[2J\nb\n") == "a\\x1b[2J\nb"


def test_the_module_imports_nothing_at_run_time() -> None:
    tree = ast.parse((REPOSITORY / "daemon/assumed/text.py").read_text())
    assert not [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert text.TYPE_CHECKING is False
