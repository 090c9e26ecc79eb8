"""Text edits of the configuration file: add a definition, remove one that `adopt` added.

Comments and formatting of everything else stay. Each edit is verified: the result parses, and only
this definition differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from assumed.config.yaml_loader import YamlDocument
from assumed.errors import ConfigurationError

ADOPTED_COMMENT = "# Adopted by `assumed adopt`; `assumed release` removes it."
"""The line above a definition that `adopt` added."""

_BOM = "\ufeff"


class _Block(NamedTuple):
    """Where the definitions are: the column of their names, and each one's first character."""

    mapping: yaml.MappingNode
    column: int


def new_configuration(definitions: Sequence[Sequence[str]]) -> str:
    """Return the text of a configuration file with these definitions.

    Args:
        definitions: the lines of each, of which the first is `NAME:`.
    """
    text = "# Written by `assumed adopt`.\nprofiles:\n"
    for lines in definitions:
        text += "\n" + "".join(f"  {line}\n" for line in (ADOPTED_COMMENT, *lines))
    return text


def add_definition(data: bytes, lines: Sequence[str], name: str, *, path: Path) -> bytes:
    """Return the configuration file with one more definition, after the others.

    Args:
        data: the whole file.
        lines: of the definition, without indentation of the first, which is `NAME:`.
        name: the NAME in it.
        path: for messages.

    Raises:
        ConfigurationError: the file is not written in a way that this can edit.
    """
    text = data.decode()
    block = _block(text)
    if block is None or any(key.value == name for key, _ in block.mapping.value):
        raise _not_editable(path, lines)
    at = _content_end(text, block.mapping.end_mark.index, block.column)
    end = "\r\n" if "\r\n" in text[: text.find("\n") + 1] else "\n"
    indent = " " * block.column
    added = "".join(f"{indent}{line}{end}" for line in (ADOPTED_COMMENT, *lines))
    before = text[:at] if text[:at].endswith("\n") else f"{text[:at]}{end}"
    result = f"{before}{end}{added}{text[at:]}"
    expected = _value(text)
    found = _value(result)
    if not isinstance(found, dict) or name not in found.get("profiles", {}):
        raise _not_editable(path, lines)
    del found["profiles"][name]
    if found != expected or list(found["profiles"]) != list(expected["profiles"]):
        raise _not_editable(path, lines)
    return result.encode()


def remove_definition(data: bytes, name: str, *, path: Path) -> bytes | None:
    """Return the configuration file without a definition that `adopt` added.

    Args:
        data: the whole file.
        name: of the definition.
        path: for messages.

    Returns:
        None if nothing remains but the lines of `new_configuration`: then the file can go.

    Raises:
        ConfigurationError: the definition is the only one, or others refer to it.
    """
    text = data.decode()
    block = _block(text)
    node = (
        None
        if block is None
        else next((node for node in block.mapping.value if node[0].value == name), None)
    )
    if block is None or node is None or not is_adopted_definition(data, name):
        raise ConfigurationError(
            [f"{path}: definition {name} was not added by `assumed adopt`, so it stays"],
            hint="remove it from the file yourself",
        )
    start = text.rfind("\n", 0, _line_start(text, node[0].start_mark.index) - 1) + 1
    blank = _line_start(text, start - 1)
    if not text[blank:start].strip():
        start = blank
    end = _content_end(text, node[1].end_mark.index, block.column + 1)
    result = text[:start] + text[end:]
    if len(block.mapping.value) == 1:
        if result in new_configuration(()):
            return None
        raise ConfigurationError(
            [f"{path}: {name} is the only definition, and a configuration needs one"],
            hint=f"remove {path} if you need it no more, and run the command again",
        )
    expected = _value(text)
    del expected["profiles"][name]
    if _value(result) != expected:
        raise ConfigurationError(
            [f"{path}: definition {name} cannot be removed without changing another one"],
            hint="remove it from the file yourself, and what refers to it",
        )
    return result.encode()


def is_adopted_definition(data: bytes, name: str) -> bool:
    """Whether the configuration file has a definition that `adopt` added."""
    text = data.decode()
    block = _block(text)
    for key, _ in () if block is None else block.mapping.value:
        if key.value == name:
            start = _line_start(text, key.start_mark.index)
            above = text[_line_start(text, start - 1) : start]
            return above.strip() == ADOPTED_COMMENT
    return False


def _block(text: str) -> _Block | None:
    """Return the mapping of definitions, or None if it is not a block with a line for each key."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    if text.startswith(_BOM) or not isinstance(root, yaml.MappingNode):
        return None
    for key, value in root.value:
        if key.value == "profiles" and isinstance(value, yaml.MappingNode) and value.value:
            is_block = not root.flow_style and not value.flow_style
            return _Block(value, value.value[0][0].start_mark.column) if is_block else None
    return None


def _content_end(text: str, end: int, column: int) -> int:
    """Return the index after the last line of a block, without blank lines and comments after it.

    Args:
        text: the whole file.
        end: the index of what follows the block.
        column: comments at this column or further right belong to the block.
    """
    at = end if end == len(text) else _line_start(text, end)
    while at > 0:
        start = _line_start(text, at - 1) if text[at - 1] == "\n" else _line_start(text, at)
        line = text[start:at]
        indent = len(line) - len(line.lstrip(" "))
        if line.strip() and not (line.lstrip().startswith("#") and indent < column):
            break
        at = start
    return at


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _value(text: str) -> Any:
    document = YamlDocument(text)
    return None if document.problems else document.value


def _not_editable(path: Path, lines: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        [f"{path}: no definition can be added to this file automatically"],
        hint="write `profiles:` and each profile below it on lines of their own, or add it "
        "yourself:\n" + "\n".join(f"  {line}" for line in lines),
    )
