"""The AWS files as the other two families of SDKs read them; `ini` has the rules of botocore.

The JavaScript SDK has rules of its own. The SDKs for Rust, Java, Kotlin and C share theirs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, unique

from assumed.aws_files.ownership import LEGACY_TOKEN, MANAGED_KEYS

Sections = Mapping[str, Mapping[str, tuple[str, int]]]
"""Sections as an SDK reads them: by name and key, the value and the index of its line."""

# `str.strip` also strips the separators 0x1c to 0x1f and 0x85, and not the byte order mark.
_SPACES = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_COMMENT = re.compile(rf"(?:^|[{_SPACES}])[#;]")
_TWO_WORDS = re.compile(
    rf"(?P<kind>[\w-]+)[{_SPACES}](?P<quote>[\"'])?(?P<name>[\w@+.%:/-]+)(?(quote)(?P=quote))",
    re.ASCII,
)
_KINDS = frozenset(("profile", "sso-session", "services"))


def read_like_javascript(
    lines: Sequence[str], wanted: Collection[str]
) -> dict[str, dict[str, tuple[str, int]]]:
    """Return sections as the JavaScript SDK reads them: by key, the value and its line's index.

    Unlike in botocore, a comment ends a value, sections with the same name are merged, keys are
    case-sensitive, and an indented line is a separate key or belongs to the last key without a
    value.

    Args:
        lines: the lines of the file.
        wanted: the sections whose keys are read; the other sections are returned empty.

    Source: @smithy/shared-ini-file-loader, parseIni.
    """
    sections: dict[str, dict[str, tuple[str, int]]] = {}
    section: dict[str, tuple[str, int]] | None = None
    parent = ""
    for index, line in enumerate(lines):
        if section is None and "[" not in line:
            continue
        text = line.strip(_SPACES)
        if ("#" in text or ";" in text) and (comment := _COMMENT.search(text)):
            text = text[: comment.start()].strip(_SPACES)
        if text.startswith("[") and text.endswith("]"):
            name, parent = _section_name(text[1:-1]), ""
            section = None if name is None else sections.setdefault(name, {})
            if name not in wanted:
                section = None
        elif section is not None and (equals := text.find("=")) > 0:
            key, value = text[:equals].rstrip(_SPACES), text[equals + 1 :].lstrip(_SPACES)
            if not value:
                parent = key
                continue
            if line[0] not in _SPACES:
                parent = ""
            section[f"{parent}.{key}" if parent else key] = (value, index)
    return sections


def _section_name(header: str) -> str | None:
    """Return the name of the section under a header, or None if the SDK ignores the section."""
    words = _TWO_WORDS.fullmatch(header)
    if words is None:
        return header
    return f"{words['kind']}.{words['name']}" if words["kind"] in _KINDS else None


def first_divergent_key(profile: str, values: Mapping[str, str], sections: Sections) -> str | None:
    """Return the first managed key that an SDK reads differently from botocore, or None."""
    section = sections.get(profile, {})
    for key in MANAGED_KEYS:
        if key not in section or section[key][0] != values[key]:
            return key
    return LEGACY_TOKEN if LEGACY_TOKEN in section else None


# What the shared rules call whitespace, and the names that they accept.
_BLANKS = " \t"
_VALUE_COMMENT = re.compile(r"(?<=\s)[#;]")
_HEADER_COMMENT = re.compile(r"[#;]")
_SECTION_KIND = re.compile(r"(?:profile|sso-session|services)[ \t]+")
_IDENTIFIER = re.compile(r"[\w./%@:+-]+", re.ASCII)


@unique
class SharedReader(Enum):
    """The two kinds of SDKs with the shared rules, which reject different lines."""

    STRICT = ("Rust", "Java", "Kotlin")
    LENIENT = ("C (CRT)",)


_STRICT = (SharedReader.STRICT,)
_LENIENT = (SharedReader.LENIENT,)
_BOTH = tuple(SharedReader)


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line because of which some SDKs cannot read a file.

    Args:
        index: of the line.
        problem: what they do not accept, such as `an indented line below a header`.
        fix: what to do with the line.
    """

    index: int
    problem: str
    fix: str


@dataclass(frozen=True, slots=True)
class SharedReading:
    """A file by the shared rules.

    Args:
        sections: by the text of their headers; without the rejected lines, as the SDK for C reads
            a file when it can.
        rejected: the first line that each kind of SDK rejects, with the whole file.
    """

    sections: Sections
    rejected: Mapping[SharedReader, RejectedLine]


def read_like_shared_sdks(lines: Sequence[str], wanted: Collection[str] | None) -> SharedReading:
    """Read a file by the rules that the SDKs for Rust, Java, Kotlin and C share.

    Unlike in botocore, an indented line always continues the key above it, even if it is a comment
    or a header. Sections with the same name are merged, and only `=` separates a key from its
    value. A line that is none of these makes the whole file unreadable.

    Args:
        lines: the lines of the file.
        wanted: the sections whose keys are read, the others are left out; None for all.

    Source: smithy-rs, aws-runtime/src/env_config/parse.rs; aws-c-sdkutils, source/aws_profile.c.
    """
    reader = _LineReader(wanted)
    for index, ended in enumerate(lines):
        line = ended.removesuffix("\r")
        if line.startswith(("#", ";")) or not line.strip(_BLANKS):
            continue
        if line[0] == "[":
            reader.read_header(index, line)
        elif line[0] in _BLANKS:
            reader.read_indented(index, line.strip(_BLANKS))
        else:
            reader.read_key(index, line)
    return SharedReading(reader.sections, reader.rejected)


class _LineReader:
    """Reads lines one after the other, and keeps the first one that each kind of SDK rejects."""

    def __init__(self, wanted: Collection[str] | None) -> None:
        self.sections: dict[str, dict[str, tuple[str, int]]] = {}
        self.rejected: dict[SharedReader, RejectedLine] = {}
        self._wanted = wanted
        self._header: str | None = None
        self._section: dict[str, tuple[str, int]] = {}
        self._key: str | None = None

    def read_header(self, index: int, line: str) -> None:
        self._key = None
        text = _without_comment(line, _HEADER_COMMENT)
        self._header = text[1:].partition("]")[0].strip(_BLANKS)
        is_wanted = self._wanted is None or self._header in self._wanted
        self._section = self.sections.setdefault(self._header, {}) if is_wanted else {}
        if "]" not in text:
            self._reject(
                index, "a header without `]`", "remove the `#` or `;` from the name", _BOTH
            )
        elif not text.endswith("]"):
            problem, fix = "text behind a header", "remove the text behind the bracket"
            self._reject(index, problem, fix, _STRICT)

    def read_indented(self, index: int, text: str) -> None:
        is_comment = text[0] in "#;"
        kind = "an indented comment" if is_comment else "an indented line"
        fix = "remove the indentation of this line"
        if self._header is None:
            self._reject(index, f"{kind} above the first header", fix, _BOTH)
        elif self._key is None:
            self._reject(index, f"{kind} with no key above it", fix, _BOTH)
        else:
            value, line = self._section[self._key]
            is_nested = value == "" or value.startswith("\n")
            name, equals, _ = _without_comment(text, _VALUE_COMMENT).partition("=")
            if is_nested and not (equals and name.strip(_BLANKS)):
                fix = "remove it" if is_comment else "complete it, or remove it"
                problem = f"{kind} in a nested block that is not `key = value`"
                self._reject(index, problem, fix, _BOTH)
            elif not _is_identifier(self._key) or not self._is_in_known_section():
                problem = f"{kind} below a name that is not only letters, digits and -_./%@:+"
                self._reject(index, problem, fix, _LENIENT)
            self._section[self._key] = (f"{value}\n{text}", line)

    def read_key(self, index: int, line: str) -> None:
        self._key = None
        text = _without_comment(line, _VALUE_COMMENT)
        key, equals, value = text.partition("=")
        key = key.rstrip(_BLANKS).lower()
        if not equals or not key:
            kinds = _BOTH if _is_identifier(key) or not key else _STRICT
            self._reject(index, "a line that is not `key = value`", "write it with `=`", kinds)
        elif self._header is None:
            self._reject(index, "a line above the first header", "move or remove it", _BOTH)
        else:
            self._key = key
            self._section[key] = (value.strip(_BLANKS), index)

    def _is_in_known_section(self) -> bool:
        return _is_identifier(_SECTION_KIND.sub("", self._header or "", count=1))

    def _reject(self, index: int, problem: str, fix: str, by: tuple[SharedReader, ...]) -> None:
        for kind in by:
            self.rejected.setdefault(kind, RejectedLine(index, problem, fix))


def _without_comment(text: str, comment: re.Pattern[str]) -> str:
    found = comment.search(text)
    return (text[: found.start()] if found else text).strip(_BLANKS)


def _is_identifier(text: str) -> bool:
    return _IDENTIFIER.fullmatch(text) is not None


def first_misread_key(
    profile: str, values: Mapping[str, str], reading: SharedReading
) -> str | None:
    """Return the first managed key that the shared rules read with another value, or None.

    In a file that all these SDKs reject, they misread nothing.
    """
    if len(reading.rejected) == len(SharedReader):
        return None
    return first_divergent_key(profile, values, reading.sections)
