"""What every check looks at: the configuration, the AWS files, the environment, the time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from assumed.aws_files.profiles import AwsFiles
from assumed.config.key_locations import KeyLocations
from assumed.credential_sources.base import Settings
from assumed.models import (
    Configuration,
    ManagedProfile,
    MfaCode,
    MfaSession,
    ProfileDefinition,
    RootSource,
    SourceProfile,
)
from assumed.paths import expand_home


class SourceResolver(Protocol):
    """The part of `SourceProfiles` that finds what no refresh can use, without the network."""

    def resolve(self, name: str) -> object:
        """Return a source profile, or raise the error that its use raises."""
        ...

    def login_command(self, name: str) -> str:
        """Return the command that logs in to a profile; empty if none is needed."""
        ...

    def settings(self, config_profiles: Sequence[str]) -> tuple[str | None, Settings]:
        """Return the first of these profiles that has settings, and its settings."""
        ...


class Logins(Protocol):
    """The MFA sessions of this user."""

    def expires_at(self, source: MfaSession) -> datetime | None:
        """Return when a session expires; None if there is no valid one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The input of the checks.

    Args:
        configuration: valid by itself.
        keys: where the configuration file has each key.
        files: the AWS files as they are now.
        credentials_file: the file that is written.
        sources: finds source profiles that cannot be used.
        logins: the MFA sessions.
        environ: of the shell.
        now: aware UTC.
    """

    configuration: Configuration
    keys: KeyLocations
    files: AwsFiles
    credentials_file: Path
    sources: SourceResolver
    logins: Logins
    environ: Mapping[str, str]
    now: datetime

    @property
    def enabled(self) -> Mapping[str, ProfileDefinition]:
        """The definitions that are refreshed."""
        profiles = self.configuration.profiles
        return {name: found for name, found in profiles.items() if found.enabled}

    def users_by_source(self) -> Mapping[RootSource, tuple[str, ...]]:
        """Return the enabled definitions that use each source directly."""
        users: dict[RootSource, tuple[str, ...]] = {}
        for name, definition in self.enabled.items():
            if not isinstance(definition.source, ManagedProfile):
                users[definition.source] = (*users.get(definition.source, ()), name)
        return users

    def settings_of(self, definition: ProfileDefinition) -> tuple[str, Mapping[str, Any]]:
        """Return the profile whose settings apply to a definition's calls, and its settings."""
        chosen, settings = self.sources.settings(definition.config_profiles)
        return chosen or "default", settings.get("profile", {})

    def problem_of_command(self, command: str) -> str | None:
        """Return why a program cannot be started, such as `is not installed`; None if it can."""
        path = expand_home(command)
        if shutil.which(path, path=self.environ.get("PATH")) is not None:
            return None
        if "/" not in path:
            return "is in no directory of PATH"
        return "is not executable" if Path(path).exists() else "does not exist"


def source_profile_of(source: RootSource) -> str | None:
    """Return the profile of the AWS files that a source starts from; None if it is no profile."""
    match source:
        case SourceProfile(name) | MfaSession(SourceProfile(name)) | MfaCode(SourceProfile(name)):
            return name
        case _:
            return None
