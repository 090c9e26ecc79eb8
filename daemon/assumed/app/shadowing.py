"""What makes AWS tools ignore refreshed keys, for `status`, `refresh`, `service` and the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from assumed.app.factory import credentials_path
from assumed.aws_files.profiles import AwsFiles, read_aws_files
from assumed.aws_files.shadowing import shadowing_notes
from assumed.errors import AssumedError
from assumed.logs import event
from assumed.models import Configuration, StorageMode
from assumed.paths import aws_config_file, aws_credentials_file


def notes_about(profiles: Iterable[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the notes about profiles in the credentials file of an environment, by profile.

    Returns:
        As `shadowing_notes`; nothing if the AWS files cannot be read.
    """
    files = _read(Path(aws_credentials_file(environ)), environ)
    return {} if files is None else shadowing_notes(files, profiles)


def status_notes(profiles: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Return a line for each such profile, and for each file of which some SDKs read nothing.

    The latter names the line that those SDKs reject. There is no line about a file that botocore
    cannot read either.
    """
    files = _read(Path(aws_credentials_file(environ)), environ)
    if files is None:
        return []
    return [
        *(f"{profile}: {note}" for profile, note in shadowing_notes(files, profiles).items()),
        *(f"{found.location}: {found}" for found in files.unreadable),
    ]


def _read(credentials: Path, environ: Mapping[str, str]) -> AwsFiles | None:
    try:
        return read_aws_files(Path(aws_config_file(environ)), credentials)
    except AssumedError:
        # `check` and each refresh report it.
        return None


class ShadowingLog:
    """Logs each profile whose refreshed keys AWS tools ignore, once for each reason."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._logged: Mapping[str, str] = {}

    def update(self, configuration: Configuration) -> None:
        """Read the AWS files, and log what is new."""
        stored = [
            name
            for name, definition in configuration.profiles.items()
            if definition.enabled and definition.store is StorageMode.FILE
        ]
        files = _read(credentials_path(configuration, self._environ), self._environ)
        notes = {} if files is None else shadowing_notes(files, stored)
        for name, note in notes.items():
            if self._logged.get(name) != note:
                event(
                    logging.WARNING,
                    "profile_shadowed",
                    profile=name,
                    problem=note,
                    hint="`assumed check` shows what to do",
                )
        self._logged = notes
