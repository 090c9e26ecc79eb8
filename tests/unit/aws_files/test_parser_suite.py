"""The parser cases that the AWS SDKs share: our rules for those SDKs, and what `check` reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assumed.aws_files.profiles import parse_aws_files
from assumed.aws_files.sdk_dialects import SharedReader, read_like_shared_sdks
from assumed.errors import CredentialsFileMalformedError
from tests.aws_suites import suite

SUITES = {
    "smithy-rs/profile-parser-tests.json": 65,
    "aws-sdk-ruby/config-file-parser-tests.json": 63,
}
TESTS = "the AWS files by the parser cases of the SDKs"
NAME = re.compile(r"[\w./%@:+-]+", re.ASCII)

Files = Mapping[str, str]
Profiles = dict[str, dict[str, str]]


def profiles(files: Files) -> Profiles:
    """Return the profiles of both files, as the SDKs name and merge their sections."""
    found: Profiles = {}
    for kind in ("configFile", "credentialsFile"):
        sections = read(files.get(kind, "")).sections
        has_prefixed_default = any(name.split() == ["profile", "default"] for name in sections)
        for header, values in sections.items():
            words = header.split()
            if kind == "configFile":
                is_default = words == ["default"] and not has_prefixed_default
                name = words[-1] if words[0] == "profile" or is_default else ""
                words = words[1:] if words[0] == "profile" else words
            else:
                name = header
            if len(words) == 1 and NAME.fullmatch(name):
                profile = found.setdefault(name, {})
                profile |= {key: value for key, (value, _) in values.items() if NAME.fullmatch(key)}
    return found


def read(text: str) -> Any:
    return read_like_shared_sdks(text.split("\n"), None)


def is_reported(files: Files) -> bool:
    """Whether `check` reports that SDKs cannot read one of the files."""
    config, credentials = (
        files.get(kind, "").encode() for kind in ("configFile", "credentialsFile")
    )
    try:
        found = parse_aws_files((Path("config"), config), (Path("credentials"), credentials))
    except CredentialsFileMalformedError:
        return True
    return any(SharedReader.STRICT.value[0] in each.sdks for each in found.unreadable)


@pytest.mark.parametrize("name", SUITES)
def test_parser_cases_of_the_sdks(name: str) -> None:
    cases = suite(name, TESTS)["tests"]
    assert len(cases) >= SUITES[name]
    for case in cases:
        files, expected = case["input"], case["output"]
        is_rejected = any(SharedReader.STRICT in read(text).rejected for text in files.values())
        is_error = "errorContaining" in expected
        assert is_rejected == is_error, case["name"]
        if is_error:
            assert is_reported(files), case["name"]
        else:
            wanted = expected.get("config", expected)["profiles"]
            assert like(wanted, profiles(files)) == wanted, case["name"]


def like(expected: Mapping[str, Any], found: Profiles) -> dict[str, dict[str, Any]]:
    """Return what was found, with nested blocks as mappings where the suite has them so."""
    return {
        name: {
            key: nested(value) if isinstance(expected.get(name, {}).get(key), dict) else value
            for key, value in profile.items()
        }
        for name, profile in found.items()
    }


def nested(value: str) -> dict[str, str]:
    """Return the valid keys of a nested block."""
    pairs = (line.partition("=") for line in value.split("\n")[1:])
    keys = {key.strip(): inner.strip() for key, _, inner in pairs}
    return {key: inner for key, inner in keys.items() if NAME.fullmatch(key)}
