"""The lines that commands print for errors."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from assumed import errors
from assumed.cli.output import format_failure, print_error
from assumed.errors import (
    AssumedError,
    ConfigurationError,
    InvalidConfigurationError,
)
from assumed.models import Failure
from tests.fakes import NOON

VALUES = {"hint": "the hint", "code": "SomeCode", "exit_status": 126, "line": 3, "is_news": True}


def instance(kind: type[AssumedError]) -> AssumedError:
    """Return an error of this class, with a word for each text that it takes."""
    parameters = inspect.signature(kind).parameters.values()
    values: dict[str, Any] = {
        parameter.name: VALUES.get(parameter.name, f"the {parameter.name}")
        for parameter in parameters
    }
    if issubclass(kind, ConfigurationError):
        values["problems"] = ["config.yaml:3: the problem"]
    (first, *_) = parameters
    if first.kind is inspect.Parameter.KEYWORD_ONLY:
        return kind(**values)
    return kind(values.pop(first.name), **values)


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AssumedError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_print_error_shows_code_message_and_hint_once(
    kind: type[AssumedError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = instance(kind)
    print_error(error)
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"assumed: {error.code}: {error.message}\n  {error.hint}\n")
    assert len(re.findall(rf"\b{error.code}\b", err)) == 1


@pytest.mark.parametrize("before", ["", "profile deploy: ", "{code}: ", "profile deploy: {code}: "])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_failure_names_profile_and_code_once(kind: type[AssumedError], before: str) -> None:
    error = instance(kind)
    message = before.format(code=error.code) + error.message
    failure = Failure(code=error.code, message=message, hint=error.hint, at=NOON)
    lines = f"{error.code}: {error.message}\n  {error.hint}"
    assert format_failure("deploy", failure) == f"deploy: {lines}"
    assert format_failure("deploy", failure, below_profile=True) == lines
    assert error.message.strip()


def test_a_failure_keeps_the_name_of_another_profile() -> None:
    failure = Failure(
        code="SourceMissing", message="profile keys: no credentials", hint="h", at=NOON
    )
    assert format_failure("deploy", failure) == (
        "deploy: SourceMissing: profile keys: no credentials\n  h"
    )


def test_print_error_lists_every_problem_of_a_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = ["config.yaml:3: a: not an ARN", "config.yaml:4: b\x1b[2J: unknown key"]
    print_error(InvalidConfigurationError(problems, hint="fix the file"))
    assert capsys.readouterr().err.splitlines() == [
        "assumed: Configuration: 2 problems",
        "config.yaml:3: a: not an ARN",
        r"config.yaml:4: b\x1b[2J: unknown key",
        "  fix the file",
    ]
