"""Files that cannot be read for a while are never taken for missing ones."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assumed.credential_sources.base import CredentialSources, SourceProfiles
from assumed.credential_sources.mfa import MfaSessions
from assumed.errors import LocalFaultError, MfaCodeNeededError, RetryPolicy, SourceMissingError
from assumed.models import MfaSession, SourceCredentials, SourceProfile, WebIdentity
from tests.fakes import FakeClock, FakeSts
from tests.source_profiles import KEYS, OTHER_KEYS, AwsFiles, credentials_of, failure_of

FIRST = SourceCredentials("AKIAFIRST", "first-secret", None)
PHONE = MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/me")
FAULTS = ("EMFILE", "ENFILE", "ENOMEM", "EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "ENODEV")
SSO = """\
[profile keys]
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 111122223333
sso_role_name = reader
"""


class Faults:
    """Makes `open` fail for the files of one directory."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = str(directory)
        self.number = 0
        monkeypatch.setattr(os, "open", self._failing(os.open))
        monkeypatch.setattr("builtins.open", self._failing(open))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if self.number and str(path).startswith(self._directory):
                raise OSError(self.number, os.strerror(self.number), str(path))
            return real(path, *arguments, **options)

        return call


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsFiles:
    return AwsFiles(tmp_path, monkeypatch)


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    return Faults(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", [*FAULTS, "EACCES"])
def test_an_unreadable_aws_file_is_a_local_fault_and_not_a_missing_source(
    files: AwsFiles, faults: Faults, name: str
) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    profiles = SourceProfiles()
    faults.number = getattr(errno, name)
    with pytest.raises(LocalFaultError) as raised:
        profiles.resolve("keys")
    assert raised.value.retry is RetryPolicy.SOON
    assert os.strerror(faults.number) in raised.value.message
    assert raised.value.hint
    assert profiles.fingerprint("keys") is None
    faults.number = 0
    assert profiles.resolve("keys").credentials() == FIRST


@pytest.mark.parametrize("name", [*FAULTS, "EACCES"])
def test_known_profiles_stay_usable_while_the_aws_files_are_unreadable(
    files: AwsFiles, faults: Faults, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    files.credentials(f"[keys]\n{KEYS}[other]\n{OTHER_KEYS}")
    profiles = SourceProfiles()
    before = profiles.resolve("keys")
    files.credentials(f"[keys]\n{OTHER_KEYS}[other]\n{OTHER_KEYS}")
    faults.number = getattr(errno, name)
    for _ in range(3):
        assert profiles.resolve("keys") is before
        before.forget()
        assert before.credentials() == FIRST
    assert profiles.resolve("other").credentials().access_key_id == "AKIAOTHER"
    assert profiles.names() == ("keys", "other")
    faults.number = 0
    assert profiles.resolve("keys").credentials().access_key_id == "AKIAOTHER"
    logged = [record.getMessage() for record in caplog.records]
    # Once for this process, whatever meets the shortage.
    of_files = [name for name in logged if name != "resource_exhausted"]
    assert of_files == ["aws_files_unreadable", "aws_files_readable"]


def test_only_files_that_were_read_make_a_source_missing(files: AwsFiles) -> None:
    assert "not in the AWS config" in failure_of(SourceMissingError, "keys").message
    files.credentials(f"[other]\n{KEYS}")
    assert "not in the AWS config" in failure_of(SourceMissingError, "keys").message


@pytest.mark.parametrize("name", FAULTS)
def test_an_unreadable_sso_cache_is_no_missing_login(
    files: AwsFiles, faults: Faults, name: str
) -> None:
    files.config(SSO)
    files.sso_token("https://example.awsapps.com/start", "{}")
    source = SourceProfiles().resolve("keys")
    faults.number = getattr(errno, name)
    with pytest.raises(LocalFaultError, match="sso/cache"):
        source.credentials()
    faults.number = 0
    with pytest.raises(SourceMissingError):
        source.credentials()


@pytest.mark.parametrize("name", ["EAGAIN", "ENOMEM", "EMFILE"])
def test_a_credential_process_that_cannot_be_started_is_a_local_fault(
    files: AwsFiles, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    number = getattr(errno, name)

    def popen(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    files.process("{}")
    monkeypatch.setattr("assumed.credential_sources.process_output.subprocess.Popen", popen)
    with pytest.raises(LocalFaultError, match=os.strerror(number)):
        credentials_of("keys")


def mfa_sessions(directory: Path) -> MfaSessions:
    clock = FakeClock()
    return MfaSessions(SourceProfiles(), FakeSts(clock), clock, directory)


def test_an_unreadable_mfa_cache_asks_for_no_code(
    files: AwsFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    directory = tmp_path / "mfa"
    mfa_sessions(directory).start(PHONE, "111111")
    faults = Faults(directory, monkeypatch)
    sessions = mfa_sessions(directory)
    faults.number = errno.EMFILE
    with pytest.raises(LocalFaultError):
        sessions.resolve(PHONE).credentials()
    faults.number = 0
    assert sessions.resolve(PHONE).credentials().access_key_id == "ASIAMFA1"
    (path,) = directory.iterdir()
    path.unlink()
    assert sessions.resolve(PHONE).credentials().access_key_id == "ASIAMFA1"
    with pytest.raises(MfaCodeNeededError):
        mfa_sessions(directory).resolve(PHONE).credentials()


@pytest.mark.parametrize("name", [*FAULTS, "EACCES"])
def test_an_unreadable_token_is_a_local_fault(files: AwsFiles, faults: Faults, name: str) -> None:
    path = files.home / "token"
    path.write_text("a-token")
    profiles, clock = SourceProfiles(), FakeClock()
    sources = CredentialSources(
        profiles, MfaSessions(profiles, FakeSts(clock), clock, files.home / "mfa")
    )
    source = sources.resolve(WebIdentity(path))
    faults.number = getattr(errno, name)
    with pytest.raises(LocalFaultError, match=str(path)):
        source.credentials()
    faults.number = 0
    path.unlink()
    with pytest.raises(SourceMissingError, match="No such file"):
        source.credentials()
