"""The configuration file: YAML in, definitions or every problem with its line out."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from assumed.config.definitions import build_configuration, merge_defaults
from assumed.config.fields import truncate_for_display
from assumed.config.permissions import insecure_reason
from assumed.config.schema import (
    ConfigurationModel,
    CredentialsFileModel,
    HooksModel,
    MetricsModel,
    ProfileModel,
)
from assumed.config.validation import ConfigProblem, ConfigurationValidator
from assumed.config.yaml_loader import KeyPath, LocatedProblem, YamlDocument
from assumed.errors import (
    AssumedError,
    ConfigurationError,
    ConfigurationMissingError,
    ConfigurationUnavailableError,
    InvalidConfigurationError,
)
from assumed.fsutil import is_missing, local_fault_hint
from assumed.models import Configuration
from assumed.paths import configuration_files
from assumed.text import join_words

_MAX_BYTES = 16 << 20
_SECRETS = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
_EXPECTED_MAPPING = "expected a mapping: indent its keys below it"
_WRONG_TYPE = {
    "model_type": _EXPECTED_MAPPING,
    "dict_type": _EXPECTED_MAPPING,
    "tuple_type": "expected a list, such as [one, another]",
    "missing": "missing: define at least one profile",
}
_MODELS: Mapping[str, type[BaseModel]] = {
    "credentials_file": CredentialsFileModel,
    "hooks": HooksModel,
    "metrics": MetricsModel,
}
EXAMPLE = """an example:
profiles:
  my-profile:
    role_arn: arn:aws:iam::111122223333:role/my-role
    source_profile: default"""


def find(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration file: the first of `places` that exists.

    Args:
        explicit: `--config`; no other file is considered then.
        environ: for `ASSUMED_CONFIG` (no other file is considered then) and `XDG_CONFIG_HOME`.

    Raises:
        ConfigurationMissingError: there is none.
    """
    found = places(explicit, environ)
    for place in found:
        if len(found) == 1 or _is_there(place):
            return place
    problem = f"there is no configuration file: looked for {join_words([*map(str, found)])}"
    if (user := environ.get("SUDO_USER")) and os.geteuid() == 0:
        raise ConfigurationMissingError(
            [f"{problem}; these are the files of root"],
            hint=f"run the command without sudo, to use the configuration of {user}",
        )
    for place in found:
        if _is_there(other := place.with_suffix(".yml")):
            raise ConfigurationMissingError(
                [f"{problem}; but there is {other}"], hint=f"rename it: `mv {other} {place}`"
            )
    raise ConfigurationMissingError(
        [problem],
        hint=f"run `assumed init` to create one from the AWS config file, or write {found[0]}, or "
        f"name one with `--config FILE` or ASSUMED_CONFIG; {EXAMPLE}",
    )


def _is_there(path: Path) -> bool:
    """Whether a file exists, also if it cannot be read now."""
    try:
        path.stat()
    except OSError as error:
        return not is_missing(error)
    return True


def places(explicit: Path | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the paths where a configuration file may be, in order; only one if it is named.

    Args:
        explicit: `--config`.
        environ: for `ASSUMED_CONFIG`, `XDG_CONFIG_HOME`.
    """
    named = None if explicit is None else str(explicit)
    return tuple(Path(path) for path in configuration_files(environ, named))


def load(
    path: Path,
    *,
    user: str,
    host: str,
    source_exists: Callable[[str], bool] | None = None,
    source_names: Collection[str] = (),
) -> Configuration:
    """Read a configuration file.

    Args:
        path: of the file.
        user: for the default role session name, `assumed-USER@HOST`, and for `{user}`.
        host: for the default role session name.
        source_exists: whether the AWS files have a profile; None to accept every name.
        source_names: the profiles of the AWS files, to propose one for a misspelled name.

    Raises:
        InvalidConfigurationError: with every problem, `FILE:LINE: KEY: what is wrong: fix`.
        ConfigurationMissingError: there is no file.
        ConfigurationError: others can write it.
        ConfigurationUnavailableError: the file cannot be read now.
    """
    return parse(
        _read(path),
        path,
        user=user,
        host=host,
        source_exists=source_exists,
        source_names=source_names,
    )


def parse(  # noqa: PLR0913 - as `load`, and the bytes
    data: bytes,
    path: Path,
    *,
    user: str,
    host: str,
    source_exists: Callable[[str], bool] | None = None,
    source_names: Collection[str] = (),
) -> Configuration:
    """Return the configuration in the bytes of a file; see `load`.

    Raises:
        InvalidConfigurationError: as `load`.
    """
    document = YamlDocument(_decode(data, path))
    problems = list(document.problems)
    if document.value is None:
        if not problems:
            problems.append(LocatedProblem(1, (), "the file is empty"))
    elif not isinstance(document.value, dict):
        problems.append(
            LocatedProblem(document.line(()), (), "not a mapping: begin the file with `profiles:`")
        )
    else:
        model, found = _validate(document.value)
        if model is not None:
            profiles = merge_defaults(model)
            validator = ConfigurationValidator(
                model,
                profiles,
                source_exists=source_exists,
                source_names=source_names,
                rejected={problem.meant for problem in found},
            )
            found += validator.problems()
        reported = {problem.where for problem in document.problems}
        problems += [
            LocatedProblem(document.line(problem.where), problem.where, problem.text)
            for problem in found
            # A value that YAML rejected is missing from the model: report it once.
            if problem.where not in reported
        ]
        if model is not None and not problems:
            return build_configuration(model, profiles, path=path, user=user, host=host)
    raise _invalid(path, problems)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            kind = "a directory" if is_directory else "not a regular file"
            name = path / "config.yaml" if is_directory else "FILE"
            raise ConfigurationError(
                [f"{path}: {kind}"], hint=f"name a file, such as `--config {name}`"
            )
        if (reason := insecure_reason(path, descriptor)) is not None:
            raise ConfigurationError(
                [f"{path}: {reason}"],
                hint="the file decides which credentials are used and which commands run, so it "
                "is not read while another user can change it",
            )
        return os.pread(descriptor, _MAX_BYTES, 0)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError) -> AssumedError:
    problem = f"{path}: cannot be read: {error.strerror}"
    if is_missing(error):
        others = [path.with_suffix(suffix) for suffix in (".yaml", ".yml")]
        nearest = [other for other in others if other != path and _is_there(other)]
        hint = f"did you mean {nearest[0]}?" if nearest else f"create it; {EXAMPLE}"
        return ConfigurationMissingError([problem], hint=hint)
    return ConfigurationUnavailableError(problem, hint=local_fault_hint(error))


def _decode(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _invalid(
            path, [LocatedProblem(line, (), "not UTF-8: save the file as UTF-8")]
        ) from None


def _invalid(path: Path, problems: list[LocatedProblem]) -> InvalidConfigurationError:
    lines: dict[str, None] = {}
    for problem in sorted(problems, key=lambda problem: problem.line):
        key = ".".join(truncate_for_display(str(part)) for part in problem.where)
        text = f"{key}: {problem.text}" if key else problem.text
        lines[f"{path}:{problem.line}: {text}"] = None
    return InvalidConfigurationError(
        list(lines), hint="fix the file, then verify it with `assumed check`"
    )


def _validate(value: Any) -> tuple[ConfigurationModel | None, list[ConfigProblem]]:
    """Return a model of the valid keys, so that the rules can be checked too, and the problems.

    The model is None if the valid keys do not make one.
    """
    try:
        return ConfigurationModel.model_validate(value), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    for detail in details:
        _remove(value, _key_path(detail))
    problems = [_to_problem(detail) for detail in details]
    try:
        return ConfigurationModel.model_validate(value), problems
    except ValidationError:
        return None, problems


def _to_problem(detail: ErrorDetails) -> ConfigProblem:
    where = _key_path(detail)
    kind = detail["type"]
    if kind == "field_error":
        text = detail["msg"]
    elif kind == "extra_forbidden":
        return _unknown_key(where)
    elif kind in _WRONG_TYPE:
        is_empty = kind != "missing" and detail["input"] is None
        text = "nothing is indented below it" if is_empty else _WRONG_TYPE[kind]
    elif kind == "too_short":
        text = "empty: define at least one profile"
    elif kind == "too_long":
        text = f"too many: STS accepts {detail['ctx']['max_length']}"
    else:
        text = "invalid value"
    return ConfigProblem(where, text)


def _key_path(detail: ErrorDetails) -> KeyPath:
    # pydantic appends "[key]" to the path of an invalid key.
    return tuple(part for part in detail["loc"] if part != "[key]")


def _unknown_key(where: KeyPath) -> ConfigProblem:
    key = str(where[-1])
    # `roleArn` and `role-arn` are probably meant to be role_arn.
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip()).lower().replace("-", "_")
    if plain in _SECRETS:
        return ConfigProblem(
            where, "this file must not hold secrets: store them with `aws configure --profile NAME`"
        )
    known = list(_model_at(where).model_fields)
    nearest = difflib.get_close_matches(plain, known, 1) or [
        name for name in known if plain and name.startswith(plain)
    ]
    if nearest:
        text = f"unknown key; did you mean {nearest[0]}?"
        return ConfigProblem(where, text, meant=(*where[:-1], nearest[0]))
    if len(where) == 1 and plain in ProfileModel.model_fields:
        return ConfigProblem(where, "it belongs under a profile or under defaults")
    if len(where) > 1 and plain in ConfigurationModel.model_fields:
        return ConfigProblem(where, "it belongs at the top level, beside profiles")
    return ConfigProblem(where, f"unknown key; the keys here are {join_words(known)}")


def _model_at(where: KeyPath) -> type[BaseModel]:
    """Return the model that has the key at `where`."""
    return ConfigurationModel if len(where) == 1 else _MODELS.get(str(where[0]), ProfileModel)


def _remove(value: Any, path: KeyPath) -> None:
    """Remove the key that leads to `path`, so that the other keys can be checked."""
    *parents, last = path
    for index, part in enumerate(parents):
        if isinstance(value[part], list):
            parents, last = parents[:index], part
            break
        value = value[part]
    value.pop(last, None)
