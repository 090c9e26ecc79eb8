"""Which refreshed keys AWS tools ignore, for `status`, `refresh`, `service install` and the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from assumed.app.factory import credentials_path
from assumed.aws_files.profiles import read_aws_files
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
    return _notes(profiles, Path(aws_credentials_file(environ)), environ)


def _notes(
    profiles: Iterable[str], credentials: Path, environ: Mapping[str, str]
) -> Mapping[str, str]:
    try:
        files = read_aws_files(Path(aws_config_file(environ)), credentials)
    except AssumedError:
        # `check` and each refresh report it.
        return {}
    return shadowing_notes(files, profiles)


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
        notes = _notes(stored, credentials_path(configuration, self._environ), self._environ)
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
