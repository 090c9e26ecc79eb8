"""Source profiles with a `credential_process`: real processes, through botocore."""

from __future__ import annotations

import json
import os
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assumed.credential_sources.base import SourceProfiles
from assumed.errors import (
    LongTermKeysError,
    RetryPolicy,
    SourceMissingError,
    SourceUnavailableError,
)
from assumed.models import SourceCredentials, TemporaryCredentials
from tests.source_profiles import KEYS, OTHER_KEYS, AwsFiles, credentials_of, failure_of


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsFiles:
    return AwsFiles(tmp_path, monkeypatch)


def test_a_credential_process_gives_credentials(files: AwsFiles) -> None:
    files.process(process_output(SessionToken="a-token"))
    assert credentials_of("keys") == SourceCredentials("AKIAPROCESS", "process-secret", "a-token")


def test_a_credential_process_runs_once_while_its_credentials_are_valid(files: AwsFiles) -> None:
    files.credentials(f"[other]\n{KEYS}")
    files.process(process_output(SessionToken="t", Expiration="2099-01-01T00:00:00Z"))
    profiles = SourceProfiles()
    profiles.resolve("keys").credentials()
    files.credentials(f"[other]\n{OTHER_KEYS}")
    profiles.resolve("keys").credentials()
    assert files.process_runs == 1


def process_output(**changes: object) -> str:
    return json.dumps(
        {
            "Version": 1,
            "AccessKeyId": "AKIAPROCESS",
            "SecretAccessKey": "process-secret",
            **changes,
        }
    )


@pytest.mark.parametrize(
    "output",
    [
        "",
        "not JSON",
        "[]",
        '"text"',
        "{}",
        '{"Version": 1}',
        process_output(Version=2),
        process_output(Expiration=5),
        process_output(Expiration="soon"),
        process_output(Expiration="2001-01-01T00:00:00Z"),
        process_output()[:-5],
    ],
)
def test_a_malformed_output_is_an_unavailable_source(files: AwsFiles, output: str) -> None:
    files.process(output)
    error = failure_of(SourceUnavailableError, "keys")
    assert error.message.startswith("source profile keys: credentials unavailable: ")
    assert "get-caller-identity --profile keys" in error.hint
    assert "process-secret" not in "".join(traceback.format_exception(error))


def test_temporary_returns_the_expiration_and_runs_the_process_again_for_a_replacement(
    files: AwsFiles,
) -> None:
    expiration = datetime(2099, 1, 1, tzinfo=UTC)
    files.process(
        process_output(AccessKeyId="ASIAONE", SessionToken="t", Expiration=expiration.isoformat())
    )
    source = SourceProfiles().resolve("keys")
    for _ in range(2):
        own = source.temporary(other_than=None)
    assert own == TemporaryCredentials("ASIAONE", "process-secret", "t", expiration)
    assert files.process_runs == 1
    source.temporary(other_than="ASIAONE")
    assert files.process_runs == 2
    assert "process-secret" not in repr(own)


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ({}, "holds long-term keys"),
        ({"Expiration": "2099-01-01T00:00:00Z"}, "holds long-term keys"),
        ({"SessionToken": "t", "Expiration": "2099-01-01T00:00:00Z"}, "holds long-term keys"),
        ({"AccessKeyId": "ASIAONE", "SessionToken": "t"}, "credentials without an expiration"),
    ],
)
def test_temporary_rejects_credentials_that_do_not_expire(
    files: AwsFiles, output: dict[str, str], problem: str
) -> None:
    files.process(process_output(**output))
    with pytest.raises(LongTermKeysError, match=problem) as raised:
        SourceProfiles().resolve("keys").temporary(other_than=None)
    assert "process-secret" not in str(raised.value)


def test_the_error_contains_what_a_failing_process_prints(files: AwsFiles) -> None:
    files.process("", status=3, stderr="the vault is locked")
    error = failure_of(SourceUnavailableError, "keys")
    assert "the vault is locked" in error.message
    assert error.retry is RetryPolicy.BACK_OFF


def test_the_error_contains_no_secret_that_a_failing_process_prints(files: AwsFiles) -> None:
    files.process("", status=3, stderr="+ export AWS_SECRET_ACCESS_KEY=process-secret")
    assert "process-secret" not in failure_of(SourceUnavailableError, "keys").message


def test_a_process_that_failed_runs_again(files: AwsFiles) -> None:
    files.process("not JSON")
    source = SourceProfiles().resolve("keys")
    with pytest.raises(SourceUnavailableError):
        source.credentials()
    (files.home / "stdout").write_text(process_output())
    assert source.credentials().access_key_id == "AKIAPROCESS"


def test_a_process_that_does_not_exist_is_an_unavailable_source(files: AwsFiles) -> None:
    files.config(f"[profile keys]\ncredential_process = {files.home / 'none'}\n")
    failure_of(SourceUnavailableError, "keys")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_runs_no_process_that_another_user_configured(files: AwsFiles) -> None:
    files.process(json.dumps({"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "x"}))
    assert credentials_of("keys").access_key_id == "AKIA"
    os.chown(files.config_path, 12345, -1)
    assert "belongs to another user" in failure_of(SourceMissingError, "keys").message
    assert files.process_runs == 1


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_process_that_prints_without_end_is_killed(files: AwsFiles, stream: str) -> None:
    program = files.home / "endless.py"
    program.write_text(f"import sys\nwhile True: sys.{stream}.write('secret ' * 999)\n")
    files.config(f"[profile keys]\ncredential_process = {sys.executable} -I -S {program}\n")
    error = failure_of(SourceUnavailableError, "keys")
    assert error.message == "a credential_process printed more than 1 MiB"
