"""Which SDKs cannot read the AWS files of an environment, for `status`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assumed.aws_files.profiles import read_aws_files
from assumed.errors import AssumedError
from assumed.paths import aws_config_file, aws_credentials_file


def unreadable_notes(environ: Mapping[str, str]) -> list[str]:
    """Return a line for each file of which some SDKs read nothing, with the line that they reject.

    Returns:
        Nothing for a file that botocore cannot read either: `check` and each refresh report it.
    """
    config, credentials = Path(aws_config_file(environ)), Path(aws_credentials_file(environ))
    try:
        files = read_aws_files(config, credentials)
    except AssumedError:
        return []
    return [f"{found.location}: {found}" for found in files.unreadable]
