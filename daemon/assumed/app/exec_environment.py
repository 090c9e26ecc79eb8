"""The environment variables and AWS files that a command under `assumed exec` sees.

botocore tries the container credentials endpoint nearly last. So that nothing takes precedence over
it, the command sees AWS files with the settings of its profile and without credentials, and an
environment without the user's credentials.

Source: botocore/credentials.py, `create_credential_resolver`; a test checks it with botocore.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from typing import Any
from zlib import crc32

from assumed import paths
from assumed.fastpath.formats import VARIABLES
from assumed.fsutil import MAX_AWS_FILE_BYTES, create_directory, read_file, write_new_file
from assumed.models import EndpointAddress
from assumed.server.http import LOOPBACK
from assumed.server.unix_socket import private_directory

# Variables that select other credentials, or another profile.
_CREDENTIAL_VARIABLES = (
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_ACCOUNT_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CREDENTIAL_FILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_OUTER = "ASSUMED_OUTER_"
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")

Settings = Mapping[str, Any]
"""A section of the AWS config file; a value that is a mapping is a nested block."""


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

    def write(self, profile: str, sections: Mapping[str, Settings]) -> None:
        """Write both files with mode 0600.

        Args:
            profile: the profile; its settings are also those of the default profile.
            sections: the settings, as `profile`, and the sections they name: `services NAME`.
        """
        settings = sections.get("profile", {})
        named = {name: block for name, block in sections.items() if name != "profile"}
        all_sections = {"default": settings, f'profile "{profile}"': settings, **named}
        text = "".join(_section(name, block) for name, block in all_sections.items())
        write_new_file(self.config, text.encode())
        write_new_file(self.credentials, b"")

    def remove(self) -> None:
        """Remove the directory; a second call does nothing."""
        rmtree(self.directory, ignore_errors=True)


def child_environ(
    environ: Mapping[str, str],
    files: IsolatedAwsFiles,
    provided: EndpointAddress | Mapping[str, str],
) -> dict[str, str]:
    """Return the environment of a command.

    Args:
        environ: the environment of the user.
        files: replace the AWS files of the user.
        provided: an endpoint, or credentials for one session by the names of a credential process.

    Raises:
        OSError: the token file cannot be read.
    """
    environ = {**environ, **original_environ(environ)}
    child = {name: value for name, value in environ.items() if name not in _CREDENTIAL_VARIABLES}
    for name in paths.AWS_FILES:
        child[_OUTER + name] = environ.get(name, "")
    child["AWS_CONFIG_FILE"] = str(files.config)
    child["AWS_SHARED_CREDENTIALS_FILE"] = str(files.credentials)
    if _boto_2_has_keys(environ):
        child["BOTO_CONFIG"] = str(files.credentials)
    if isinstance(provided, EndpointAddress):
        # Otherwise an HTTP proxy would get the path and the token.
        for name in ("NO_PROXY", "no_proxy"):
            present = [environ[name]] if environ.get(name) else []
            child[name] = ",".join([*present, LOOPBACK])
        return child | {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": provided.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(provided.token_file),
            # SDKs from before 2024 do not support the file, such as the AWS CLI of Debian 12.
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": provided.token_file.read_text(),
        }
    return child | {variable: provided[name] for variable, name in VARIABLES.items()}


def with_region(environ: dict[str, str], region: str | None) -> dict[str, str]:
    """Return the environment with the variables for a region, unless it has one already.

    This is for tools that only read environment variables.
    """
    if region is None or any(name in environ for name in _REGIONS):
        return environ
    return environ | dict.fromkeys(_REGIONS, region)


def original_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that lead to the user's AWS files, if they were replaced by `exec`.

    Used if this program is started under `assumed exec`. Elsewhere the result is empty. A variable
    that was not set has botocore's default.
    """
    return {
        name: environ[_OUTER + name] or default
        for name, default in paths.AWS_FILES.items()
        if _OUTER + name in environ
    }


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


def _boto_2_has_keys(environ: Mapping[str, str]) -> bool:
    # botocore prefers the keys of boto 2 to an endpoint.
    for path in paths.boto_2_files(environ):
        with suppress(OSError):
            data = read_file(Path(path), max_bytes=MAX_AWS_FILE_BYTES)
            if b"aws_access_key_id" in data.lower():
                return True
    return False


def _section(name: str, settings: Settings) -> str:
    return f"[{name}]\n" + "".join(_lines(settings)) + "\n"


def _lines(settings: Settings) -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield f"{key} =\n"
            yield from (f"  {inner} = {text}\n" for inner, text in value.items())
        else:
            first, *rest = str(value).split("\n")
            yield f"{key} = {first}\n"
            yield from (f"  {line}\n" for line in rest if line)
