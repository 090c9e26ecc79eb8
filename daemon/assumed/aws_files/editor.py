"""Changes of a file: values where they stand, new keys beside ours, new sections at the end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from assumed.aws_files.ini import DEFAULTS, IniDocument, Section
from assumed.aws_files.ownership import (
    LONG_TERM_KEYS,
    OUR_KEYS,
    OUR_MARK,
    STALE_TOKEN,
    WRITTEN_KEYS,
    is_long_term,
    is_ours,
    other_manager,
)
from assumed.aws_files.sdk_dialects import misread_key, read_like_other_sdks
from assumed.errors import (
    CredentialsFileError,
    ProfileAmbiguousError,
    ProfileNotManagedError,
    UnexpectedError,
)
from assumed.logs import timestamp
from assumed.models import Credentials, is_profile_name

_CREDENTIAL_KEYS = frozenset((*LONG_TERM_KEYS, "aws_session_token", STALE_TOKEN))

# The first of `=` and `:` ends the key; everything behind it is the value, comments too.
_OPTION = re.compile(r"(?P<indent>\s*)(?P<key>[^:=]*?)(?P<delimiter>\s*[:=]\s*)(?P<value>.*)", re.S)
_UNWRITABLE_VALUE = re.compile(r"[^!-~]|^$")


@dataclass(frozen=True, slots=True)
class SetCredentials:
    """Write these credentials, with `overwrite` also where somebody else's are."""

    credentials: Credentials
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class RemoveCredentials:
    """Remove our keys from a section that is ours, and the section where it is then empty."""


Change = SetCredentials | RemoveCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class EditResult:
    """What a set of changes makes of a file.

    Args:
        data: the new bytes; the very old ones where nothing changes.
        refused: the error of each profile that stays as it was.
        taken_over: the profiles whose temporary credentials, without a mark, become ours.
        removed: the profiles whose keys are removed.
        replaced_keys: the long-term keys that are replaced, by profile and key.
    """

    data: bytes = field(repr=False)
    refused: Mapping[str, CredentialsFileError]
    taken_over: tuple[str, ...]
    removed: tuple[str, ...]
    replaced_keys: Mapping[str, Mapping[str, str]] = field(repr=False)


class Editor:
    """Changes a document, and remembers what each changed section should read like."""

    def __init__(self, document: IniDocument) -> None:
        self._document = document
        self._lines: list[str | None] = [*document.lines]
        self._appended: list[str] = []
        self._intended: dict[str, dict[str, str] | None] = {}
        self._put: set[str] = set()
        self._taken_over: list[str] = []
        self._removed: list[str] = []
        self._replaced_keys: dict[str, Mapping[str, str]] = {}

    def apply(self, profile: str, change: Change) -> None:
        """Make one change, or raise and leave everything as it was."""
        section = self._document.sections.get(profile)
        if isinstance(change, SetCredentials):
            self._apply_put(profile, section, change)
        elif section is not None and is_ours(section.values()):
            self._apply_remove(profile, section)

    def result(self, refused: Mapping[str, CredentialsFileError]) -> EditResult:
        """Return what the changes come to, with what was refused of them."""
        return EditResult(
            data=self._text().encode(),
            refused=refused,
            taken_over=tuple(self._taken_over),
            removed=tuple(self._removed),
            replaced_keys=self._replaced_keys,
        )

    def check(self, after: IniDocument, *, before: bytes) -> dict[str, CredentialsFileError]:
        """Return an error for each written profile that other SDKs read differently.

        Raises:
            UnexpectedError: botocore would not read what was intended.
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
                hint="the file stays as it was; please report this",
            )
        read_by_others = read_like_other_sdks(after.lines, self._put)
        return {
            profile: self._ambiguous(profile, key)
            for profile in self._put
            if (key := misread_key(profile, expected[profile], read_by_others)) is not None
        }

    def _apply_put(self, profile: str, section: Section | None, put: SetCredentials) -> None:
        if not is_profile_name(profile):
            raise ProfileAmbiguousError(
                f"profile {profile!r}: the AWS SDKs don't agree on a section of this name",
                hint="choose another name: letters, digits and any of ._-/@+",
            )
        values = _values_of(put.credentials)
        self._refuse_inherited_token(profile)
        if section is None:
            if profile in self._headers_for_others:
                raise self._ambiguous(profile, "section")
            self._appended += [f"[{profile}]", *(f"{key} = {v}" for key, v in values.items())]
            self._intended[profile] = values
        else:
            self._refuse_continued(profile, section)
            self._refuse_header_inside(profile, section)
            old = section.values()
            if not put.overwrite:
                self._refuse_foreign(profile, section, old)
            self._replace(section, values)
            self._intended[profile] = {
                key: value for key, value in (old | values).items() if key != STALE_TOKEN
            }
            if is_long_term(old):
                self._replaced_keys[profile] = {k: old[k] for k in LONG_TERM_KEYS if k in old}
            elif not is_ours(old) and not _CREDENTIAL_KEYS.isdisjoint(old):
                self._taken_over.append(profile)
        self._put.add(profile)

    @cached_property
    def _headers_for_others(self) -> frozenset[str]:
        return frozenset(name.strip() for name in read_like_other_sdks(self._document.lines, ()))

    def _replace(self, section: Section, values: Mapping[str, str]) -> None:
        anchor = section.line
        for key, option in section.options.items():
            if key == STALE_TOKEN:
                self._lines[option.line] = None
            elif key in values:
                anchor = option.line
                line = self._document.lines[anchor]
                self._lines[anchor] = _with_value(line, key, option.value, values[key])
        missing = [key for key in values if key not in section.options]
        if missing:
            indent = self._indent_behind(anchor, section)
            self._insert(anchor, [f"{indent}{key} = {values[key]}" for key in missing])

    def _indent_behind(self, anchor: int, section: Section) -> str:
        """Return an indentation that makes the new line continue nothing, nor be continued."""
        if anchor != section.line:
            return _indent(self._document.lines[anchor])
        for line in self._document.lines[anchor + 1 :]:
            if line.strip() and line.lstrip()[0] not in "#;":
                return _indent(line)
        return ""

    def _insert(self, index: int, added: list[str]) -> None:
        line = self._lines[index]
        is_last = index == len(self._lines) - 1
        if is_last:
            line = f"{line}{self._line_end()}"
            added = self._ended(added, but_last=True)
        elif self._document.lines[index].endswith("\r"):
            added = [f"{new}\r" for new in added]
        self._lines[index] = "\n".join([str(line), *added])

    def _apply_remove(self, profile: str, section: Section) -> None:
        self._refuse_continued(profile, section)
        values = section.values()
        kept = set(LONG_TERM_KEYS) if is_long_term(values) else set()
        ours = WRITTEN_KEYS - kept
        for key in ours & values.keys():
            self._lines[section.options[key].line] = None
        left = {key: value for key, value in values.items() if key not in ours}
        self._intended[profile] = left
        if not left and self._is_only_ours(profile, section):
            self._lines[section.line] = None
            self._intended[profile] = None
        self._removed.append(profile)

    def _is_only_ours(self, profile: str, section: Section) -> bool:
        """Whether nobody wrote a comment in the section, and nothing hangs on its header."""
        lines = self._document.lines
        end = max(option.end for option in section.options.values())
        own = {section.line, *(option.line for option in section.options.values())}
        if lines[section.line].strip() != f"[{profile}]":
            return False
        if any(lines[index].strip() for index in range(section.line, end) if index not in own):
            return False
        # Without the header an indented line could continue what stands above it.
        following = (line for line in lines[end:] if line.strip() and line.strip()[0] not in "#;")
        return not _indent(next(following, ""))

    def _refuse_inherited_token(self, profile: str) -> None:
        defaults = self._document.sections.get(DEFAULTS)
        if defaults is not None and STALE_TOKEN in defaults.options:
            line = defaults.options[STALE_TOKEN].line + 1
            raise ProfileAmbiguousError(
                f"{self._document.path}:{line}: profile {profile}: {STALE_TOKEN} of [DEFAULT] "
                f"would be taken for every profile's session token",
                hint="remove that line",
            )

    def _refuse_continued(self, profile: str, section: Section) -> None:
        for key in WRITTEN_KEYS & section.options.keys():
            option = section.options[key]
            if option.end > option.line + 1:
                raise ProfileAmbiguousError(
                    f"{self._document.path}:{option.end}: profile {profile}: an indented line "
                    f"continues the value of {key} in line {option.line + 1}",
                    hint="remove the spaces in front of it, or remove the line",
                )

    def _refuse_header_inside(self, profile: str, section: Section) -> None:
        # For botocore an indented header continues a value; for others a section begins there.
        end = max((option.end for option in section.options.values()), default=0)
        for index in range(section.line + 1, end):
            if read_like_other_sdks(self._document.lines[index : index + 1], ()):
                raise ProfileAmbiguousError(
                    f"{self._document.path}:{index + 1}: profile {profile}: the AWS SDKs don't "
                    f"agree on where its section ends",
                    hint="remove the spaces in front of the line, or remove the line",
                )

    def _refuse_foreign(self, profile: str, section: Section, values: Mapping[str, str]) -> None:
        problem = "holds long-term keys" if is_long_term(values) else ""
        if manager := other_manager(values):
            problem = f"is managed by {manager}"
        if problem:
            raise ProfileNotManagedError(
                f"{self._document.path}:{section.line + 1}: profile {profile} {problem}",
                hint="keep the refreshed credentials in a profile of another name, or have "
                "assumed replace these (it saves long-term keys to a backup first):\n"
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
        read_before = read_like_other_sdks(self._document.lines, (profile,)).get(profile, {})
        if key in read_before:
            line = read_before[key][1]
        return ProfileAmbiguousError(
            f"{self._document.path}:{line + 1}: profile {profile}: because of this line the AWS "
            f"SDKs would not all read the same {key}",
            hint=f"write [{profile}] once and alone on its line, and its keys below it without "
            "spaces in front",
        )

    def _text(self) -> str:
        lines = [line for line in self._lines if line is not None]
        if self._lines[-1] is None and lines:
            if lines[-1] in ("", "\r"):
                # An empty line is its line end and nothing else.
                lines.append("")
            else:
                # The file had no line end before us, so the new last line has none either.
                lines[-1] = lines[-1].removesuffix("\r")
        if self._appended:
            has_end = not lines or not lines[-1]
            if has_end:
                lines = [*lines[:-1], *self._ended(self._appended), ""]
            else:
                lines[-1] += self._line_end()
                lines += self._ended(self._appended, but_last=True)
        return "\n".join(lines)

    def _ended(self, lines: Sequence[str], *, but_last: bool = False) -> list[str]:
        ended = [f"{line}{self._line_end()}" for line in lines]
        if but_last:
            ended[-1] = lines[-1]
        return ended

    def _line_end(self) -> str:
        return "\r" if self._document.lines[0].endswith("\r") else ""


def _values_of(credentials: Credentials) -> dict[str, str]:
    values = dict(
        zip(
            OUR_KEYS,
            (
                credentials.access_key_id,
                credentials.secret_access_key,
                credentials.session_token,
                credentials.account_id,
                timestamp(credentials.expiration),
                credentials.principal_arn,
                OUR_MARK,
            ),
            strict=True,
        )
    )
    for key, value in values.items():
        if _UNWRITABLE_VALUE.search(value):
            raise ValueError(f"{key} is empty, or not printable ASCII without spaces")
    return values


def _with_value(line: str, key: str, old: str, new: str) -> str:
    """Return the line of one of our keys with another value.

    The spacing stays. A key in capitals or with a colon is written anew: only botocore reads that.
    """
    found = _OPTION.match(line)
    end = "\r" if line.endswith("\r") else ""
    if found is None or found["key"] != key or found["delimiter"].strip() != "=":
        return f"{_indent(line)}{key} = {new}{end}"
    if old == new:
        return line
    tail = found["value"][len(found["value"].rstrip()) :]
    return f"{found['indent']}{key}{found['delimiter'].removesuffix(end)}{new}{tail or end}"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
