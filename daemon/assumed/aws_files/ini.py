"""The lines of an AWS file, and the sections and keys in them by the rules of botocore's parser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from assumed.errors import CredentialsFileMalformedError

DEFAULTS = "DEFAULT"
"""The section whose keys every other section inherits (configparser)."""


class Option:
    """A key of a section; `end` is the index after the last line that continues its value."""

    __slots__ = ("end", "line", "value")

    def __init__(self, line: int, value: str) -> None:
        self.line, self.end, self.value = line, line + 1, value


class Section:
    """A section; `line` is the index of its header."""

    __slots__ = ("line", "options")

    def __init__(self, line: int) -> None:
        self.line = line
        self.options: dict[str, Option] = {}

    def values(self) -> dict[str, str]:
        """Return the values by key."""
        return {key: option.value for key, option in self.options.items()}


class IniDocument:
    """The lines of a file and the sections in them.

    A line has its carriage return but not its line feed. The last line is empty if the file ends
    with a line feed. So joining the lines with line feeds always gives the file.

    Args:
        data: the whole file.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: botocore cannot read the file either, or other SDKs could
            interpret it differently.
    """

    def __init__(self, data: bytes, path: str) -> None:
        self.path = path
        self.lines: list[str] = self._decode(data).split("\n")
        self.sections: dict[str, Section] = {}
        self._parse()

    def values(self) -> dict[str, dict[str, str]]:
        """Return the values by section and key; `[DEFAULT]` is one of the sections."""
        return {name: section.values() for name, section in self.sections.items()}

    def inherited_options(self) -> dict[str, dict[str, Option]]:
        """Return the keys of each section, including those that it inherits from `[DEFAULT]`."""
        defaults = self.sections.get(DEFAULTS, Section(0)).options
        return {
            name: defaults | section.options
            for name, section in self.sections.items()
            if name != DEFAULTS
        }

    def _malformed(self, index: int, problem: str, hint: str) -> NoReturn:
        raise CredentialsFileMalformedError(
            path=self.path, line=index + 1, problem=problem, hint=hint
        ) from None

    def _decode(self, data: bytes) -> str:
        if data.startswith(b"\xef\xbb\xbf"):
            self._malformed(
                0,
                "the file begins with a byte order mark",
                "save it as UTF-8 without a byte order mark (BOM): botocore cannot read one",
            )
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            self._malformed(
                data.count(b"\n", 0, error.start),
                "a byte that is not UTF-8",
                "save the file as UTF-8, or remove the character",
            )
        if (nul := text.find("\0")) >= 0:
            self._malformed(
                text.count("\n", 0, nul), "a NUL character", "remove it: the file may be damaged"
            )
        if text.count("\r") != text.count("\r\n"):
            lone = re.search(r"\r(?!\n)", text)
            self._malformed(
                text.count("\n", 0, lone.start() if lone else 0),
                "a carriage return without a line feed",
                "replace it with a line feed: AWS SDKs interpret it differently",
            )
        return text

    def _parse(self) -> None:
        section: Section | None = None
        options: dict[str, Option] = {}
        option: Option | None = None
        option_indent = 0
        blanks = 0
        continued: dict[int, tuple[Option, list[str]]] = {}
        for index, line in enumerate(self.lines):
            stripped = line.strip()
            if not stripped:
                blanks += 1
                continue
            first = stripped[0]
            if first in "#;":
                continue
            indent = 0 if line[0] == first else len(line) - len(line.lstrip())
            if option is not None and indent > option_indent:
                parts = continued.setdefault(option.line, (option, [option.value]))[1]
                parts += [""] * blanks
                parts.append(stripped)
                option.end = index + 1
                blanks = 0
                continue
            blanks = 0
            option_indent = indent
            # At least two characters; botocore ignores what follows the last bracket.
            if first == "[" and (close := stripped.rfind("]")) > 1:
                section = self._section(index, stripped[1:close])
                options = section.options
                option = None
                continue
            if section is None:
                self._malformed(
                    index,
                    "a line before the first [section]",
                    "write the header of its profile, such as [default], above it, or comment it "
                    "out",
                )
            option = self._option(index, stripped, options)
        for option, parts in continued.values():
            option.value = "\n".join(parts).rstrip()
            self._check_nested(option)

    def _section(self, index: int, name: str) -> Section:
        section = self.sections.get(name)
        if section is None:
            section = self.sections[name] = Section(index)
        elif name != DEFAULTS:
            self._malformed(
                index,
                f"duplicate section [{name}]; the first is on line {section.line + 1}",
                "merge the two sections, or rename one of them",
            )
        return section

    def _option(self, index: int, stripped: str, options: dict[str, Option]) -> Option:
        equals, colon = stripped.find("="), stripped.find(":")
        delimiter = equals if colon < 0 or 0 <= equals < colon else colon
        if delimiter <= 0:
            # The line itself may be a secret: it stays out of the message.
            self._malformed(
                index,
                "a line that is not `key = value`",
                "complete it, remove it, or comment it out with #",
            )
        key = stripped[:delimiter].rstrip().lower()
        if key in options:
            self._malformed(
                index,
                f"duplicate {_displayed_key(key)} in this section; the first is on line "
                f"{options[key].line + 1}",
                "remove one of the two lines (upper and lower case are the same key)",
            )
        option = options[key] = Option(index, stripped[delimiter + 1 :].strip())
        return option

    def _check_nested(self, option: Option) -> None:
        if not option.value.startswith("\n"):
            return
        for line in option.value.splitlines():
            if line.strip() and "=" not in line:
                self._malformed(
                    option.line,
                    "a nested block has a line that is not `key = value`",
                    "complete the indented lines below it, or remove them",
                )


def read(data: bytes, *, path: str) -> Mapping[str, Mapping[str, str]]:
    """Return the sections as botocore reads them: values by key, in the order of the file.

    A nested block (`s3 =` and its indented lines) is one value that begins with a line feed. Each
    section includes the keys that it inherits from `[DEFAULT]`.

    Args:
        data: the whole file.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: botocore cannot read the file either, or other SDKs could
            interpret it differently (a lone carriage return, a NUL).
    """
    return {
        name: {key: option.value for key, option in options.items()}
        for name, options in IniDocument(data, path).inherited_options().items()
    }


def _displayed_key(key: str) -> str:
    """Return a key for a message; the beginning of a damaged line can be a secret."""
    return f"key {key}" if re.fullmatch(r"[a-z_]{1,40}", key) else "key"
