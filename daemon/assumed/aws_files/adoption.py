"""Adoption of a profile: comment out the keys that take precedence over the refreshed ones.

Pure: bytes in, bytes out. Each commented line is the original line behind a mark, so that
`restore_keys` gives the very bytes back. No line is added or removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, unique

from assumed.aws_files.ini import DEFAULTS, IniDocument, Section
from assumed.aws_files.ownership import ADOPTED_MARK
from assumed.aws_files.profiles import profile_name
from assumed.aws_files.sdk_dialects import (
    Sections,
    SharedReader,
    read_like_javascript,
    read_like_shared_sdks,
)
from assumed.aws_files.sdk_precedence import precedes_stored_keys
from assumed.errors import CredentialsFileMalformedError, ProfileAmbiguousError


@unique
class AwsFileKind(Enum):
    """The two AWS files: `[profile NAME]` begins a profile in one, `[NAME]` in the other."""

    CONFIG = "config"
    CREDENTIALS = "credentials"


@dataclass(frozen=True, slots=True)
class _Place:
    """The lines of a profile: its section, and the index after its last line."""

    section: Section
    end: int

    @property
    def indices(self) -> range:
        """The lines below the header."""
        return range(self.section.line + 1, self.end)


def comment_out_keys(data: bytes, profile: str, kind: AwsFileKind, *, path: str) -> bytes:
    """Comment out the keys of a profile that take precedence over keys in the credentials file.

    A line that looks like one that an adoption commented out gets a second mark, so that
    `restore_keys` gives it back too. If no such key is active, the file is unchanged.

    Args:
        data: the whole file.
        profile: the name of the profile.
        kind: which of the two files it is.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: the file cannot be read.
        ProfileAmbiguousError: the AWS SDKs would not all read the same profile afterwards.
    """
    document = IniDocument(data, path)
    place = _find(document, profile, kind)
    if place is None:
        return data
    _reject_inherited(document, profile)
    marked = {
        index
        for key, option in place.section.options.items()
        if precedes_stored_keys(key)
        for index in range(option.line, option.end)
        if _is_content(document.lines[index])
    }
    if not marked:
        return data
    marked |= {index for index in place.indices if _is_marked(document.lines[index])}
    marked |= set(_comments_that_continue(document, place, marked))
    lines = [
        f"{ADOPTED_MARK}{line}" if index in marked else line
        for index, line in enumerate(document.lines)
    ]
    result = "\n".join(lines).encode()
    _check_botocore(document, IniDocument(result, path), profile, place)
    _check_other_sdks(document, lines, marked, place, profile)
    return result


def restore_keys(data: bytes, profile: str, kind: AwsFileKind, *, path: str) -> bytes:
    """Activate the keys that `comment_out_keys` commented out; other lines are unchanged.

    Args:
        data: the whole file.
        profile: the name of the profile.
        kind: which of the two files it is.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: the file cannot be read.
        ProfileAmbiguousError: the keys conflict with what the file has now.
    """
    document = IniDocument(data, path)
    place = _find(document, profile, kind)
    if place is None:
        return data
    lines = [
        line.removeprefix(ADOPTED_MARK) if index in place.indices else line
        for index, line in enumerate(document.lines)
    ]
    if lines == document.lines:
        return data
    result = "\n".join(lines).encode()
    try:
        _check_botocore(IniDocument(result, path), document, profile, place)
    except CredentialsFileMalformedError as error:
        raise ProfileAmbiguousError(
            f"{error.message}, so profile {profile} cannot be restored",
            hint=f"compare the lines marked `{ADOPTED_MARK.strip()}` with the keys that the "
            "profile has now, remove those that are obsolete, and run the command again",
        ) from None
    return result


def is_adopted(data: bytes, profile: str, kind: AwsFileKind, *, path: str) -> bool:
    """Whether the profile has lines that `comment_out_keys` commented out.

    Raises:
        CredentialsFileMalformedError: the file cannot be read.
        ProfileAmbiguousError: two headers name the profile.
    """
    document = IniDocument(data, path)
    place = _find(document, profile, kind)
    return place is not None and any(_is_marked(document.lines[i]) for i in place.indices)


def _find(document: IniDocument, profile: str, kind: AwsFileKind) -> _Place | None:
    headers = [
        header
        for header in document.sections
        if (profile_name(header) if kind is AwsFileKind.CONFIG else header) == profile
        and header != DEFAULTS
    ]
    if not headers:
        return None
    if len(headers) > 1:
        lines = [document.sections[header].line + 1 for header in headers]
        raise ProfileAmbiguousError(
            f"{document.path}:{lines[1]}: profile {profile} has two headers: "
            f"{' and '.join(f'[{header}]' for header in headers)}",
            hint=f"merge the two sections (the first is on line {lines[0]})",
        )
    section = document.sections[headers[0]]
    following = (other.line for other in document.sections.values() if other.line > section.line)
    return _Place(section, min(following, default=len(document.lines)))


def _is_content(line: str) -> bool:
    text = line.strip()
    return bool(text) and text[0] not in "#;"


def _comments_that_continue(
    document: IniDocument, place: _Place, marked: set[int]
) -> Iterator[int]:
    """Yield the indented comments below marked keys.

    Some SDKs read them as part of these keys, and otherwise would of the keys above.
    """
    is_below = False
    for index in place.indices:
        line = document.lines[index]
        if _is_content(line) or _is_marked(line):
            is_below = index in marked
        elif is_below and line[:1] in {" ", "\t"} and line.strip():
            yield index


def _is_marked(line: str) -> bool:
    return line.startswith(ADOPTED_MARK)


def _reject_inherited(document: IniDocument, profile: str) -> None:
    defaults = document.sections.get(DEFAULTS)
    for key, option in {} if defaults is None else defaults.options.items():
        if precedes_stored_keys(key):
            raise ProfileAmbiguousError(
                f"{document.path}:{option.line + 1}: profile {profile} inherits {key} from "
                "[DEFAULT], which takes precedence over refreshed keys",
                hint=f"move {key} from [DEFAULT] to the profiles that need it",
            )


def _check_botocore(
    active: IniDocument, commented: IniDocument, profile: str, place: _Place
) -> None:
    """Check that two versions of a file differ in the keys of one adoption alone.

    Raises:
        ProfileAmbiguousError: another key differs.
    """
    expected = active.values()
    header = next(name for name, each in active.sections.items() if each.line == place.section.line)
    expected[header] = {
        key: value for key, value in expected[header].items() if not precedes_stored_keys(key)
    }
    found = commented.values()
    # Keys that a user added after the adoption stay as they are.
    found[header] = {
        key: value for key, value in found[header].items() if not precedes_stored_keys(key)
    }
    if found != expected or list(found) != list(expected):
        raise _ambiguous(active.path, place.section.line, profile)


def _check_other_sdks(
    document: IniDocument, lines: list[str], marked: set[int], place: _Place, profile: str
) -> None:
    """Check that the other SDKs too lose the keys that took precedence, and no other.

    Raises:
        ProfileAmbiguousError: one would lose another key, still read one of them, or no longer
            read the file.
    """
    readings = [(_as_javascript(document.lines), _as_javascript(lines))]
    before, after = (read_like_shared_sdks(each, None) for each in (document.lines, lines))
    for kind, line in after.rejected.items():
        if kind not in before.rejected:
            raise _ambiguous(document.path, line.index, profile)
    if len(before.rejected) < len(SharedReader):
        readings.append((before.sections, after.sections))
    for reading in readings:
        if (divergent := _first_divergent_line(*reading, marked, place)) is not None:
            raise _ambiguous(document.path, divergent, profile)


def _first_divergent_line(
    before: Sections, after: Sections, marked: set[int], place: _Place
) -> int | None:
    for section, key, index in _entries(before):
        if index in marked and not precedes_stored_keys(key.lower()):
            return index
        if index not in marked and after.get(section, {}).get(key) != before[section][key]:
            return index
    for section, key, index in _entries(after):
        if before.get(section, {}).get(key, ("", -1))[1] != index:
            return index
        if index in place.indices and precedes_stored_keys(key):
            return index
    return None


def _as_javascript(lines: list[str]) -> Sections:
    return read_like_javascript(lines, read_like_javascript(lines, ()).keys())


def _entries(sections: Sections) -> Iterator[tuple[str, str, int]]:
    for name, section in sections.items():
        for key, (_, index) in section.items():
            yield name, key, index


def _ambiguous(path: str, index: int, profile: str) -> ProfileAmbiguousError:
    return ProfileAmbiguousError(
        f"{path}:{index + 1}: profile {profile}: the AWS SDKs interpret this line differently, so "
        "its keys cannot be commented out safely",
        hint="write each key of the profile on a line of its own without indentation; only nested "
        "settings, such as those of s3, are indented",
    )
