"""`assumed init`: writes a first configuration from the AWS files, and overwrites no file."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from assumed import paths
from assumed.app.factory import load_configuration
from assumed.app.init.config_blocks import Blocks, propose_blocks
from assumed.app.init.definition_text import skeleton
from assumed.app.init.draft import Definition
from assumed.app.init.generator import GeneratedConfig, generate_config
from assumed.aws_files.profiles import AwsFiles, read_aws_files
from assumed.config import loader
from assumed.config.permissions import insecure_reason
from assumed.config.schema import ProfileModel
from assumed.credential_sources.base import SourceProfiles
from assumed.errors import (
    ConfigurationError,
    ConfigurationNotWrittenError,
    NoRoleProfilesError,
    UnexpectedError,
    UsageError,
)
from assumed.fsutil import create_file, create_private_parents
from assumed.models import is_profile_name

_UNWRITTEN = Path("generated configuration")


def default_path(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """Return where to write a first configuration: the first path of `config.loader.places`."""
    return loader.places(explicit, environ)[0].absolute()


def generate_skeleton(environ: Mapping[str, str]) -> str:
    """Return a configuration to complete, where `generate_from_aws_files` finds nothing.

    Raises:
        SourceUnavailableError, CredentialsFileMalformedError: as `generate_from_aws_files`.
    """
    return skeleton(_read_files(environ), Path(paths.home_directory()))


def missing_blocks(environ: Mapping[str, str], profiles: Mapping[str, str]) -> Blocks:
    """Return the sections of the AWS config file that new profiles need.

    Args:
        environ: says where the AWS files are.
        profiles: the names of the new profiles, and the profiles that they are made from.

    Raises:
        SourceUnavailableError, CredentialsFileMalformedError: as `generate_from_aws_files`.
    """
    return propose_blocks(_read_files(environ), profiles)


def defined_profiles(path: Path) -> Collection[str]:
    """Return the names of the definitions of a configuration file.

    Raises:
        ConfigurationError: it is invalid.
    """
    return load_configuration(path, SourceProfiles()).profiles


def generate_from_aws_files(environ: Mapping[str, str], *, suffix: str) -> GeneratedConfig:
    """Read the AWS files and return a valid configuration.

    Args:
        environ: says where the AWS files are.
        suffix: appended to the name of a profile to get the name of its definition.

    Raises:
        UsageError: no profile name can end in this suffix.
        NoRoleProfilesError: there is no role profile that this version can refresh.
        SourceUnavailableError: one of the AWS files cannot be read.
        CredentialsFileMalformedError: one of the AWS files has a syntax error.
    """
    if not suffix or not is_profile_name(f"x{suffix}"):
        raise UsageError(
            f"--suffix {suffix!r}: a profile name cannot end in it",
            hint="use letters, digits and any of ._-/@+",
        )
    files = _read_files(environ)
    generated = generate_config(
        files,
        suffix=suffix,
        supported=ProfileModel.model_fields.keys(),
        find_problem=find_problem,
        home=Path(paths.home_directory()),
    )
    if not generated.profiles:
        skipped = [
            f"{each.place}: profile {each.profile}: {each.reason}" for each in generated.skipped
        ]
        raise NoRoleProfilesError(
            "\n  ".join(
                [
                    f"there is no role profile in {files.config} to generate from",
                    *skipped,
                    *generated.ignored,
                ]
            ),
            hint=f"`assumed init --output -` prints a configuration to complete; {loader.EXAMPLE}",
        )
    _require_valid(generated, files)
    return generated


def _require_valid(generated: GeneratedConfig, files: AwsFiles) -> None:
    try:
        loader.parse(
            generated.text.encode(),
            _UNWRITTEN,
            user="me",
            host="here",
            source_exists=files.profiles.__contains__,
        )
    except ConfigurationError as error:
        raise UnexpectedError(
            f"the generated configuration is not valid: {error.message}",
            hint="nothing was written; please report this",
        ) from error


def with_process_profiles(generated: GeneratedConfig) -> GeneratedConfig:
    """Return a configuration in which every definition has `credential_process: true`."""
    defaults = "defaults:\n  credential_process: true\n\nprofiles:\n"
    return replace(generated, text=generated.text.replace("profiles:\n", defaults, 1))


def find_problem(name: str, definitions: Mapping[str, Definition]) -> str | None:
    """Return what is wrong with definition `name`; None if it is valid.

    Args:
        name: the definition.
        definitions: this definition and those of its role chain.
    """
    # JSON is YAML.
    text = json.dumps({"profiles": definitions}, ensure_ascii=False)
    try:
        loader.parse(text.encode(), _UNWRITTEN, user="me", host="here")
    except ConfigurationError as error:
        _, _, problem = error.problems[0].partition(": ")
        return problem.removeprefix(f"profiles.{name}").lstrip(".: ")
    return None


def write_new_config(path: Path, text: str) -> str | None:
    """Create a configuration file, for this user only.

    Returns:
        Why the program would reject a configuration at this path; None if it would accept it.

    Raises:
        UsageError: a file with this path exists.
        ConfigurationNotWrittenError: the file cannot be written.
    """
    try:
        create_private_parents(path)
        descriptor = create_file(path)
    except FileExistsError:
        raise UsageError(
            f"{path} already exists; `init` does not overwrite it",
            hint="`assumed init --output -` prints the configuration, so you can copy from it",
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


def _read_files(environ: Mapping[str, str]) -> AwsFiles:
    return read_aws_files(
        Path(paths.aws_config_file(environ)), Path(paths.aws_credentials_file(environ))
    )


def _not_written(path: Path, error: OSError) -> ConfigurationNotWrittenError:
    return ConfigurationNotWrittenError(
        f"{error.filename or path}: the configuration cannot be written: {error.strerror}",
        hint="choose another path with `--output FILE`",
    )
