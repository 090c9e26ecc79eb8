from __future__ import annotations

import os
from pathlib import Path

import pytest

from assumed.config import loader
from assumed.credential_sources.base import CredentialSources, SourceProfiles
from assumed.credential_sources.mfa import MfaSessions
from assumed.errors import RetryPolicy, SourceMissingError
from assumed.models import SourceProfile, WebIdentity, WebIdentityToken
from tests.fakes import FakeClock, FakeSts

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def no_aws_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_PROFILE", "nowhere")


def sources_of() -> CredentialSources:
    profiles = SourceProfiles()
    clock = FakeClock()
    return CredentialSources(
        profiles, MfaSessions(profiles, FakeSts(clock), clock, Path("/nowhere"))
    )


def token(path: Path) -> object:
    return sources_of().resolve(WebIdentity(path)).credentials()


def test_credentials_reads_the_token_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    source = sources_of().resolve(WebIdentity(path))
    assert source.credentials() == WebIdentityToken(TOKEN)
    path.write_text(f"{TOKEN}2")
    assert source.credentials() == WebIdentityToken(f"{TOKEN}2")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"two words",
        b"x" * 20_001,
        "t\u00f6ken".encode(),
        b"abc",
        b"line\nline",
        b"\x00abcd",
    ],
)
def test_credentials_neither_returns_nor_quotes_an_invalid_token(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(SourceMissingError) as raised:
        token(path)
    assert raised.value.retry is RetryPolicy.ON_CHANGE
    assert str(path) in raised.value.message
    assert "words" not in str(raised.value)


def test_credentials_does_not_block_on_a_pipe_or_a_directory(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / "none"):
        with pytest.raises(SourceMissingError):
            token(path)


def test_the_fingerprint_changes_when_links_to_the_token_are_rotated(tmp_path: Path) -> None:
    """The kubelet exchanges `..data`, through which `token` leads."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "token").write_text(TOKEN)
    (tmp_path / "..data").symlink_to("..1")
    path = tmp_path / "token"
    path.symlink_to("..data/token")
    sources = sources_of()
    before = sources.fingerprint(WebIdentity(path))
    assert sources.fingerprint(WebIdentity(path)) == before
    (tmp_path / "new").symlink_to("..2")
    (tmp_path / "new").rename(tmp_path / "..data")
    assert sources.fingerprint(WebIdentity(path)) != before
    assert tmp_path in sources.directories


def test_region_and_endpoint_are_those_of_the_default_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_config = tmp_path / "config"
    aws_config.write_text("[default]\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(aws_config))
    profiles = SourceProfiles()
    session = profiles.plain_botocore_session()
    assert session.get_config_variable("region") == "eu-west-3"
    assert profiles.plain_botocore_session() is session
    aws_config.write_text("[default]\nregion = eu-west-1\n")
    assert profiles.plain_botocore_session().get_config_variable("region") == "eu-west-1"


def test_a_source_of_its_own_replaces_a_token_file_under_defaults() -> None:
    text = """\
defaults: {web_identity_token_file: ~/token}
profiles:
  pod: {role_arn: "arn:aws:iam::111122223333:role/pod"}
  own: {role_arn: "arn:aws:iam::111122223333:role/own", source_profile: keys, external_id: abc}
"""
    profiles = loader.parse(text.encode(), Path("c"), user="me", host="here").profiles
    assert profiles["pod"].source == WebIdentity(Path("~/token").expanduser())
    assert profiles["own"].source == SourceProfile("keys")
