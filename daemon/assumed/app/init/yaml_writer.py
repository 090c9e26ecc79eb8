"""YAML text for people: comments and scalars that keep their value, without a serializer."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence

# A plain scalar that every YAML parser reads as this very text.
_PLAIN = re.compile(r"[A-Za-z/](?:[\w+=,.@:/-]*[\w+=@/-])?", re.ASCII)
_NOT_PLAIN = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_WIDTH = 100


def comment(text: str, *, indent: str = "") -> list[str]:
    """Return the lines of a comment with any text."""
    # A command in backticks is not broken.
    unbroken = re.sub(r"`[^`]*`", lambda found: found[0].replace(" ", "\0"), inline_comment(text))
    lines = textwrap.wrap(
        unbroken,
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]


def inline_comment(text: str) -> str:
    """Return any text so that it can follow a `#`: YAML has many characters that end a line."""
    return "".join(character if character.isprintable() else " " for character in text)


def scalar(text: str) -> str:
    """Return any text as a YAML scalar on one line."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_PLAIN:
        return text
    return _quoted(text)


def flow(value: str | Sequence[str] | Mapping[str, str]) -> str:
    """Return a text, or a list or mapping of texts, as YAML on one line."""
    if isinstance(value, str):
        return scalar(value)
    if isinstance(value, Mapping):
        pairs = (f"{_in_flow(key)}: {_in_flow(text)}" for key, text in value.items())
        return f"{{{', '.join(pairs)}}}"
    return f"[{', '.join(map(_in_flow, value))}]"


def _in_flow(text: str) -> str:
    # A comma ends a plain scalar there.
    return scalar(text) if "," not in text else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
