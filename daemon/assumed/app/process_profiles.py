"""Keeps a profile NAME-live in both AWS files for each definition with `credential_process: true`.

Its `credential_process` runs this installation of assumed, so that SDKs get fresh credentials
whenever theirs expire. Some SDKs look for that key in only one of the two files.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from assumed.app.factory import credentials_path
from assumed.app.program import this_program
from assumed.aws_files.adoption import AwsFileKind
from assumed.aws_files.process_profiles import SUFFIX, edit_process_profiles, kept_profiles
from assumed.aws_files.profiles import AwsFiles, parse_aws_files
from assumed.config import loader
from assumed.errors import AssumedError
from assumed.logs import event
from assumed.models import Configuration, ProfileDefinition
from assumed.paths import aws_config_file
from assumed.storage import LockedFile

Settings = Mapping[str, Mapping[str, str]]


class ProcessProfiles:
    """The NAME-live profiles of both AWS files.

    Args:
        configuration: says where the credentials file is, and how it is written.
        environ: the environment, which may name the AWS files.
    """

    def __init__(self, configuration: Configuration, environ: Mapping[str, str]) -> None:
        config, credentials = aws_config_file(environ), credentials_path(configuration, environ)
        self._configuration = configuration
        self._environ = environ
        self._paths = {AwsFileKind.CONFIG: Path(config), AwsFileKind.CREDENTIALS: credentials}
        self._files = {
            AwsFileKind.CONFIG: LockedFile(Path(config), is_private=False),
            AwsFileKind.CREDENTIALS: LockedFile(credentials, write=configuration.write),
        }

    def keep(self) -> None:
        """Add, change and remove profiles as the configuration says; log what cannot be done.

        A file that has them already is not written.
        """
        names = [
            name
            for name, definition in self._configuration.profiles.items()
            if definition.enabled and definition.credential_process
        ]
        for kind, path in self._paths.items():
            try:
                self._write(kind, self._wanted(kind, names), self._is_of_this_configuration)
            except AssumedError as error:
                event(
                    logging.WARNING,
                    "process_profiles_not_written",
                    file=path,
                    error=error.message,
                    hint=f"{error.hint}; the daemon tries it again at its next start or reload",
                )

    def remove(self, profiles: Collection[str] | None) -> tuple[str, ...]:
        """Remove the NAME-live profiles of these definitions, or of all; return those removed.

        Raises:
            CredentialsFileError: a file cannot be read or changed.
        """
        names = None if profiles is None else {f"{name}{SUFFIX}" for name in profiles}
        removed: dict[str, None] = {}
        for kind in self._paths:
            chosen = self._write(kind, {}, lambda name, _: names is None or name in names)
            removed |= dict.fromkeys(chosen)
        return tuple(removed)

    def _write(
        self, kind: AwsFileKind, wanted: Settings, is_removed: Callable[[str, str], bool]
    ) -> tuple[str, ...]:
        """Write a file, and return what was removed.

        Args:
            kind: which file.
            wanted: the settings of its profiles.
            is_removed: whether a profile that is not wanted is removed, by its name and command.
        """
        path, file = self._paths[kind], self._files[kind]
        if path == Path():
            # The variable that names it is empty: AWS tools read no such file.
            return ()
        file.recover()
        data = file.read()
        kept = kept_profiles(data, kind, path=str(path))
        if not kept and not wanted:
            return ()
        stays = {name for name, command in kept.items() if not is_removed(name, command)}
        removed: list[str] = []

        def edit(data: bytes) -> bytes:
            result = edit_process_profiles(data, kind, wanted, stays=stays, path=str(path))
            removed[:] = result.removed
            return result.data

        first = edit_process_profiles(data, kind, wanted, stays=stays, path=str(path))
        for name in first.foreign:
            event(
                logging.WARNING,
                "process_profile_exists",
                profile=name,
                file=path,
                hint="assumed has not written this profile and leaves it as it is; remove it, or "
                f"`credential_process: true` of {name.removesuffix(SUFFIX)}",
            )
        if first.data != data:
            file.edit(edit)
        return tuple(removed)

    def _is_of_this_configuration(self, name: str, command: str) -> bool:
        """Whether a profile is not that of a daemon with another configuration."""
        arguments = self._arguments(name.removesuffix(SUFFIX))
        return command.endswith(f" {shlex.join(arguments)}")

    def _wanted(self, kind: AwsFileKind, names: Sequence[str]) -> Settings:
        if not names:
            return {}
        is_config = kind is AwsFileKind.CONFIG
        files = self._read() if is_config else None
        found: dict[str, Mapping[str, str]] = {}
        for name in names:
            command = [*this_program(sys.argv[0]), *self._arguments(name)]
            settings = {"credential_process": shlex.join(command)}
            region = files and _region(files, self._configuration.profiles[name])
            found[f"{name}{SUFFIX}"] = {**settings, **({"region": region} if region else {})}
        return found

    def _read(self) -> AwsFiles:
        config, credentials = (
            (self._paths[kind], file.read()) for kind, file in self._files.items()
        )
        return parse_aws_files(config, credentials)

    def _arguments(self, name: str) -> list[str]:
        path = self._configuration.path.absolute()
        is_found = any(path == place.absolute() for place in loader.places(None, self._environ))
        options = [] if is_found else ["--config", str(path)]
        return ["export-credentials", *options, "--profile", name]


def _region(files: AwsFiles, definition: ProfileDefinition) -> str | None:
    """Return the region of the settings that apply to a definition; None if there is none."""
    if definition.region:
        return definition.region
    names = (definition.profile, *definition.config_profiles)
    profiles = (files.profiles.get(name) for name in names)
    return next((found for each in profiles if each and (found := each.value("region"))), None)
