"""The AWS config and credentials files with the line of each key: what `check` and `init` speak of.

What the entries mean for a refresh is for botocore to say (`sources`). It tells no lines.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assumed.aws_files.credentials_text import OUR_MARK
from assumed.aws_files.ini import DEFAULTS, IniDocument, Section
from assumed.errors import SourceUnavailableError


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A line of a file, counted from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """A key's value, which may be a secret, and where it stands."""

    value: str = field(repr=False)
    place: SourceLocation


@dataclass(frozen=True, slots=True)
class AwsProfile:
    """A profile, which may be in both files.

    Args:
        name: as `--profile` takes it.
        place: of its header; of the one in the config file where it has two.
        config: its entries there.
        credentials: its entries in the credentials file.
    """

    name: str
    place: SourceLocation
    config: Mapping[str, ConfigValue] = field(default_factory=dict)
    credentials: Mapping[str, ConfigValue] = field(default_factory=dict)

    @property
    def entries(self) -> Mapping[str, ConfigValue]:
        """Both files' entries; for the SDKs those of the credentials file come first."""
        return {**self.config, **self.credentials}

    def value(self, key: str) -> str | None:
        """Return what `key` holds; None where it is not there, or empty."""
        entry = self.entries.get(key)
        return entry.value if entry is not None and entry.value else None

    @property
    def has_stored_keys(self) -> bool:
        """Whether there are keys of it in the credentials file."""
        return "aws_access_key_id" in self.credentials

    @property
    def has_keys(self) -> bool:
        """Whether either file has keys of it."""
        return {"aws_access_key_id", "aws_secret_access_key"} <= self.entries.keys()

    @property
    def is_ours(self) -> bool:
        """Whether the credentials file says that assumed writes it."""
        mark = self.credentials.get("manager")
        return mark is not None and mark.value == OUR_MARK


@dataclass(frozen=True, slots=True)
class AwsFiles:
    """Both files.

    Args:
        config: the config file.
        credentials: the credentials file.
        profiles: by name, those of the config file first.
        misplaced: headers `[profile NAME]` of the credentials file, which make no profile NAME.
    """

    config: Path
    credentials: Path
    profiles: Mapping[str, AwsProfile]
    misplaced: Mapping[str, SourceLocation]


def read_aws_files(config: Path, credentials: Path) -> AwsFiles:
    """Read both files by botocore's rules; one that is not there is empty.

    Raises:
        SourceUnavailableError: one can't be read.
        CredentialsFileMalformedError: botocore can't read one either; with the line.
    """
    profiles: dict[str, AwsProfile] = {}
    for header, section, entries in _sections(config):
        name = _profile_of(header)
        if name is not None:
            # For botocore [default] and [profile default] are one name: the later one counts.
            profiles[name] = AwsProfile(name, SourceLocation(config, section.line + 1), entries)
    misplaced: dict[str, SourceLocation] = {}
    for header, section, entries in _sections(credentials):
        place = SourceLocation(credentials, section.line + 1)
        known = profiles.get(header)
        if known is not None:
            profiles[header] = AwsProfile(header, known.place, known.config, entries)
        elif header.startswith("profile ") and (name := _profile_of(header)) is not None:
            misplaced[name] = place
        else:
            profiles[header] = AwsProfile(header, place, credentials=entries)
    return AwsFiles(config, credentials, profiles, misplaced)


def _sections(path: Path) -> list[tuple[str, Section, Mapping[str, ConfigValue]]]:
    if path == Path():
        # The variable that names it is empty: botocore reads no file.
        return []
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SourceUnavailableError(
            f"{path}: it can't be read: {error.strerror}",
            hint="no AWS tool can read that file now: mend it, and nothing else is needed",
        ) from error
    sections = IniDocument(data, str(path)).sections
    shared = sections.pop(DEFAULTS, Section(0))
    return [
        (
            name,
            section,
            {
                key: ConfigValue(option.value, SourceLocation(path, option.line + 1))
                for key, option in (shared.options | section.options).items()
            },
        )
        for name, section in sections.items()
    ]


def _profile_of(header: str) -> str | None:
    """Return the profile that a header of the config file begins (botocore, build_profile_map)."""
    if header == "default":
        return header
    if not header.startswith("profile"):
        return None
    try:
        words = shlex.split(header)
    except ValueError:
        return None
    return words[1] if len(words) == 2 else None  # noqa: PLR2004 - `profile` and its name
