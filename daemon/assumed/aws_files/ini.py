"""The lines of a credentials file, and what they say by the rules of botocore's parser."""

from __future__ import annotations

import re
from typing import NoReturn

from assumed.errors import CredentialsFileMalformedError

DEFAULTS = "DEFAULT"
"""The section whose keys show in every other one (configparser)."""


class Option:
    """A key of a section; `end` is the index behind the last line that continues its value."""

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
    """The lines of a file, each with its carriage return but not its line feed, and what they say.

    The last line is empty where the file ends in a line feed, so that joining the lines with line
    feeds always gives the file back.

    Args:
        data: the whole file.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: botocore can't read the file either, or other SDKs could not
            read it the same way.
    """

    def __init__(self, data: bytes, path: str) -> None:
        self.path = path
        self.lines: list[str] = self._decode(data).split("\n")
        self.sections: dict[str, Section] = {}
        self._parse()

    def values(self) -> dict[str, dict[str, str]]:
        """Return the values by section and key, `[DEFAULT]` among them."""
        return {name: section.values() for name, section in self.sections.items()}

    def _malformed(self, index: int, problem: str, mend: str) -> NoReturn:
        raise CredentialsFileMalformedError(
            path=self.path, line=index + 1, problem=problem, hint=mend
        ) from None

    def _decode(self, data: bytes) -> str:
        if data.startswith(b"\xef\xbb\xbf"):
            self._malformed(
                0,
                "the file begins with a byte order mark",
                "save it as UTF-8 without BOM: no AWS tool that uses botocore can read it",
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
                "a carriage return with no line feed behind it",
                "replace it by a line end: AWS SDKs differ about what it means",
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
            # Two characters at least, and whatever stands behind the last bracket is ignored.
            if first == "[" and (close := stripped.rfind("]")) > 1:
                section = self._section(index, stripped[1:close])
                options = section.options
                option = None
                continue
            if section is None:
                self._malformed(
                    index,
                    "a line before the first [section]",
                    "put the name of its profile, like [default], above it, or make it a comment",
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
                f"a second section [{name}]; the first is in line {section.line + 1}",
                "make one of the two, or rename one",
            )
        return section

    def _option(self, index: int, stripped: str, options: dict[str, Option]) -> Option:
        equals, colon = stripped.find("="), stripped.find(":")
        delimiter = equals if colon < 0 or 0 <= equals < colon else colon
        if delimiter <= 0:
            # The line itself may be a secret: it stays out of the message.
            self._malformed(
                index,
                "a line that is no `key = value`",
                "complete it, remove it, or make it a comment with a # in front",
            )
        key = stripped[:delimiter].rstrip().lower()
        if key in options:
            self._malformed(
                index,
                f"{_shown(key)} a second time in its section; the first is in line "
                f"{options[key].line + 1}",
                "remove one of the two lines (capitals and small letters are the same here)",
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
                    "a nested block with a line that is no `key = value`",
                    "complete the indented lines below, or remove them",
                )


def _shown(key: str) -> str:
    """Return the key as it may be shown: a line put together wrongly can begin with a secret."""
    return f"the key {key}" if re.fullmatch(r"[a-z_]{1,40}", key) else "a key"
