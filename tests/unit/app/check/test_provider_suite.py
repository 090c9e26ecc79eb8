"""The provider cases that the AWS SDKs share: what each of them rejects is a finding of `check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aws_suites import suite
from tests.unit.app.check.test_findings import ARN, Home
from tests.unit.app.init.test_provider_suite import TESTS, as_config


def test_check_finds_what_every_sdk_rejects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = []
    for number, case in enumerate(suite("smithy-rs/assume-role-tests.json", TESTS)):
        directory = tmp_path / str(number)
        directory.mkdir(mode=0o700)
        monkeypatch.setenv("HOME", str(directory))
        home = Home(directory)
        selected = case["input"]["selected_profile"]
        if selected not in case["input"]["profiles"]:
            # The loader rejects a source profile that does not exist.
            continue
        home.write(as_config(case["input"]), "", f"role_arn: '{ARN}', source_profile: {selected}")

        problems = [found.problem for found in home.findings() if not found.is_note]

        if "Error" in case["output"] and not problems:
            missed.append(case["docs"])
    assert missed == []
