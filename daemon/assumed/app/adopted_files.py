"""The files that `adopt` and `release` edit: the configuration and the two AWS files."""

from __future__ import annotations

import difflib
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assumed import paths
from assumed.app.factory import credentials_path, load_configuration
from assumed.aws_files.adoption import AwsFileKind, is_adopted
from assumed.aws_files.profiles import AwsFiles, parse_aws_files
from assumed.aws_files.shadowing import choices_before_keys
from assumed.config import loader
from assumed.credential_sources.base import SourceProfiles
from assumed.errors import (
    AdoptionRejectedError,
    ConfigurationNotWrittenError,
    CredentialsFileUnwritableError,
)
from assumed.fsutil import (
    PRIVATE_MODE,
    create_private_parents,
    replace_file,
    sync_directory,
)
from assumed.models import Configuration, WriteMode
from assumed.storage import LockedFile

Transform = Callable[..., bytes]
"""`comment_out_keys` or `restore_keys` of `aws_files.adoption`."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before and after; None for a file that does not exist."""

    path: Path
    before: bytes | None = field(repr=False)
    after: bytes | None = field(repr=False)

    def diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff without context, which could hold secrets."""
        old, new = (
            "/dev/null" if data is None else str(self.path) for data in (self.before, self.after)
        )
        lines = _lines(self.before), _lines(self.after)
        for line in difflib.unified_diff(*lines, old, new, n=0, lineterm=""):
            yield line.rstrip("\r\n")


class AdoptedFiles:
    """The configuration and the two AWS files, read once, and written one after the other.

    Raises:
        ConfigurationError: the configuration is invalid.
        SourceUnavailableError: an AWS file cannot be read.
        CredentialsFileMalformedError: botocore cannot read one either; names the line.
        AdoptionRejectedError: the AWS tools do not read the file that assumed writes.
    """

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        self.config_path = config_path
        self.config_data: bytes | None = None
        self.configuration: Configuration | None = None
        if config_path.exists():
            self.configuration = load_configuration(config_path, SourceProfiles())
            self.config_data = config_path.read_bytes()
        self.aws_paths = {
            AwsFileKind.CONFIG: Path(paths.aws_config_file(environ)),
            AwsFileKind.CREDENTIALS: Path(paths.aws_credentials_file(environ)),
        }
        self._check_paths(environ)
        write = WriteMode.REPLACE if self.configuration is None else self.configuration.write
        self._files = {
            AwsFileKind.CONFIG: LockedFile(self.aws_paths[AwsFileKind.CONFIG], is_private=False),
            AwsFileKind.CREDENTIALS: LockedFile(
                self.aws_paths[AwsFileKind.CREDENTIALS], write=write
            ),
        }
        for file in self._files.values():
            file.recover()
        self.aws_data = {kind: file.read() for kind, file in self._files.items()}
        self.aws_files = self.parse(self.aws_data)

    def parse(self, data: Mapping[AwsFileKind, bytes]) -> AwsFiles:
        """Return the profiles in these contents of the AWS files."""
        config, credentials = (
            (self.aws_paths[kind], data[kind])
            for kind in (AwsFileKind.CONFIG, AwsFileKind.CREDENTIALS)
        )
        return parse_aws_files(config, credentials)

    def transform(
        self, data: Mapping[AwsFileKind, bytes], profiles: Sequence[str], transform: Transform
    ) -> dict[AwsFileKind, bytes]:
        """Return the contents of the AWS files after an edit of these profiles.

        Raises:
            ProfileAmbiguousError: the AWS SDKs interpret a profile differently.
        """
        edited = dict(data)
        for profile in profiles:
            for kind, path in self.aws_paths.items():
                edited[kind] = transform(edited[kind], profile, kind, path=str(path))
        return edited

    def aws_changes(self, edited: Mapping[AwsFileKind, bytes]) -> list[FileChange]:
        """Return what differs from the contents that were read."""
        return [
            FileChange(self.aws_paths[kind], before, edited[kind])
            for kind, before in self.aws_data.items()
            if before != edited[kind]
        ]

    def edit_order(self, profile: str, transform: Transform) -> list[AwsFileKind]:
        """Return which AWS files change, in an order in which the profile works between them.

        Raises:
            AdoptionRejectedError: there is none.
        """
        edited = self.transform(self.aws_data, [profile], transform)
        changed = [kind for kind, data in self.aws_data.items() if data != edited[kind]]
        if len(changed) < len(self.aws_data):
            return changed
        for first, second in (changed, changed[::-1]):
            between = self.parse({first: edited[first], second: self.aws_data[second]})
            if not choices_before_keys(between.profiles[profile], between.credentials):
                return [first, second]
        raise AdoptionRejectedError(
            f"profile {profile} has a role_arn in both AWS files",
            hint="keep the one in the credentials file, which takes precedence, and remove the "
            "other",
        )

    def edit_aws_files(self, profile: str, transform: Transform) -> None:
        """Edit a profile in the AWS files, with a backup of what they were before the first edit.

        Raises:
            ProfileAmbiguousError: another program has changed the file, and it cannot be edited.
            CredentialsFileUnwritableError: a system call fails. The file is as it was.
        """
        for kind in self.edit_order(profile, transform):
            path = self.aws_paths[kind]

            def edit(data: bytes, kind: AwsFileKind = kind, path: Path = path) -> bytes:
                return transform(data, profile, kind, path=str(path))

            try:
                self._files[kind].edit_with_backup(edit)
            except CredentialsFileUnwritableError as error:
                if not isinstance(error.__cause__, OSError):
                    raise
                # Its hint for a system call is about the file of refreshes.
                raise CredentialsFileUnwritableError(
                    error.message,
                    hint=f"make {path} and its directory writable, and run the command again",
                ) from error
            self.aws_data[kind] = self._files[kind].read()

    def is_adopted(self, profile: str) -> bool:
        """Whether an AWS file has lines of the profile that `adopt` commented out."""
        return any(
            is_adopted(self.aws_data[kind], profile, kind, path=str(path))
            for kind, path in self.aws_paths.items()
        )

    def parse_configuration(self, data: bytes) -> Configuration:
        """Return the configuration in new content of its file.

        Raises:
            InvalidConfigurationError: it is invalid.
        """
        return loader.parse(
            data,
            self.config_path,
            user=paths.user_name(),
            host=socket.gethostname(),
            source_exists=self.aws_files.profiles.__contains__,
        )

    def write_configuration(self, data: bytes | None) -> None:
        """Replace the configuration file, create it, or remove it if there is no content.

        Raises:
            AdoptionRejectedError: another program has changed it meanwhile.
            ConfigurationNotWrittenError: a system call fails. The file is as it was.
        """
        file = self.config_path.resolve()
        try:
            found = file.read_bytes() if file.exists() else None
            if found != self.config_data:
                raise AdoptionRejectedError(
                    f"{self.config_path} has just been changed by another program",
                    hint="run the command again",
                )
            create_private_parents(file)
            if data is None:
                file.unlink()
            else:
                mode = PRIVATE_MODE if found is None else stat.S_IMODE(file.stat().st_mode)
                replace_file(file, data, mode=mode, sync=True)
            sync_directory(file.parent)
        except OSError as error:
            raise ConfigurationNotWrittenError(
                f"{self.config_path}: the configuration cannot be written: {error.strerror}",
                hint="make the file and its directory writable, or edit it yourself",
            ) from error
        self.config_data = data

    def _check_paths(self, environ: Mapping[str, str]) -> None:
        own = self.aws_paths[AwsFileKind.CREDENTIALS]
        if Path() in self.aws_paths.values():
            raise AdoptionRejectedError(
                "AWS_CONFIG_FILE or AWS_SHARED_CREDENTIALS_FILE is empty, so AWS tools do not "
                "read that file",
                hint="unset the variable",
            )
        if self.configuration is None:
            return
        written = credentials_path(self.configuration, environ)
        if written.resolve() != own.resolve():
            raise AdoptionRejectedError(
                f"assumed writes {written}, and AWS tools read {own}: an adopted profile would "
                "have no credentials",
                hint=f"remove credentials_file: path: from {self.config_path}",
            )


def _lines(data: bytes | None) -> list[str]:
    lines = (data or b"").decode(errors="replace").split("\n")
    return lines if lines[-1] else lines[:-1]
