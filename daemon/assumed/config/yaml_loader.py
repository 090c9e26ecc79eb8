"""YAML text as plain values, and the line of each: every scalar stays the text that was written.

YAML would make a number of the external id `0123`, a truth of the profile name `no` and a date of
a policy's version. What a text means is for the shape to say, which knows what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Keys and positions from the top: `("profiles", "deploy", "tags", "team")`."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN = {
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "map", "seq")
}
# A thousand roles are some 10,000; aliases of aliases are the quick way to more memory than there
# is.
_MOST_VALUES = 200_000


@dataclass(frozen=True, slots=True)
class LocatedProblem:
    """One mistake; `where` is empty where it is the file's as a whole."""

    line: int
    where: Path
    text: str


class YamlDocument:
    """A parsed file: `value` is made of dict, list, str and None (nothing written).

    Args:
        text: the whole file.
    """

    def __init__(self, text: str) -> None:
        self.value: Any = None
        self.problems: list[LocatedProblem] = []
        self._lines: dict[Path, int] = {}
        self._count = 0
        try:
            self._compose(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line if mark else 0
            self.problems.append(LocatedProblem(line + 1, (), _syntax(text, line, error)))
        except RecursionError:
            self.problems.append(
                LocatedProblem(1, (), "brackets in brackets, too many: take some away")
            )
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            self.problems.append(
                LocatedProblem(line + 1, (), "a character that YAML does not allow")
            )

    def line(self, path: Path) -> int:
        """Return the line of the key or entry at `path`, or of the nearest thing above it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _compose(self, text: str) -> None:
        try:
            nodes = list(yaml.compose_all(text, Loader=_LOADER))
        except yaml.MarkedYAMLError:
            # libyaml is ten times as fast, and words its complaints otherwise.
            nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        if not nodes or nodes[0] is None:
            return
        if len(nodes) > 1:
            line = nodes[1].start_mark.line + 1
            self._add(line, (), "a second document: take the `---` away, all belongs into one")
        self._lines[()] = nodes[0].start_mark.line + 1
        self.value = self._plain(nodes[0], (), ())

    def _add(self, line: int, where: Path, text: str) -> None:
        self.problems.append(LocatedProblem(line, where, text))

    def _plain(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> Any:
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > _MOST_VALUES:
            if self._count == _MOST_VALUES + 1:
                self._add(
                    line, path, f"over {_MOST_VALUES:,} values: write fewer aliases (`*name`)"
                )
            return None
        if any(node is outer for outer in above):
            self._add(line, path, "an alias of something that it is itself a part of: remove it")
            return None
        if node.tag not in _PLAIN:
            self._add(line, path, "a YAML tag (`!name`): there are none in this file, remove it")
            return None
        inner = (*above, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inner)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._entry(item, (*path, index), inner) for index, item in enumerate(node.value)
            ]
        return None if node.tag == _NULL else node.value

    def _entry(self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> Any:
        self._lines[path] = node.start_mark.line + 1
        return self._plain(node, path, above)

    def _mapping(
        self, node: yaml.MappingNode, path: Path, above: tuple[yaml.Node, ...]
    ) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                for other in self._merged(value, path, above):
                    merged = other | merged
            elif not isinstance(key, yaml.ScalarNode):
                self._add(line, path, "a key has to be a word: `key: value`")
            elif key.value in own:
                what = f"profile {key.value}" if path == ("profiles",) else key.value
                self._add(
                    line,
                    (*path, key.value),
                    f"a second {what}; the first is in line {first[key.value]}: remove one",
                )
            else:
                where = (*path, key.value)
                self._lines[where] = first[key.value] = line
                own[key.value] = self._plain(value, where, above)
        return merged | own

    def _merged(
        self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]
    ) -> Iterable[dict[str, Any]]:
        found = self._plain(node, path, above)
        for each in found if isinstance(found, list) else [found]:
            if isinstance(each, dict):
                yield each
            else:
                self._add(node.start_mark.line + 1, path, "`<<` takes an alias of a mapping")


def _syntax(text: str, line: int, error: yaml.MarkedYAMLError) -> str:
    lines = text.splitlines()
    if line < len(lines) and "\t" in lines[line]:
        return "a tab: YAML is indented by spaces, replace it by spaces"
    return f"this is no YAML: {error.problem}: mend the line, or the one above it"
