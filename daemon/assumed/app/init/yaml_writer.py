"""Text as lines of YAML that mean it: what `init` writes is for people, and no serializer's."""

from __future__ import annotations

import re
import textwrap

# Plain YAML that is this very text to every parser, and to people.
_PLAIN = re.compile(r"[A-Za-z/](?:[\w+=,.@:/-]*[\w+=@/-])?", re.ASCII)
_NOT_PLAIN = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_WIDTH = 100


def comment(text: str, *, indent: str = "") -> list[str]:
    """Return the lines of a comment that holds the text, whatever that is."""
    # A command stays on one of the lines.
    whole = re.sub(r"`[^`]*`", lambda found: found[0].replace(" ", "\0"), remark(text))
    lines = textwrap.wrap(
        whole,
        _WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]


def remark(text: str) -> str:
    """Return the text as it may stand behind a `#`, whatever that is: YAML has many line ends."""
    return "".join(character if character.isprintable() else " " for character in text)


def scalar(text: str) -> str:
    """Return the text as YAML that means it, on one line."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NOT_PLAIN:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
