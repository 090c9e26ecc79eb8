"""`assumed init`: a first configuration from the AWS files, in the place of no other file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from assumed import paths
from assumed.app.init.generator import Definition, GeneratedConfig, propose
from assumed.aws_files.profiles import read_aws_files
from assumed.config import loader
from assumed.config.permissions import insecure_reason
from assumed.config.schema import ProfileModel
from assumed.errors import (
    ConfigurationError,
    ConfigurationNotWrittenError,
    NoRoleProfilesError,
    UnexpectedError,
    UsageError,
)
from assumed.fsutil import create_file, create_private_parents
from assumed.models import is_profile_name

_TRIAL = Path("proposal")


def first_place(named: Path | None, environ: Mapping[str, str]) -> Path:
    """Return where a first configuration belongs: the place that `config.find` looks at first."""
    return loader.places(named, environ)[0].absolute()


def proposal(environ: Mapping[str, str], *, suffix: str) -> GeneratedConfig:
    """Read the AWS files and return a configuration that is valid.

    Args:
        environ: says where they are.
        suffix: what stands behind the name of a profile in that of its definition.

    Raises:
        UsageError: a suffix that no name can end in.
        NoRoleProfilesError: there is no role profile that this version can keep fresh.
        SourceUnavailableError: one of the AWS files can't be read.
        CredentialsFileMalformedError: likewise, with the line.
    """
    if not suffix or not is_profile_name(f"x{suffix}"):
        raise UsageError(
            f"--suffix {suffix!r}: no profile can have a name that ends in it",
            hint="use letters, digits and any of ._-/@+",
        )
    files = read_aws_files(
        Path(paths.aws_config_file(environ)), Path(paths.aws_credentials_file(environ))
    )
    proposed = propose(
        files,
        suffix=suffix,
        known=ProfileModel.model_fields.keys(),
        find_mistake=find_mistake,
        home=Path(paths.home_directory()),
    )
    if not proposed.profiles:
        left_out = [
            f"{each.place}: profile {each.profile}: {each.reason}" for each in proposed.left_out
        ]
        raise NoRoleProfilesError(
            "\n  ".join([f"there is no role profile in {files.config} to keep fresh", *left_out]),
            hint="write the configuration by hand: README has an example, config/ all keys",
        )
    try:
        loader.parse(
            proposed.text.encode(),
            _TRIAL,
            user="me",
            host="here",
            source_exists=files.profiles.__contains__,
        )
    except ConfigurationError as error:
        raise UnexpectedError(
            f"the proposed configuration is not valid: {error.message}",
            hint="nothing was written; please report this",
        ) from error
    return proposed


def find_mistake(name: str, definitions: Mapping[str, Definition]) -> str | None:
    """Return what is wrong with definition `name`, `definitions` being it and its parents."""
    # JSON is YAML.
    text = json.dumps({"profiles": definitions}, ensure_ascii=False)
    try:
        loader.parse(text.encode(), _TRIAL, user="me", host="here")
    except ConfigurationError as error:
        _, _, problem = error.problems[0].partition(": ")
        return problem.removeprefix(f"profiles.{name}").lstrip(".: ")
    return None


def write_new(path: Path, text: str) -> str | None:
    """Write a file that is not there yet, for this user alone, in folders that are so too.

    Returns:
        Why a configuration at this place would not be read; None where it would be.

    Raises:
        UsageError: there is something at that place.
        ConfigurationNotWrittenError: the operating system refused.
    """
    try:
        create_private_parents(path)
        descriptor = create_file(path)
    except FileExistsError:
        raise UsageError(
            f"{path} is there already, and is never overwritten",
            hint="`assumed init --output -` prints a configuration, for what you want of it",
        ) from None
    except OSError as error:
        raise _not_written(path, error) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            path.unlink(missing_ok=True)
            raise _not_written(path, error) from error
        return insecure_reason(path, file.fileno())


def _not_written(path: Path, error: OSError) -> ConfigurationNotWrittenError:
    return ConfigurationNotWrittenError(
        f"{error.filename or path}: the configuration can't be written: {error.strerror}",
        hint="name a place of your own: `--output FILE`",
    )
