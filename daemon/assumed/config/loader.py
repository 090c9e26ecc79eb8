"""The configuration file: YAML in, definitions out, or every mistake with its line.

| to change | open |
| --- | --- |
| which keys there are | `shape` |
| what a value may be, and what is said of a wrong one | `values` |
| what holds between keys and between profiles | `rules` |
| how YAML becomes values with lines | `document` |
| whose file is read | `trust` |
| the JSON Schema | `schema` |
"""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from assumed.config.fields import shown
from assumed.config.permissions import distrust
from assumed.config.schema import (
    ConfigurationModel,
    CredentialsFileModel,
    HooksModel,
    MetricsModel,
    ProfileModel,
)
from assumed.config.validation import ConfigProblem, ConfigurationValidator, default_session_name
from assumed.config.yaml_loader import LocatedProblem, YamlDocument
from assumed.config.yaml_loader import Path as KeyPath
from assumed.errors import ConfigurationError
from assumed.models import Configuration
from assumed.paths import configuration_files

__all__ = ["find", "load", "parse", "places"]

_MOST_BYTES = 16 << 20
_SECRETS = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
_WRONG_KIND = {
    "model_type": "it has to be a mapping: keys below it, indented",
    "dict_type": "it has to be a mapping: keys below it, indented",
    "tuple_type": "it has to be a list: [one, another]",
    "missing": "it is missing: there is nothing to keep fresh",
}
_SHAPES: Mapping[str, type[BaseModel]] = {
    "credentials_file": CredentialsFileModel,
    "hooks": HooksModel,
    "metrics": MetricsModel,
}
_EXAMPLE = """an example:
profiles:
  my-profile:
    role_arn: arn:aws:iam::111122223333:role/my-role
    source_profile: default"""


def find(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the configuration file: the first of the places where it may be that exists.

    Args:
        explicit: `--config`; then there is no other place.
        environ: for `ASSUMED_CONFIG` (then there is no other place either), `XDG_CONFIG_HOME`.

    Raises:
        ConfigurationError: there is none.
    """
    found = places(explicit, environ)
    for place in found:
        if place.exists() or len(found) == 1:
            return place
    raise ConfigurationError(
        [f"there is no configuration: looked for {' and '.join(map(str, found))}"],
        hint="`assumed init` writes one from the role profiles of the AWS config file; or write "
        f"{found[0]}, or name one: `--config FILE` or ASSUMED_CONFIG; {_EXAMPLE}",
    )


def places(explicit: Path | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return where a configuration may be, in order; one place where it is named.

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
) -> Configuration:
    """Read a configuration file.

    Args:
        path: of the file.
        user: for the default role session name, `assumed-USER@HOST`.
        host: likewise.
        source_exists: whether the AWS files have a profile; None to take every name.

    Raises:
        ConfigurationError: with every mistake, `FILE:LINE: KEY: what is wrong, and the mend`.
    """
    return parse(_read(path), path, user=user, host=host, source_exists=source_exists)


def parse(
    data: bytes,
    path: Path,
    *,
    user: str,
    host: str,
    source_exists: Callable[[str], bool] | None = None,
) -> Configuration:
    """Return what the bytes of a configuration file say; see `load`.

    Raises:
        ConfigurationError: likewise.
    """
    document = YamlDocument(_decoded(data, path))
    problems = list(document.problems)
    if document.value is None:
        if not problems:
            problems.append(LocatedProblem(1, (), "the file is empty"))
    elif not isinstance(document.value, dict):
        problems.append(
            LocatedProblem(document.line(()), (), "it has to begin with a key: `profiles:`")
        )
    else:
        shape, mistakes = _validated(document.value)
        if shape is not None:
            rules = ConfigurationValidator(
                shape,
                default_name=default_session_name(user, host),
                source_exists=source_exists,
                withheld={mistake.meant for mistake in mistakes},
            )
            mistakes += rules.mistakes()
        problems += [
            LocatedProblem(document.line(mistake.where), mistake.where, mistake.text)
            for mistake in mistakes
            # What YAML took away there is no second mistake.
            if mistake.where not in {problem.where for problem in document.problems}
        ]
        if shape is not None and not problems:
            return rules.configuration(path)
    raise _refused(path, problems)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unreadable(path, "it is no file")
        if (reason := distrust(path, descriptor)) is not None:
            raise ConfigurationError(
                [f"{path}: {reason}"],
                hint="a configuration that others may change is not read: it decides whose "
                "rights are used",
            )
        return os.pread(descriptor, _MOST_BYTES, 0)
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    finally:
        os.close(descriptor)


def _unreadable(path: Path, reason: str | None) -> ConfigurationError:
    return ConfigurationError(
        [f"{path}: it can't be read: {reason}"], hint=f"write it there; {_EXAMPLE}"
    )


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(
            path, [LocatedProblem(line, (), "a byte that is not UTF-8: save the file as UTF-8")]
        ) from None


def _refused(path: Path, problems: list[LocatedProblem]) -> ConfigurationError:
    lines: dict[str, None] = {}
    for problem in sorted(problems, key=lambda problem: problem.line):
        where = f"{'.'.join(shown(str(part)) for part in problem.where)}: " if problem.where else ""
        lines[f"{path}:{problem.line}: {where}{problem.text}"] = None
    return ConfigurationError(
        list(lines),
        hint="`assumed check` shows what is still wrong",
    )


def _validated(value: Any) -> tuple[ConfigurationModel | None, list[ConfigProblem]]:
    """Return the shape, made without what is wrong in it, so that all the rest is looked at too."""
    try:
        return ConfigurationModel.model_validate(value), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    for detail in details:
        _remove(value, _key_path(detail))
    mistakes = [_mistake(detail) for detail in details]
    try:
        return ConfigurationModel.model_validate(value), mistakes
    except ValidationError:
        return None, mistakes


def _mistake(detail: ErrorDetails) -> ConfigProblem:
    where = _key_path(detail)
    kind = detail["type"]
    if kind == "mistake":
        text = detail["msg"]
    elif kind == "extra_forbidden":
        return _unknown(where)
    elif kind in _WRONG_KIND:
        is_empty = kind != "missing" and detail["input"] is None
        text = "nothing is written below it" if is_empty else _WRONG_KIND[kind]
    elif kind == "too_short":
        text = "it is empty: name at least one profile"
    elif kind == "too_long":
        text = f"STS takes at most {detail['ctx']['max_length']}: remove some"
    else:
        text = "it can't be understood"
    return ConfigProblem(where, text)


def _key_path(detail: ErrorDetails) -> KeyPath:
    # pydantic puts "[key]" behind the path of a key that is itself wrong.
    return tuple(part for part in detail["loc"] if part != "[key]")


def _unknown(where: KeyPath) -> ConfigProblem:
    key = str(where[-1])
    # Spelled as the others are: `roleArn` and `role-arn` mean role_arn.
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip()).lower().replace("-", "_")
    if plain in _SECRETS:
        return ConfigProblem(
            where, "secrets have no place in this file: `aws configure --profile NAME` keeps them"
        )
    known = list(_shape(where).model_fields)
    nearest = difflib.get_close_matches(plain, known, 1) or [
        name for name in known if plain and name.startswith(plain)
    ]
    if nearest:
        text = f"there is no such key; did you mean {nearest[0]}?"
        return ConfigProblem(where, text, meant=(*where[:-1], nearest[0]))
    if len(where) == 1 and plain in ProfileModel.model_fields:
        return ConfigProblem(where, "it belongs under a profile, or under defaults")
    if len(where) > 1 and plain in ConfigurationModel.model_fields:
        return ConfigProblem(where, "it belongs at the top, beside profiles")
    return ConfigProblem(where, f"there is no such key; known are {', '.join(known)}")


def _shape(where: KeyPath) -> type[BaseModel]:
    """Return the shape that an unknown key stands in."""
    return ConfigurationModel if len(where) == 1 else _SHAPES.get(str(where[0]), ProfileModel)


def _remove(value: Any, path: KeyPath) -> None:
    """Take away the key that leads to `path`, so that what is right can be looked at further."""
    *above, last = path
    for index, part in enumerate(above):
        if isinstance(value[part], list):
            above, last = above[:index], part
            break
        value = value[part]
    value.pop(last, None)
