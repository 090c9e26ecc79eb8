"""Edits of a credentials file: set or remove the managed keys, and keep every other byte.

Pure: bytes in, bytes out. Values are replaced in place, a new key goes after the last managed one,
and a new section to the end of the file. The result is parsed again and must read as intended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from assumed.aws_files.ini import DEFAULTS, IniDocument, Section
from assumed.aws_files.ownership import (
    ADOPTED_MARK,
    EDITED_KEYS,
    LEGACY_TOKEN,
    LONG_TERM_KEYS,
    MANAGED_KEYS,
    MANAGER,
    is_long_term,
    is_managed,
    other_manager,
)
from assumed.aws_files.sdk_dialects import (
    first_divergent_key,
    first_misread_key,
    read_like_javascript,
    read_like_shared_sdks,
)
from assumed.errors import (
    CredentialsFileError,
    ProfileAmbiguousError,
    ProfileNotManagedError,
    UnexpectedError,
)
from assumed.logs import timestamp
from assumed.models import Credentials, is_profile_name

_CREDENTIAL_KEYS = frozenset((*LONG_TERM_KEYS, "aws_session_token", LEGACY_TOKEN))

# The first of `=` and `:` ends the key; the rest of the line is the value, including comments.
_OPTION = re.compile(r"(?P<indent>\s*)(?P<key>[^:=]*?)(?P<delimiter>\s*[:=]\s*)(?P<value>.*)", re.S)
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_UNWRITABLE_VALUE = re.compile(r"[^!-~]|^$")


@dataclass(frozen=True, slots=True)
class SetCredentials:
    """Write these credentials; with `overwrite` also over those that assumed does not manage."""

    credentials: Credentials
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class RemoveCredentials:
    """Remove the managed keys from a managed section, and the section if it is then empty."""


Change = SetCredentials | RemoveCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class EditResult:
    """The result of a set of changes.

    Args:
        data: the new bytes; the old ones if nothing changes.
        rejected: the error of each profile that stays as it was.
        taken_over: the profiles whose temporary credentials, which no tool has marked, are
            managed from now on.
        removed: the profiles whose keys are removed.
        replaced_keys: the long-term keys that are replaced, by profile and key.
    """

    data: bytes = field(repr=False)
    rejected: Mapping[str, CredentialsFileError]
    taken_over: tuple[str, ...]
    removed: tuple[str, ...]
    replaced_keys: Mapping[str, Mapping[str, str]] = field(repr=False)


class Editor:
    """Edits a document, and records how each edited section must read afterwards."""

    def __init__(self, document: IniDocument) -> None:
        self._document = document
        self._lines: list[str | None] = [*document.lines]
        self._appended: list[str] = []
        self._intended: dict[str, dict[str, str] | None] = {}
        self._set: set[str] = set()
        self._taken_over: list[str] = []
        self._removed: list[str] = []
        self._replaced_keys: dict[str, Mapping[str, str]] = {}

    def apply(self, profile: str, change: Change) -> None:
        """Make one change, or raise and leave everything as it was."""
        section = self._document.sections.get(profile)
        if isinstance(change, SetCredentials):
            self._apply_set(profile, section, change)
        elif section is not None and is_managed(section.values()):
            self._apply_remove(profile, section)

    def result(self, rejected: Mapping[str, CredentialsFileError]) -> EditResult:
        """Return the result of the changes made, with the errors of the rejected ones."""
        return EditResult(
            data=self._text().encode(),
            rejected=rejected,
            taken_over=tuple(self._taken_over),
            removed=tuple(self._removed),
            replaced_keys=self._replaced_keys,
        )

    def check(self, after: IniDocument) -> dict[str, CredentialsFileError]:
        """Return an error for each profile set that other SDKs would read differently.

        Raises:
            UnexpectedError: botocore would not read the intended values.
        """
        expected = self._document.values()
        for profile, values in self._intended.items():
            if values is None:
                del expected[profile]
            else:
                expected[profile] = values
        found = after.values()
        if found != expected or list(found) != list(expected):
            raise UnexpectedError(
                f"{after.path}: the edited file would not read as intended",
                hint="the file is unchanged; please report this as a bug",
            )
        read_by_javascript = read_like_javascript(after.lines, self._set)
        reading = read_like_shared_sdks(after.lines, self._set)
        ambiguous: dict[str, CredentialsFileError] = {}
        for profile in self._set:
            values = expected[profile]
            key = first_divergent_key(profile, values, read_by_javascript) or first_misread_key(
                profile, values, reading
            )
            if key is not None:
                ambiguous[profile] = self._ambiguous(profile, key)
        return ambiguous

    def _apply_set(self, profile: str, section: Section | None, change: SetCredentials) -> None:
        if not is_profile_name(profile):
            raise ProfileAmbiguousError(
                f"profile {profile!r}: the AWS SDKs interpret this section name differently",
                hint="choose another name: letters, digits and any of ._-/@+",
            )
        values = _values_of(change.credentials)
        self._reject_inherited_token(profile)
        if section is None:
            if profile in self._js_section_names:
                raise self._ambiguous(profile, "section")
            self._appended += [f"[{profile}]", *(f"{key} = {v}" for key, v in values.items())]
            self._intended[profile] = values
        else:
            self._reject_continued(profile, section)
            self._reject_header_inside(profile, section)
            old = section.values()
            if not change.overwrite:
                self._reject_foreign(profile, section, old)
            self._replace(section, values)
            self._intended[profile] = {
                key: value for key, value in (old | values).items() if key != LEGACY_TOKEN
            }
            if is_long_term(old):
                self._replaced_keys[profile] = {k: old[k] for k in LONG_TERM_KEYS if k in old}
            elif not is_managed(old) and not _CREDENTIAL_KEYS.isdisjoint(old):
                self._taken_over.append(profile)
        self._set.add(profile)

    @cached_property
    def _js_section_names(self) -> frozenset[str]:
        return frozenset(name.strip() for name in read_like_javascript(self._document.lines, ()))

    def _replace(self, section: Section, values: Mapping[str, str]) -> None:
        anchor: int | None = None
        for key, option in section.options.items():
            if key == LEGACY_TOKEN:
                self._lines[option.line] = None
            elif key in values:
                anchor = option.line
                self._lines[anchor] = _with_value(self._document.lines[anchor], key, values[key])
        missing = [key for key in values if key not in section.options]
        if missing:
            if anchor is None:
                anchor, indent = self._place_below(section.line)
            else:
                indent = _indent(self._document.lines[anchor])
            self._insert(anchor, [f"{indent}{key} = {values[key]}" for key in missing])

    def _place_below(self, header: int) -> tuple[int, str]:
        """Return the line after which a section's first keys go, and their indentation.

        No line around them continues a value then.
        """
        anchor = header
        for index in range(header + 1, len(self._document.lines)):
            line = self._document.lines[index]
            if _is_indented_comment(line):
                anchor = index
            elif line.strip() and line.lstrip()[0] not in "#;":
                return anchor, _indent(line)
        return anchor, ""

    def _insert(self, index: int, added: list[str]) -> None:
        line = self._lines[index]
        is_last = index == len(self._lines) - 1
        if is_last:
            line = f"{line}{self._line_end()}"
            added = self._with_line_ends(added, except_last=True)
        elif self._document.lines[index].endswith("\r"):
            added = [f"{new}\r" for new in added]
        self._lines[index] = "\n".join([str(line), *added])

    def _apply_remove(self, profile: str, section: Section) -> None:
        self._reject_continued(profile, section)
        self._reject_header_inside(profile, section)
        if not _is_header_for_javascript(self._document.lines[section.line]):
            raise self._ambiguous(profile, "section")
        values = section.values()
        kept = set(LONG_TERM_KEYS) if is_long_term(values) else set()
        removed = EDITED_KEYS - kept
        for key in removed & values.keys():
            self._lines[section.options[key].line] = None
        remaining = {key: value for key, value in values.items() if key not in removed}
        self._intended[profile] = remaining
        if not remaining and self._is_removable(profile, section):
            self._lines[section.line] = None
            self._intended[profile] = None
        self._removed.append(profile)

    def _is_removable(self, profile: str, section: Section) -> bool:
        """Whether the section has no comments, and no other line depends on its header."""
        lines = self._document.lines
        end = max(option.end for option in section.options.values())
        own = {section.line, *(option.line for option in section.options.values())}
        if lines[section.line].strip() != f"[{profile}]":
            return False
        if any(lines[index].strip() for index in range(section.line, end) if index not in own):
            return False
        following = ""
        for line in lines[end:]:
            if line.startswith(ADOPTED_MARK):
                # `release` restores it below this header.
                return False
            if _is_indented_comment(line) or (line.strip() and line.strip()[0] not in "#;"):
                following = line
                break
        # Without the header, an indented line could continue the value above it, and what follows a
        # header that only botocore sees would belong to the section above.
        return not following or (not _indent(following) and _is_header_for_javascript(following))

    def _reject_inherited_token(self, profile: str) -> None:
        defaults = self._document.sections.get(DEFAULTS)
        if defaults is not None and LEGACY_TOKEN in defaults.options:
            line = defaults.options[LEGACY_TOKEN].line + 1
            raise ProfileAmbiguousError(
                f"{self._document.path}:{line}: profile {profile}: every profile inherits "
                f"{LEGACY_TOKEN} of [DEFAULT] as its session token",
                hint="remove that line",
            )

    def _reject_continued(self, profile: str, section: Section) -> None:
        for key in EDITED_KEYS & section.options.keys():
            option = section.options[key]
            if option.end > option.line + 1:
                raise ProfileAmbiguousError(
                    f"{self._document.path}:{option.end}: profile {profile}: an indented line "
                    f"continues the value of {key} on line {option.line + 1}",
                    hint="remove its indentation, or remove the line",
                )
            comment = self._comment_that_continues(option.line)
            if comment is not None:
                raise ProfileAmbiguousError(
                    f"{self._document.path}:{comment + 1}: profile {profile}: for the AWS SDKs for "
                    "Rust, Java, Kotlin and C, this indented comment is part of the value of "
                    f"{key} on line {option.line + 1}",
                    hint="remove its indentation, or remove the line",
                )

    def _comment_that_continues(self, index: int) -> int | None:
        """Return the index of the indented comment below a key; None if there is none."""
        if _indent(self._document.lines[index]):
            # These SDKs do not see a key in that line.
            return None
        for following in range(index + 1, len(self._document.lines)):
            line = self._document.lines[following]
            if _is_indented_comment(line):
                return following
            if line.strip() and line[0] not in "#;":
                return None
        return None

    def _reject_header_inside(self, profile: str, section: Section) -> None:
        # For botocore an indented header continues a value; for other SDKs it begins a section.
        end = max((option.end for option in section.options.values()), default=0)
        for index in range(section.line + 1, end):
            if _is_header_for_javascript(self._document.lines[index]):
                raise ProfileAmbiguousError(
                    f"{self._document.path}:{index + 1}: profile {profile}: the AWS SDKs interpret "
                    "the end of its section differently",
                    hint="remove the indentation of this line, or remove the line",
                )

    def _reject_foreign(self, profile: str, section: Section, values: Mapping[str, str]) -> None:
        problem = "holds long-term keys" if is_long_term(values) else ""
        if manager := other_manager(values):
            problem = f"is managed by {manager}"
        if problem:
            raise ProfileNotManagedError(
                f"{self._document.path}:{section.line + 1}: profile {profile} {problem}",
                hint="give the definition another name, or let assumed replace these credentials "
                "(it saves long-term keys to a backup first):\n"
                f"profiles:\n  {profile}:\n    overwrite: true",
            )

    def _ambiguous(self, profile: str, key: str) -> ProfileAmbiguousError:
        line = next(
            (
                index
                for index, line in enumerate(self._document.lines)
                if line.strip().startswith("[") and line.strip(" \t[").startswith(profile)
            ),
            0,
        )
        read_before = read_like_javascript(self._document.lines, (profile,)).get(profile, {})
        if key in read_before:
            line = read_before[key][1]
        return ProfileAmbiguousError(
            f"{self._document.path}:{line + 1}: profile {profile}: because of this line, the AWS "
            f"SDKs would not read the same {key}",
            hint=f"write [{profile}] once and alone on its line, and its keys below it without "
            "indentation",
        )

    def _text(self) -> str:
        lines = [line for line in self._lines if line is not None]
        if self._lines[-1] is None and lines:
            if lines[-1] in ("", "\r"):
                # An empty last line is nothing but its line end, which therefore stays.
                lines.append("")
            else:
                # The file had no final line end, so the new last line has none either.
                lines[-1] = lines[-1].removesuffix("\r")
        if self._appended:
            has_end = not lines or not lines[-1]
            if has_end:
                lines = [*lines[:-1], *self._with_line_ends(self._appended), ""]
            else:
                lines[-1] += self._line_end()
                lines += self._with_line_ends(self._appended, except_last=True)
        return "\n".join(lines)

    def _with_line_ends(self, lines: Sequence[str], *, except_last: bool = False) -> list[str]:
        ended = [f"{line}{self._line_end()}" for line in lines]
        if except_last:
            ended[-1] = lines[-1]
        return ended

    def _line_end(self) -> str:
        return "\r" if self._document.lines[0].endswith("\r") else ""


def _values_of(credentials: Credentials) -> dict[str, str]:
    values = dict(
        zip(
            MANAGED_KEYS,
            (
                credentials.access_key_id,
                credentials.secret_access_key,
                credentials.session_token,
                credentials.account_id,
                timestamp(credentials.expiration),
                credentials.principal_arn,
                MANAGER,
            ),
            strict=True,
        )
    )
    for key, value in values.items():
        if _UNWRITABLE_VALUE.search(value):
            raise ValueError(f"{key} is empty, or not printable ASCII without spaces")
    return values


def _with_value(line: str, key: str, new: str) -> str:
    """Return the line of a managed key with another value, and without blanks behind it.

    The other spacing stays. A key with capitals, a colon or other blanks than space and tab before
    its value is rewritten: only botocore reads that form.
    """
    end = "\r" if line.endswith("\r") else ""
    found = _OPTION.match(line.removesuffix(end))
    if found is None or found["key"] != key or not _EQUALS.fullmatch(found["delimiter"]):
        return f"{_indent(line)}{key} = {new}{end}"
    return f"{found['indent']}{key}{found['delimiter']}{new}{end}"


def _is_header_for_javascript(line: str) -> bool:
    return bool(read_like_javascript([line], ()))


def _is_indented_comment(line: str) -> bool:
    return line[:1] in {" ", "\t"} and line.lstrip()[:1] in {"#", ";"}


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def edit(data: bytes, changes: Mapping[str, Change], *, path: str) -> EditResult:
    """Make all changes in one pass; a rejected change does not affect the other profiles.

    Args:
        data: the whole file.
        changes: by profile.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: the file cannot be read.
        UnexpectedError: the result does not read as intended: a bug in this module.
        ValueError: a credential that is empty, or not printable ASCII without spaces.
    """
    rejected: dict[str, CredentialsFileError] = {}
    while True:
        editor = Editor(IniDocument(data, path))
        for profile, change in changes.items():
            if profile in rejected:
                continue
            try:
                editor.apply(profile, change)
            except CredentialsFileError as error:
                rejected[profile] = error
        result = editor.result(rejected)
        if result.data == data:
            return result
        ambiguous = editor.check(IniDocument(result.data, path))
        if not ambiguous:
            return result
        rejected |= ambiguous
