"""What a command under `assumed exec` finds around it: its environment, and AWS files of its own.

In botocore's chain the credentials of the container endpoint come nearly last. So that nothing
comes before them, the command is shown AWS files with the settings of its one profile and no
credentials in them, and an environment without those of the user.

Source: botocore/credentials.py, `create_credential_resolver`; a test asks botocore itself.
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
from assumed.fsutil import create_directory, write_new_file
from assumed.models import EndpointAddress
from assumed.server.http import LOOPBACK
from assumed.server.unix_socket import private_directory

# What tells an SDK of other credentials, or of another profile to look for them.
_LEADS_TO_CREDENTIALS = (
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
"""A section of the AWS config file; a value that is a mapping is a block nested in it."""


@dataclass(frozen=True, slots=True)
class IsolatedAwsFiles:
    """The AWS files of a command, in a folder of mode 0700 that is removed after it."""

    folder: Path

    @property
    def config(self) -> Path:
        """For `AWS_CONFIG_FILE`."""
        return self.folder / "config"

    @property
    def credentials(self) -> Path:
        """For `AWS_SHARED_CREDENTIALS_FILE`: an empty file."""
        return self.folder / "credentials"

    def write(self, profile: str, sections: Mapping[str, Settings]) -> None:
        """Write both files, mode 0600.

        Args:
            profile: whose settings also are those of a command that names no profile.
            sections: `profile`, and what it refers to by a name: `services NAME`.
        """
        settings = sections.get("profile", {})
        named = {name: block for name, block in sections.items() if name != "profile"}
        shown = {"default": settings, f'profile "{profile}"': settings, **named}
        text = "".join(_section(name, block) for name, block in shown.items())
        write_new_file(self.config, text.encode())
        write_new_file(self.credentials, b"")

    def remove(self) -> None:
        """Leave nothing behind; a second call does nothing."""
        rmtree(self.folder, ignore_errors=True)


def child_environ(
    environ: Mapping[str, str],
    files: IsolatedAwsFiles,
    given: EndpointAddress | Mapping[str, str],
) -> dict[str, str]:
    """Return the environment of a command.

    Args:
        environ: the user's own.
        files: what it sees in place of the user's AWS files.
        given: an endpoint; or credentials, by the names of a credential process, that are good
            for as long as they last.

    Raises:
        OSError: the token file can't be read.
    """
    environ = {**environ, **outer_environ(environ)}
    child = {name: value for name, value in environ.items() if name not in _LEADS_TO_CREDENTIALS}
    for name in paths.AWS_FILES:
        child[_OUTER + name] = environ.get(name, "")
    child["AWS_CONFIG_FILE"] = str(files.config)
    child["AWS_SHARED_CREDENTIALS_FILE"] = str(files.credentials)
    if _boto_2_has_keys(environ):
        child["BOTO_CONFIG"] = str(files.credentials)
    if isinstance(given, EndpointAddress):
        # A proxy for http would be sent the path and the token.
        for name in ("NO_PROXY", "no_proxy"):
            named = [environ[name]] if environ.get(name) else []
            child[name] = ",".join([*named, LOOPBACK])
        return child | {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": given.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(given.token_file),
            # SDKs from before 2024 do not know the file, such as that of Debian 12's AWS CLI.
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": given.token_file.read_text(),
        }
    return child | {variable: given[name] for variable, name in VARIABLES.items()}


def with_region(environ: dict[str, str], region: str | None) -> dict[str, str]:
    """Return an environment that names a region; one that names one already is as it was.

    For tools that know nothing but plain variables.
    """
    if region is None or any(name in environ for name in _REGIONS):
        return environ
    return environ | dict.fromkeys(_REGIONS, region)


def outer_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what assumed itself, started under `assumed exec`, has to see: the user's AWS files.

    Empty outside of it, as the variables that are to be unset are empty: botocore's defaults.
    """
    return {
        name: environ[_OUTER + name] or default
        for name, default in paths.AWS_FILES.items()
        if _OUTER + name in environ
    }


def own_files(environ: Mapping[str, str]) -> IsolatedAwsFiles:
    """Make the folder for the files of the command that this process is about to become.

    Raises:
        DaemonUnreachableError: the folder that it belongs in is another user's.
        OSError: it can't be made.
    """
    private_directory(Path(paths.state_directory(environ)))
    parent = _parent(environ)
    private_directory(parent)
    folder = parent / f"{_process(os.getpid())}-{token_hex(4)}"
    create_directory(folder, exist_ok=False)
    return IsolatedAwsFiles(folder)


def tidy(environ: Mapping[str, str]) -> None:
    """Remove what commands left that have ended, however they did; never an error."""
    with suppress(OSError):
        for folder in _parent(environ).iterdir():
            process, _, _ = folder.name.rpartition("-")
            pid = process.partition("-")[0]
            is_of_here = process.endswith(f"-{_processes()}")
            if pid.isdecimal() and is_of_here and process != _process(int(pid)):
                rmtree(folder, ignore_errors=True)


def _parent(environ: Mapping[str, str]) -> Path:
    # Not in XDG_RUNTIME_DIR: systemd removes that when the user logs out, and what they left
    # running in tmux still reads these files.
    return Path(paths.state_directory(environ), "exec")


def _process(pid: int) -> str:
    """Return a name for a process that no other one has; another one where it has ended."""
    started_at = ""
    with suppress(OSError):
        # proc(5): field 22, counted from behind the command, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        started_at = fields[19]
    if not started_at and sys.platform != "linux":
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, 0)
            started_at = "0"
    return f"{pid}-{started_at}-{_processes()}"


def _processes() -> str:
    """Return which processes can be seen: another host or container may share the home."""
    namespace = 0
    with suppress(OSError):
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    return f"{namespace}-{crc32(os.uname().nodename.encode()):08x}"


def _boto_2_has_keys(environ: Mapping[str, str]) -> bool:
    # botocore takes the keys of boto 2 before those of an endpoint.
    for path in paths.boto_2_files(environ):
        with suppress(OSError):
            if b"aws_access_key_id" in Path(path).read_bytes().lower():
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
