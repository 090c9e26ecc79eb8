"""YAML as plain values with line numbers; every scalar stays the text that was written.

YAML would read the external ID `0123` as a number, the profile name `no` as a boolean and the
version of a policy as a date. The schema decides what a text means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top level: `("profiles", "deploy", "tags", "team")`."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "map", "seq")
}
# A thousand roles are some 10,000 values. Aliases of aliases could exhaust the memory.
_MAX_VALUES = 200_000


@dataclass(frozen=True, slots=True)
class LocatedProblem:
    """A problem with its line; `where` is empty if it concerns the whole file."""

    line: int
    where: KeyPath
    text: str


class YamlDocument:
    """A parsed file: `value` consists of dict, list, str and None (no value).

    Args:
        text: the content of the file.
    """

    def __init__(self, text: str) -> None:
        self.value: Any = None
        self.problems: list[LocatedProblem] = []
        self._lines: dict[KeyPath, int] = {}
        self._count = 0
        try:
            self._compose(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line if mark else 0
            self.problems.append(LocatedProblem(line + 1, (), _syntax_problem(text, line, error)))
        except RecursionError:
            self.problems.append(LocatedProblem(1, (), "too many nested brackets"))
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            self.problems.append(LocatedProblem(line + 1, (), "YAML does not allow this character"))

    def line(self, path: KeyPath) -> int:
        """Return the line of the key or entry at `path`, or of the nearest one above it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def has(self, path: KeyPath) -> bool:
        """Return whether the file has a key or entry at `path`, not only one above it."""
        return path in self._lines

    def _compose(self, text: str) -> None:
        try:
            nodes = list(yaml.compose_all(text, Loader=_LOADER))
        except yaml.MarkedYAMLError:
            # libyaml is ten times as fast, but its messages differ from those of the other loader.
            nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        if not nodes or nodes[0] is None:
            return
        if len(nodes) > 1:
            line = nodes[1].start_mark.line + 1
            self._add(line, (), "a second YAML document: remove the `---` that begins it")
        self._lines[()] = nodes[0].start_mark.line + 1
        self.value = self._to_python(nodes[0], (), ())

    def _add(self, line: int, where: KeyPath, text: str) -> None:
        self.problems.append(LocatedProblem(line, where, text))

    def _to_python(self, node: yaml.Node, path: KeyPath, ancestors: tuple[yaml.Node, ...]) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > _MAX_VALUES:
            if self._count == _MAX_VALUES + 1:
                self._add(
                    line, path, f"more than {_MAX_VALUES:,} values: use fewer aliases (`*name`)"
                )
            return None
        if any(node is outer for outer in ancestors):
            self._add(line, path, "an alias of a value that contains it: remove it")
            return None
        if node.tag not in _PLAIN:
            self._add(line, path, "YAML tags (`!name`) are not supported: remove it")
            return None
        ancestors = (*ancestors, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, ancestors)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._entry(item, (*path, index), ancestors)
                for index, item in enumerate(node.value)
            ]
        return None if node.tag == _NULL else node.value

    def _entry(self, node: yaml.Node, path: KeyPath, ancestors: tuple[yaml.Node, ...]) -> Any:
        self._lines[path] = node.start_mark.line + 1
        return self._to_python(node, path, ancestors)

    def _mapping(
        self, node: yaml.MappingNode, path: KeyPath, ancestors: tuple[yaml.Node, ...]
    ) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                for other in self._merge_values(value, path, ancestors):
                    merged = other | merged
            elif not isinstance(key, yaml.ScalarNode):
                self._add(line, path, "a key must be a word, as in `key: value`")
            elif key.value in own:
                kind = "profile" if path == ("profiles",) else "key"
                self._add(
                    line,
                    (*path, key.value),
                    f"duplicate {kind}, first defined in line {first[key.value]}: remove one",
                )
            else:
                where = (*path, key.value)
                self._lines[where] = first[key.value] = line
                own[key.value] = self._to_python(value, where, ancestors)
        return merged | own

    def _merge_values(
        self, node: yaml.Node, path: KeyPath, ancestors: tuple[yaml.Node, ...]
    ) -> Iterable[dict[str, Any]]:
        found = self._to_python(node, path, ancestors)
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, dict):
                yield each
            else:
                self._add(node.start_mark.line + 1, path, "`<<` requires an alias of a mapping")


def _syntax_problem(text: str, line: int, error: yaml.MarkedYAMLError) -> str:
    lines = text.splitlines()
    if line < len(lines) and "\t" in lines[line]:
        return "YAML does not allow tabs: use spaces"
    return f"invalid YAML: {error.problem} (check this line and the one above)"
