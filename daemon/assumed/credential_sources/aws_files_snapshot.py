"""The AWS files as they were at one moment, for botocore to resolve credentials from.

botocore takes a file that it cannot open for an empty one, and with it every profile for missing.
Here a file is missing only if it does not exist; any other error is raised.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from botocore.configloader import build_profile_map
from botocore.credentials import (
    ConfigProvider,
    Credentials,
    SharedCredentialProvider,
)
from botocore.exceptions import ConfigParseError

from assumed.aws_files.config_text import is_setting
from assumed.aws_files.ownership import EDITED_KEYS
from assumed.credential_sources.botocore_adapter import credential_resolver
from assumed.fsutil import MAX_AWS_FILE_BYTES, is_missing, read_file
from assumed.sts.tls_context import SharedTlsSession

# If a profile has no credentials, botocore continues with these: the machine's own identity, which
# is not the one that the configuration names.
Settings = Mapping[str, Mapping[str, Any]]
"""Sections with settings; see `AwsFilesSnapshot.settings`."""

_OUTSIDE_THE_PROFILE = ("env", "ec2-credentials-file", "boto-config", "container-role", "iam-role")


@dataclass(frozen=True, slots=True)
class AwsFilesSnapshot:
    """Both files as botocore represents them; nothing changes them, so that sessions share them.

    Args:
        config: the AWS config file.
        credentials: the credentials file, by header.
        merged: both, as `full_config` of a botocore session.
    """

    config: Mapping[str, Any]
    credentials: Mapping[str, Any]
    merged: Mapping[str, Any]

    @classmethod
    def parse(cls, config: tuple[Path, bytes], credentials: tuple[Path, bytes]) -> AwsFilesSnapshot:
        """Parse the contents of both files by botocore's rules.

        Raises:
            ConfigParseError: one of them is malformed.
        """
        by_header = _parse(*credentials)
        profile_map = build_profile_map(_parse(*config))
        merged = deepcopy(profile_map)
        for name, entries in by_header.items():
            merged["profiles"].setdefault(name, {}).update(entries)
        return cls(profile_map, by_header, merged)

    def settings(self, profile: str) -> Settings:
        """Return the settings of a profile, without anything that leads to credentials.

        Returns:
            Its own entries under `profile`, and the section that its `services` names under
            `services NAME`.
        """
        entries = self.merged["profiles"].get(profile, {})
        sections = {"profile": {key: entries[key] for key in entries if is_setting(key)}}
        services = entries.get("services")
        if services is not None:
            sections[f"services {services}"] = self.merged["services"].get(services, {})
        return sections

    def first_existing(self, profiles: Iterable[str]) -> str | None:
        """Return the first of the profiles that the config file has.

        One of the credentials file counts if it has keys that no refresh writes.
        """
        in_config, merged = self.config["profiles"], self.merged["profiles"]
        return next(
            (
                name
                for name in profiles
                if name in in_config or not EDITED_KEYS.issuperset(merged.get(name, ()))
            ),
            None,
        )


class SnapshotSession(SharedTlsSession):
    """A botocore session that reads a snapshot of the AWS files instead of the files.

    Args:
        variables: overrides of botocore's configuration variables.
        profile: the name of the profile, for the credentials; None for none.
        snapshot: the files.
        settings: another profile and its settings, which decide instead of those of `profile` how
            services are called; None for `profile` itself.
    """

    def __init__(
        self,
        variables: dict[str, Any] | None,
        profile: str | None,
        snapshot: AwsFilesSnapshot,
        settings: tuple[str, Settings] | None = None,
    ) -> None:
        super().__init__(variables, profile=profile)
        self._snapshot = snapshot
        self._settings = settings
        if settings is not None:
            self.settings_profile = settings[0]

    def get_scoped_config(self) -> Any:
        """Return the entries that botocore takes settings from, such as the region.

        It resolves credentials by the name of the profile, with clients that have these settings.
        """
        if self._settings is None:
            return super().get_scoped_config()
        return self._settings[1]["profile"]

    @property
    def full_config(self) -> Any:
        """Both files, merged by profile."""
        return self._snapshot.merged

    def load_credentials(self) -> Credentials | None:
        """Resolve the credentials of the profile, and of nothing outside the AWS files."""
        resolver = credential_resolver(self)
        for name in _OUTSIDE_THE_PROFILE:
            resolver.remove(name)
        profile = self.get_config_variable("profile") or "default"
        from_snapshot = {
            SharedCredentialProvider.METHOD: SharedCredentialProvider(
                "", profile, ini_parser=lambda _: self._snapshot.credentials
            ),
            ConfigProvider.METHOD: ConfigProvider(
                "", profile, config_parser=lambda _: self._snapshot.config
            ),
        }
        resolver.providers = [
            from_snapshot.get(str(provider.METHOD), provider) for provider in resolver.providers
        ]
        return resolver.load_credentials()


def read_aws_file(path: Path) -> bytes:
    """Return the content of a file; empty if there is none.

    Raises:
        NotRegularFileError, FileTooLargeError: it is not a file that AWS tools can read.
        OSError: it cannot be read now, which says nothing about its content.
    """
    # An empty variable names no file, for AWS tools too.
    if path == Path():
        return b""
    try:
        return read_file(path, max_bytes=MAX_AWS_FILE_BYTES)
    except OSError as error:
        if is_missing(error):
            return b""
        raise


def _parse(path: Path, data: bytes) -> dict[str, dict[str, Any]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_file(TextIOWrapper(BytesIO(data), encoding="utf-8"), str(path))
        return {
            header: {key: _value(text) for key, text in parser.items(header)}
            for header in parser.sections()
        }
    except (configparser.Error, ValueError) as error:
        raise ConfigParseError(path=str(path), error=error) from None


def _value(text: str) -> str | dict[str, str]:
    """Return a value; an indented block below a key holds keys of its own, such as `s3 =`."""
    if not text.startswith("\n"):
        return text
    block: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, is_entry, value = line.partition("=")
        if not is_entry:
            raise ValueError("a nested block has a line without `=`")
        block[key.strip()] = value.strip()
    return block
