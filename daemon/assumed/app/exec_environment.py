"""The AWS files that a command under `assumed exec` sees.

The SDKs try the container credentials endpoint nearly last. So that nothing takes precedence over
it, the command sees AWS files with the settings of its profile and without the user's credentials.
`exec_variables` does the same for the environment.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from typing import Any
from zlib import crc32

from assumed import paths
from assumed.aws_files.config_text import header, sections_text
from assumed.credential_sources.base import Settings
from assumed.fsutil import create_directory, write_new_file
from assumed.server.unix_socket import private_directory


@dataclass(frozen=True, slots=True)
class IsolatedAwsFiles:
    """The AWS files of a command, in a directory with mode 0700 that is removed afterwards."""

    directory: Path

    @property
    def config(self) -> Path:
        """The value of `AWS_CONFIG_FILE`."""
        return self.directory / "config"

    @property
    def credentials(self) -> Path:
        """The value of `AWS_SHARED_CREDENTIALS_FILE`: an empty file."""
        return self.directory / "credentials"

    def write(self, profile: str, sections: Settings, *, process: Sequence[str] = ()) -> None:
        """Write both files with mode 0600.

        Args:
            profile: the profile; its settings are also those of the default profile.
            sections: the settings, as `profile`, and the sections they name: `services NAME`.
                A value that is a mapping is a nested block.
            process: the command of a `credential_process`, for SDKs that do not use an endpoint if
                they find a profile; empty for none.
        """
        settings = dict(sections.get("profile", {}))
        if process:
            settings["credential_process"] = shlex.join(process)
        written: dict[str, Mapping[str, Any]] = {
            "default": settings,
            header("profile", profile): settings,
        }
        for name, block in sections.items():
            if name != "profile":
                written[header(*name.split(" ", 1))] = block
        text = sections_text(written)
        write_new_file(self.config, text.encode(errors="surrogateescape"))
        write_new_file(self.credentials, b"")

    def remove(self) -> None:
        """Remove the directory; a second call does nothing."""
        rmtree(self.directory, ignore_errors=True)


def create_isolated_files(environ: Mapping[str, str]) -> IsolatedAwsFiles:
    """Create the directory for the AWS files of the command that this process becomes.

    Raises:
        DaemonUnreachableError: its parent directory belongs to another user.
        OSError: it cannot be created.
    """
    private_directory(Path(paths.state_directory(environ)))
    parent = _exec_directory(environ)
    private_directory(parent)
    directory = parent / f"{_process_name(os.getpid())}-{token_hex(4)}"
    create_directory(directory, exist_ok=False)
    return IsolatedAwsFiles(directory)


def remove_stale_exec_dirs(environ: Mapping[str, str]) -> None:
    """Remove the directories of commands that have ended; never fails."""
    with suppress(OSError):
        for directory in _exec_directory(environ).iterdir():
            process, _, _ = directory.name.rpartition("-")
            pid = process.partition("-")[0]
            is_of_this_host = process.endswith(f"-{_host_name()}")
            if pid.isdecimal() and is_of_this_host and process != _process_name(int(pid)):
                rmtree(directory, ignore_errors=True)


def _exec_directory(environ: Mapping[str, str]) -> Path:
    # Not in XDG_RUNTIME_DIR: systemd removes it when the user logs out, but commands in tmux go on
    # and still read these files.
    return Path(paths.state_directory(environ), "exec")


def _process_name(pid: int) -> str:
    """Return a name for a process that no other process has; a different one if it has ended."""
    started_at = ""
    with suppress(OSError):
        # proc(5): field 22, counted after the name of the command, which may contain anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        started_at = fields[19]
    if not started_at and sys.platform != "linux":
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0)
            started_at = "0"
    return f"{pid}-{started_at}-{_host_name()}"


def _host_name() -> str:
    """Return a name for this host and PID namespace: others may share the home directory."""
    namespace = 0
    with suppress(OSError):
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    return f"{namespace}-{crc32(os.uname().nodename.encode()):08x}"
