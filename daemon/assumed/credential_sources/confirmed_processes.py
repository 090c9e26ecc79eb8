"""Which commands of the credentials file may run: those that a person has put there.

botocore runs a `credential_process` that stands in the credentials file. Programs that store keys
write this file, and some containers may, so a command that appears in it while the daemon runs is
not executed until a person confirms it. The AWS config file and the configuration of assumed are
written by people.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assumed.aws_files.ini import IniDocument
from assumed.errors import CredentialsFileMalformedError, SourceMissingError
from assumed.fsutil import MAX_AWS_FILE_BYTES, read_file

_KEY = "credential_process"


class ConfirmedProcesses:
    """The commands that were in the credentials file at the start, or were confirmed since.

    Args:
        how_to_confirm: completes "if this is your change, …".
    """

    def __init__(self, how_to_confirm: str) -> None:
        self._how_to_confirm = how_to_confirm
        self._confirmed: dict[str, Any] | None = None

    def start_with(self, credentials: Mapping[str, Any]) -> None:
        """Confirm the commands of the first content of the file that was read."""
        if self._confirmed is None:
            self.confirm(credentials)

    def confirm(self, credentials: Mapping[str, Any]) -> None:
        """Confirm all commands of the file, and no others.

        Args:
            credentials: the entries of each section.
        """
        self._confirmed = {
            name: entries[_KEY] for name, entries in credentials.items() if _KEY in entries
        }

    def require_confirmed(
        self, source: str, profile: str, credentials: Mapping[str, Any], path: Path
    ) -> None:
        """Check that the command of a profile, if it has one in this file, may run.

        Args:
            source: the source profile that depends on it, for the message.
            profile: the section.
            credentials: the entries of each section.
            path: the file.

        Raises:
            SourceMissingError: the command is new or has changed.
        """
        command = credentials.get(profile, {}).get(_KEY)
        if command is None or (self._confirmed or {}).get(profile) == command:
            return
        raise SourceMissingError(
            f"source profile {source}: the credential_process of profile {profile} was not run: "
            f"it has appeared or changed since the start, at {_location(path, profile)}",
            hint=f"if this is your change, {self._how_to_confirm}; otherwise remove it, and find "
            "out which program can write this file",
        )


def _location(path: Path, profile: str) -> str:
    try:
        document = IniDocument(read_file(path, max_bytes=MAX_AWS_FILE_BYTES), str(path))
        return f"{path}:{document.inherited_options()[profile][_KEY].line + 1}"
    except (OSError, KeyError, CredentialsFileMalformedError):
        # It has just been changed again.
        return str(path)
