"""The text of a credentials file: read it as botocore does, change our keys, move nothing else.

Pure: bytes in, bytes out. No disk, no lock, no AWS, no clock.

The rules are botocore's (`configloader.raw_config_parse`: `configparser.RawConfigParser`, strict).
What botocore can't read is refused with the line and the mend. Where the AWS SDKs differ about a
section that is to change, that profile is refused: nothing is guessed.

| to change | open |
| --- | --- |
| what is read, and what is refused as malformed | `document` |
| how keys are written and taken away | `editor` |
| whose a section is | `ownership` |
| what other SDKs make of it | `other_sdks` |
"""

from __future__ import annotations

from collections.abc import Mapping

from assumed.aws_files.editor import (
    Change,
    Editor,
    EditResult,
    RemoveCredentials,
    SetCredentials,
)
from assumed.aws_files.ini import DEFAULTS, IniDocument
from assumed.aws_files.ownership import (
    LONG_TERM_KEYS,
    OUR_KEYS,
    OUR_MARK,
    is_long_term,
    is_ours,
)
from assumed.errors import CredentialsFileError
from assumed.models import Credentials

__all__ = [
    "LONG_TERM_KEYS",
    "OUR_KEYS",
    "OUR_MARK",
    "Change",
    "EditResult",
    "RemoveCredentials",
    "SetCredentials",
    "edit",
    "is_long_term",
    "is_ours",
    "read",
    "remove_profile",
    "set_profile",
]


def read(data: bytes, *, path: str) -> Mapping[str, Mapping[str, str]]:
    """Return the sections as botocore reads them: values by key, in the order of the file.

    A nested block (`s3 =` and its indented lines) is one value that begins with a line feed. The
    keys of `[DEFAULT]` show in every section, as they do for botocore.

    Args:
        data: the whole file.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: botocore can't read the file either, or other SDKs could not
            read it the same way (a lone carriage return, a NUL).
    """
    sections = IniDocument(data, path).values()
    defaults = sections.pop(DEFAULTS, {})
    if not defaults:
        return sections
    return {name: defaults | section for name, section in sections.items()}


def set_profile(
    data: bytes, profile: str, credentials: Credentials, *, overwrite: bool = False, path: str
) -> bytes:
    """Return the file with these credentials in `profile`; see `edit`.

    Raises:
        CredentialsFileMalformedError: the file can't be read.
        ProfileNotManagedError: the section holds long-term keys or another tool's mark.
        ProfileAmbiguousError: the AWS SDKs would not all read the credentials.
    """
    return _of_one(
        profile, edit(data, {profile: SetCredentials(credentials, overwrite)}, path=path)
    )


def remove_profile(data: bytes, profile: str, *, path: str) -> bytes:
    """Return the file without our keys in `profile`; see `edit`.

    Raises:
        CredentialsFileMalformedError: the file can't be read.
        ProfileAmbiguousError: an indented line continues one of our keys.
    """
    return _of_one(profile, edit(data, {profile: RemoveCredentials()}, path=path))


def edit(data: bytes, changes: Mapping[str, Change], *, path: str) -> EditResult:
    """Make all the changes in one pass; what is refused to one profile leaves the others be.

    Values are replaced where they stand, missing keys go behind the last of ours, new sections
    to the end of the file. The result is read again and has to read as intended.

    Args:
        data: the whole file.
        changes: by profile.
        path: for messages.

    Raises:
        CredentialsFileMalformedError: the file can't be read.
        UnexpectedError: the result does not read as intended: a defect of this module.
        ValueError: a credential that is empty, or not printable ASCII without spaces.
    """
    refused: dict[str, CredentialsFileError] = {}
    while True:
        editor = Editor(IniDocument(data, path))
        for profile, change in changes.items():
            if profile in refused:
                continue
            try:
                editor.apply(profile, change)
            except CredentialsFileError as refusal:
                refused[profile] = refusal
        result = editor.result(refused)
        if result.data == data:
            return result
        ambiguous = editor.check(IniDocument(result.data, path), before=data)
        if not ambiguous:
            return result
        refused |= ambiguous


def _of_one(profile: str, result: EditResult) -> bytes:
    if profile in result.refused:
        raise result.refused[profile]
    return result.data
