"""`CredentialSources.account_id`: the account that the calls of a source count against."""

from __future__ import annotations

from pathlib import Path

import pytest

from assumed.credential_sources.base import CredentialSources, SourceProfiles
from assumed.credential_sources.mfa import MfaSessions
from assumed.models import CredentialSource, MfaSession, RootSource, SourceProfile, WebIdentity
from tests.fakes import FakeClock, FakeSts

KEYS = "aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = example\n"


@pytest.mark.parametrize(
    ("entries", "account"),
    [
        (KEYS, None),
        (f"{KEYS}aws_account_id = 111122223333\n", "111122223333"),
        ("sso_session = work\nsso_account_id = 222233334444\nsso_role_name = r\n", "222233334444"),
        ("role_arn = arn:aws:iam::333344445555:role/r\nsource_profile = x\n", "333344445555"),
        ("role_arn = nonsense\n", None),
    ],
)
def test_account_id_of_a_source_profile_comes_from_one_of_three_keys(
    entries: str, account: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        _sources(f"[profile keys]\n{entries}", tmp_path, monkeypatch).account_id(
            SourceProfile("keys")
        )
        == account
    )


@pytest.mark.parametrize(
    ("source", "account"),
    [
        (
            MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/jane"),
            "111122223333",
        ),
        (MfaSession(SourceProfile("keys"), "GAHT12345678"), "444455556666"),
        (WebIdentity(Path("/token")), None),
        (CredentialSource.EC2, None),
    ],
)
def test_account_id_of_an_mfa_session_and_of_sources_without_a_profile(
    source: RootSource,
    account: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = f"[profile keys]\n{KEYS}aws_account_id = 444455556666\n"
    assert _sources(text, tmp_path, monkeypatch).account_id(source) == account


def _sources(text: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> CredentialSources:
    (home / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    profiles, clock = SourceProfiles(), FakeClock()
    return CredentialSources(profiles, MfaSessions(profiles, FakeSts(clock), clock, home / "mfa"))
