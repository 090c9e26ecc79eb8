"""A refresh alone never makes botocore read the AWS files again; any other change does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from assumed.aws_files.normalize import strip_managed_values
from assumed.credential_sources.aws_files_snapshot import AwsFilesSnapshot
from assumed.credential_sources.base import SourceProfiles
from tests.credentials_files import set_profile
from tests.fakes import NOON, issued, role

KEYS = b"[keys]\naws_access_key_id = AKIAKEYS\naws_secret_access_key = keys\n\n"
DEPLOY = role("deploy")


def with_session(data: bytes, number: int) -> bytes:
    credentials = issued(DEPLOY, NOON + timedelta(hours=number), number)
    return set_profile(data, "deploy", credentials, path="credentials")


FIRST = with_session(KEYS, 1)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_strip_managed_values_hides_a_refresh(line_end: bytes) -> None:
    first = FIRST.replace(b"\n", line_end)
    second = with_session(first, 2)
    assert second != first
    assert strip_managed_values(second, keep=()) == strip_managed_values(first, keep=())


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"AKIAKEYS", b"AKIAOTHER"),
        lambda data: data + b"region = eu-west-1\n",
        lambda data: data.replace(b"[deploy]", b"[other]"),
        lambda data: data.replace(b"manager = assumed", b"manager = awsume"),
        lambda data: data.replace(b"manager = assumed\n", b""),
        lambda data: data + b"aws_access_key_id = ASIATWICE\n",
        lambda data: data + b"aws_security_token = stale\n",
        lambda data: data + b"  indented\n",
        lambda data: data + b"# a comment\n",
        lambda data: data[:-20],
    ],
)
def test_strip_managed_values_hides_no_other_change(change: Callable[[bytes], bytes]) -> None:
    assert change(FIRST) != FIRST
    assert strip_managed_values(change(FIRST), keep=()) != strip_managed_values(FIRST, keep=())


def test_strip_managed_values_keeps_the_values_of_a_source() -> None:
    before, after = FIRST, with_session(FIRST, 2)

    def strip(data: bytes, name: str) -> bytes:
        return strip_managed_values(data, keep={name})

    assert strip(after, "deploy") != strip(before, "deploy")
    assert strip(after, "deplo") == strip(before, "deplo")


class Files:
    """The AWS files, and how many times they were parsed."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.config, self.credentials = directory / "config", directory / "credentials"
        monkeypatch.setenv("AWS_CONFIG_FILE", str(self.config))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(self.credentials))
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        self.parsed = 0
        parse = AwsFilesSnapshot.parse

        def counted(*contents: tuple[Path, bytes]) -> AwsFilesSnapshot:
            self.parsed += 1
            return parse(*contents)

        monkeypatch.setattr(AwsFilesSnapshot, "parse", counted)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    return Files(tmp_path, monkeypatch)


def test_the_files_are_parsed_once_for_any_number_of_refreshes(files: Files) -> None:
    files.credentials.write_bytes(FIRST)
    profiles = SourceProfiles()
    source = profiles.resolve("keys")
    source.credentials()
    assert files.parsed == 1
    for number in range(2, 12):
        files.credentials.write_bytes(with_session(files.credentials.read_bytes(), number))
        assert profiles.resolve("keys") is source
        profiles.fingerprint("keys")
    assert files.parsed == 1


def test_a_key_that_changes_together_with_a_refresh_is_noticed(files: Files) -> None:
    files.credentials.write_bytes(FIRST)
    profiles = SourceProfiles()
    assert profiles.resolve("keys").credentials().access_key_id == "AKIAKEYS"
    files.credentials.write_bytes(with_session(FIRST, 2).replace(b"AKIAKEYS", b"AKIAOTHER"))
    assert profiles.resolve("keys").credentials().access_key_id == "AKIAOTHER"


def test_each_refresh_of_a_source_profile_is_noticed(files: Files) -> None:
    files.credentials.write_bytes(FIRST)
    profiles = SourceProfiles()
    before = profiles.fingerprint("deploy")
    source = profiles.resolve("deploy")
    for number in range(2, 5):
        files.credentials.write_bytes(with_session(files.credentials.read_bytes(), number))
        assert profiles.fingerprint("deploy") != before
        changed = profiles.resolve("deploy")
        assert changed is not source
        access_key_id = changed.credentials().access_key_id
        assert access_key_id == issued(DEPLOY, NOON, number).access_key_id
        before, source = profiles.fingerprint("deploy"), changed


def test_a_refresh_changes_the_fingerprint_of_a_profile_that_depends_on_it(files: Files) -> None:
    files.credentials.write_bytes(FIRST)
    files.config.write_text(
        "[profile chained]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = deploy\n"
    )
    profiles = SourceProfiles()
    before = profiles.fingerprint("chained")
    for number in range(2, 5):
        files.credentials.write_bytes(with_session(files.credentials.read_bytes(), number))
        assert profiles.fingerprint("chained") != before
        before = profiles.fingerprint("chained")
