"""Sections of the AWS config file that give the new profiles the settings of the old ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assumed import paths
from assumed.aws_files.config_text import append_sections, header, is_setting
from assumed.aws_files.profiles import AwsFiles, AwsProfile
from assumed.errors import CredentialsFileUnwritableError, UsageError
from assumed.storage import LockedFile

Blocks = Mapping[str, Mapping[str, str]]
"""Settings by header."""


def propose_blocks(files: AwsFiles, profiles: Mapping[str, str]) -> Blocks:
    """Return the missing section of each new profile, without any key that leads to credentials.

    Args:
        files: the AWS files.
        profiles: the names of the new profiles, and the profiles that they are made from.
    """
    blocks: dict[str, Mapping[str, str]] = {}
    for name, original in profiles.items():
        known = files.profiles.get(name)
        settings = _settings(files.profiles[original])
        if settings and (known is None or not known.config):
            blocks[header("profile", name)] = settings
    return blocks


def is_block(profile: AwsProfile, original: AwsProfile) -> bool:
    """Return whether a profile is the section that is proposed for another one, and no more.

    It may have keys that assumed has written.
    """
    found = {key: entry.value for key, entry in profile.config.items()}
    is_free = not profile.credentials or profile.is_managed
    return is_free and found == _settings(original)


def write_blocks(blocks: Blocks, environ: Mapping[str, str]) -> Path:
    """Append sections to the AWS config file, and return its path.

    Raises:
        UsageError: AWS tools read no config file.
        CredentialsFileMalformedError: botocore cannot read the file.
        CredentialsFileUnwritableError: a system call fails. The file is as it was.
    """
    path = Path(paths.aws_config_file(environ))
    if path == Path():
        raise UsageError(
            "AWS_CONFIG_FILE is empty, so AWS tools read no config file", hint="unset it"
        )
    file = LockedFile(path, is_private=False)
    try:
        file.recover()
        file.edit_with_backup(lambda data: append_sections(data, blocks, path=str(path)))
    except CredentialsFileUnwritableError as error:
        raise CredentialsFileUnwritableError(
            error.message, hint=f"make {path} and its directory writable, and run it again"
        ) from error
    return path


def _settings(profile: AwsProfile) -> Mapping[str, str]:
    return {key: entry.value for key, entry in profile.entries.items() if is_setting(key)}
