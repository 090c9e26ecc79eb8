"""The profiles of the AWS config and credentials files, with the line of each key.

`check` and `init` report lines, which botocore does not keep. What a profile means for a refresh is
up to botocore: see `credential_sources`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assumed.aws_files.ini import IniDocument
from assumed.aws_files.ownership import is_managed
from assumed.aws_files.sdk_dialects import RejectedLine, SharedReader, read_like_shared_sdks
from assumed.errors import SourceUnavailableError
from assumed.fsutil import MAX_AWS_FILE_BYTES, foreign_owner_hint, read_file
from assumed.text import join_words

_KINDS = ("profile", "sso-session", "services")
# Read by the AWS CLI: features in preview, plugins.
_OTHER_SECTIONS = ("preview", "plugins")


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A line of a file; the first is 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class ConfigValue:
    """The value of a key, which may be a secret, and its location."""

    value: str = field(repr=False)
    location: SourceLocation


@dataclass(frozen=True, slots=True)
class AwsProfile:
    """A profile, which may be in both files.

    Args:
        name: as in `--profile`.
        location: its header; the one in the config file if it has two.
        config: its entries in the config file.
        credentials: its entries in the credentials file.
    """

    name: str
    location: SourceLocation
    config: Mapping[str, ConfigValue] = field(default_factory=dict)
    credentials: Mapping[str, ConfigValue] = field(default_factory=dict)

    @property
    def entries(self) -> Mapping[str, ConfigValue]:
        """The entries of both files; those of the credentials file win, as in the SDKs."""
        return {**self.config, **self.credentials}

    def value(self, key: str) -> str | None:
        """Return the value of `key`, or None if it is missing or empty."""
        entry = self.entries.get(key)
        return entry.value if entry is not None and entry.value else None

    @property
    def has_stored_keys(self) -> bool:
        """Whether the credentials file has an access key of it."""
        return "aws_access_key_id" in self.credentials

    @property
    def has_keys(self) -> bool:
        """Whether the two files have a key pair of it."""
        return {"aws_access_key_id", "aws_secret_access_key"} <= self.entries.keys()

    @property
    def is_managed(self) -> bool:
        """Whether assumed wrote it in the credentials file."""
        return is_managed({key: entry.value for key, entry in self.credentials.items()})


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file of which some AWS SDKs read nothing, and botocore reads everything.

    Args:
        location: the first line that they reject.
        sdks: their languages, such as `Rust, Java and Kotlin`.
        problem: what is wrong with the line for them.
        fix: what to do with it.
    """

    location: SourceLocation
    sdks: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return (
            f"the AWS SDKs for {self.sdks} cannot read this file, because of this line: "
            f"{self.problem}"
        )


@dataclass(frozen=True, slots=True)
class IgnoredHeader:
    """A section that AWS tools ignore.

    Args:
        header: without its brackets.
        location: of the header.
        reason: why, and how it has to be written.
    """

    header: str
    location: SourceLocation
    reason: str


@dataclass(frozen=True, slots=True)
class AwsFiles:
    """The contents of both files.

    Args:
        config: the path of the config file.
        credentials: the path of the credentials file.
        profiles: by name, those of the config file first.
        misplaced: headers `[profile NAME]` in the credentials file, which define no profile NAME.
        sso_sessions: the entries below each `[sso-session NAME]` of the config file.
        ignored: headers of the config file that AWS tools ignore, with the reason.
        unreadable: the lines because of which some SDKs cannot read a file.
    """

    config: Path
    credentials: Path
    profiles: Mapping[str, AwsProfile]
    misplaced: Mapping[str, SourceLocation]
    sso_sessions: Mapping[str, Mapping[str, ConfigValue]] = field(default_factory=dict)
    ignored: Sequence[IgnoredHeader] = ()
    unreadable: tuple[UnreadableFile, ...] = ()


def read_aws_files(config: Path, credentials: Path) -> AwsFiles:
    """Read both files by botocore's rules; a missing file is empty.

    Raises:
        SourceUnavailableError: one cannot be opened or read.
        CredentialsFileMalformedError: botocore cannot read one either; names the line.
    """
    return parse_aws_files((config, _read(config)), (credentials, _read(credentials)))


def parse_aws_files(config: tuple[Path, bytes], credentials: tuple[Path, bytes]) -> AwsFiles:
    """Return the profiles in the contents of both files; see `read_aws_files`.

    Raises:
        CredentialsFileMalformedError: botocore cannot read one either; names the line.
    """
    profiles: dict[str, AwsProfile] = {}
    documents = [(path, IniDocument(data, str(path))) for path, data in (config, credentials)]
    sso_sessions: dict[str, Mapping[str, ConfigValue]] = {}
    ignored: list[IgnoredHeader] = []
    for header, location, entries in _sections(*documents[0]):
        name = profile_name(header)
        if name is not None:
            # For botocore [default] and [profile default] are one profile: the later one wins.
            if name in profiles:
                replaced = f"{location} is the same profile, and replaces this section"
                ignored.append(IgnoredHeader(name, profiles[name].location, replaced))
            profiles[name] = AwsProfile(name, location, entries)
        elif (name := _named_section(header, "sso-session")) is not None:
            sso_sessions[name] = entries
        elif (reason := _why_ignored(header)) is not None:
            ignored.append(IgnoredHeader(header, location, reason))
    misplaced: dict[str, SourceLocation] = {}
    for header, location, entries in _sections(*documents[1]):
        known = profiles.get(header)
        if known is not None:
            profiles[header] = AwsProfile(header, known.location, known.config, entries)
        elif header.startswith("profile ") and (name := profile_name(header)) is not None:
            misplaced[name] = location
        else:
            profiles[header] = AwsProfile(header, location, credentials=entries)
    return AwsFiles(
        config[0],
        credentials[0],
        profiles,
        misplaced,
        sso_sessions,
        ignored=tuple(ignored),
        unreadable=tuple(found for document in documents for found in _unreadable(*document)),
    )


def _read(path: Path) -> bytes:
    if path == Path():
        # The variable that names it is empty: botocore reads no file.
        return b""
    try:
        return read_file(path, max_bytes=MAX_AWS_FILE_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise SourceUnavailableError(
            f"{path} cannot be read: {error.strerror}",
            hint=foreign_owner_hint(path) or "make it readable: no AWS tool can read it either",
        ) from error


def _sections(
    path: Path, document: IniDocument
) -> list[tuple[str, SourceLocation, Mapping[str, ConfigValue]]]:
    return [
        (
            name,
            SourceLocation(path, document.sections[name].line + 1),
            {
                key: ConfigValue(option.value, SourceLocation(path, option.line + 1))
                for key, option in options.items()
            },
        )
        for name, options in document.inherited_options().items()
    ]


def _unreadable(path: Path, document: IniDocument) -> Iterator[UnreadableFile]:
    """Yield the lines because of which some SDKs cannot read a file."""
    lines: dict[RejectedLine, list[SharedReader]] = {}
    for kind, line in read_like_shared_sdks(document.lines, ()).rejected.items():
        lines.setdefault(line, []).append(kind)
    for line, kinds in lines.items():
        yield UnreadableFile(
            location=SourceLocation(path, line.index + 1),
            sdks=join_words([language for kind in kinds for language in kind.value]),
            problem=line.problem,
            fix=line.fix,
        )


def profile_name(header: str) -> str | None:
    """Return the profile under a header of the config file (botocore, build_profile_map)."""
    if header == "default":
        return header
    return _named_section(header, "profile")


def _named_section(header: str, kind: str) -> str | None:
    if not header.startswith(kind):
        return None
    try:
        words = shlex.split(header)
    except ValueError:
        return None
    return words[1] if len(words) == 2 else None  # noqa: PLR2004 - the kind and the name


def _why_ignored(header: str) -> str | None:
    """Return why AWS tools ignore a section of the config file; None if they use it."""
    if header in _OTHER_SECTIONS or _named_section(header, "services") is not None:
        return None
    kind, _, name = header.partition(" ")
    if kind in _KINDS:
        quoted = shlex.quote(name.strip())
        return f"a name with a blank or a quote has to be quoted: [{kind} {quoted}]"
    return f"a profile of this file is written as [profile {shlex.quote(header)}]"
