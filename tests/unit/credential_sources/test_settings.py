"""The settings of a profile of the AWS files decide where AWS is called, as for botocore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session as BotocoreSession

from assumed.clock import SystemClock
from assumed.config import loader
from assumed.credential_sources.base import CredentialSources, SourceProfiles
from assumed.credential_sources.mfa import MfaSessions
from assumed.models import (
    CredentialSource,
    MfaCode,
    MfaSession,
    MfaToken,
    ProfileDefinition,
    SourceCredentials,
    SourceProfile,
    WebIdentity,
)
from assumed.sts.client import StsClient
from tests.source_profiles import KEYS, AwsFiles

ROLE = "arn:aws:iam::111122223333:role/deploy"
ROLE_KEYS = f"role_arn = {ROLE}\nsource_profile = keys\n"
SETTINGS = {
    "region": "region = eu-west-3",
    "fips": "region = us-east-2\nuse_fips_endpoint = true",
    "dualstack": "region = eu-west-1\nuse_dualstack_endpoint = true",
    "both": "region = us-west-2\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true",
    "endpoint": "region = eu-west-1\nendpoint_url = https://aws.example.com",
    "services": "region = eu-west-1\nservices = corp",
    "service before endpoint": "region = eu-west-1\nservices = corp\nendpoint_url = https://x.y",
    "other service": "region = eu-west-1\nservices = storage",
    "ignored endpoint": "region = eu-west-1\nservices = corp\n"
    "ignore_configured_endpoint_urls = true",
    "ca": "region = eu-west-1\nca_bundle = /etc/corp.pem",
    "legacy": "region = us-west-2\nsts_regional_endpoints = legacy",
    "legacy elsewhere": "region = eu-south-1\nsts_regional_endpoints = legacy",
    "regional": "region = us-west-2\nsts_regional_endpoints = regional",
    "gov": "region = us-gov-west-1\nuse_fips_endpoint = true",
    "china": "region = cn-northwest-1",
}
SERVICES = """
[services corp]
sts =
  endpoint_url = https://vpce-1.sts.eu-west-1.vpce.amazonaws.com
[services storage]
s3 =
  endpoint_url = https://s3.example.com
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsFiles:
    files = AwsFiles(tmp_path, monkeypatch)
    # It would come before the settings of every profile.
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    files.credentials(f"[keys]\n{KEYS}")
    return files


def definition(text: str, name: str = "fresh") -> ProfileDefinition:
    return loader.parse(text.encode(), Path("c"), user="me", host="here").profiles[name]


def fresh(extra: str = "config_profile: deploy") -> ProfileDefinition:
    return definition(f'profiles: {{fresh: {{role_arn: "{ROLE}", source_profile: keys, {extra}}}}}')


def sts_of(session: BotocoreSession, region: str | None = None) -> tuple[str, str, object]:
    client: Any = session.create_client(
        "sts", region, aws_access_key_id="a", aws_secret_access_key="b"
    )
    return client.meta.endpoint_url, client.meta.region_name, client._endpoint.http_session._verify


def session_of(wanted: ProfileDefinition, profiles: SourceProfiles) -> BotocoreSession:
    return profiles.resolve("keys", wanted.config_profiles).botocore_session


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_sts_is_called_where_botocore_calls_it_for_the_config_profile(
    home: AwsFiles, settings: str
) -> None:
    home.config(f"[profile keys]\nregion = ap-south-1\n[profile deploy]\n{ROLE_KEYS}{settings}\n"
                f"{SERVICES}")  # fmt: skip
    profiles = SourceProfiles()
    session = session_of(fresh(), profiles)
    assert sts_of(session) == sts_of(BotocoreSession(profile="deploy"))
    expected = BotocoreSession(profile="deploy").create_client("sts").meta.endpoint_url
    assert StsClient(SystemClock()).endpoint_url(fresh(), session) == expected
    source = profiles.resolve("keys", ["deploy"])
    assert source.credentials().access_key_id == "AKIAFIRST"


def test_the_profile_of_the_same_name_comes_first_and_then_the_source(home: AwsFiles) -> None:
    home.config("[profile keys]\nregion = eu-west-1\n[profile other]\nregion = eu-west-2\n")
    assert fresh("").config_profiles == ("fresh", "keys")
    profiles = SourceProfiles()
    assert sts_of(session_of(fresh(""), profiles))[1] == "eu-west-1"
    assert sts_of(session_of(fresh("config_profile: other"), profiles))[1] == "eu-west-2"
    home.config("[profile keys]\nregion = eu-west-1\n[profile fresh]\nregion = eu-west-3\n")
    assert sts_of(session_of(fresh(""), profiles))[1] == "eu-west-3"


def test_what_a_refresh_writes_does_not_become_a_setting(home: AwsFiles) -> None:
    home.config("[profile keys]\nregion = eu-west-1\n")
    managed = (
        "aws_access_key_id = ASIA\naws_secret_access_key = s\naws_session_token = t\n"
        "aws_account_id = 1\nx_security_token_expires = x\nx_principal_arn = a\nmanager = assumed\n"
    )
    home.credentials(f"[keys]\n{KEYS}[fresh]\n{managed}")
    assert sts_of(session_of(fresh(""), SourceProfiles()))[1] == "eu-west-1"
    # For botocore, settings may stand in the credentials file too.
    home.credentials(f"[keys]\n{KEYS}[fresh]\n{managed}region = eu-west-2\n")
    assert sts_of(session_of(fresh(""), SourceProfiles()))[1] == "eu-west-2"


def test_a_chained_profile_uses_its_own_settings_or_those_of_its_parents() -> None:
    text = f"""
profiles:
  hub: {{role_arn: "{ROLE}", source_profile: keys, config_profile: corp}}
  far: {{role_arn: "{ROLE}", source_profile: hub}}
  pod: {{role_arn: "{ROLE}", credential_source: EcsContainer}}
"""
    assert definition(text, "hub").config_profiles == ("corp",)
    assert definition(text, "far").config_profiles == ("far", "corp")
    assert definition(text, "pod").config_profiles == ("pod",)


def test_profiles_with_the_same_settings_share_a_session(home: AwsFiles) -> None:
    home.config("[profile a]\nregion = eu-west-1\n[profile b]\nregion = eu-west-1\nrole_arn = x\n"
                "[profile c]\nregion = eu-west-2\n")  # fmt: skip
    profiles = SourceProfiles()
    a, b, c = (profiles.resolve("keys", [name]) for name in "abc")
    assert a is b
    assert a.botocore_session is not c.botocore_session
    home.config("[profile a]\nregion = eu-west-1\n[profile c]\nregion = eu-west-3\n")
    assert profiles.resolve("keys", ["a"]) is a
    assert sts_of(profiles.resolve("keys", ["c"]).botocore_session)[1] == "eu-west-3"


def test_a_changed_setting_changes_the_fingerprint_and_the_session(home: AwsFiles) -> None:
    sources = sources_of(SourceProfiles())
    home.config("[profile deploy]\nregion = eu-west-1\n[profile other]\nregion = eu-west-1\n")
    for source in (SourceProfile("keys"), CredentialSource.EC2, WebIdentity(home.home / "token")):
        home.config("[profile deploy]\nregion = eu-west-1\n[profile other]\nregion = eu-west-1\n")
        before = sources.fingerprint(source, ["deploy"])
        first = sources.resolve(source, ["deploy"]).botocore_session
        assert sources.resolve(source, ["deploy"]).botocore_session is first
        home.config("[profile deploy]\nregion = eu-west-1\n[profile other]\nregion = eu-west-22\n")
        assert sources.fingerprint(source, ["deploy"]) == before
        home.config("[profile deploy]\nregion = eu-west-2\n[profile other]\nregion = eu-west-1\n")
        assert sources.fingerprint(source, ["deploy"]) != before
        assert sts_of(sources.resolve(source, ["deploy"]).botocore_session)[1] == "eu-west-2"


def sources_of(profiles: SourceProfiles) -> CredentialSources:
    mfa = MfaSessions(profiles, None, SystemClock(), Path("unused"))  # type: ignore[arg-type]
    return CredentialSources(profiles, mfa)


def test_a_credential_process_runs_once_whatever_the_settings_of_its_roles(
    home: AwsFiles,
) -> None:
    home.credentials("")
    home.process('{"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "s"}')
    process = home.config_path.read_text()
    home.config(f"{process}[profile a]\nregion = eu-west-1\n[profile b]\nregion = eu-west-2\n")
    profiles = SourceProfiles()
    for name in ("a", "b"):
        assert profiles.resolve("keys", [name]).credentials().access_key_id == "AKIA"
    assert home.process_runs == 1


def test_the_sso_portal_is_called_by_the_settings_of_the_config_profile(
    home: AwsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.config(
        "[profile people]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n"
        "sso_account_id = 111122223333\nsso_role_name = Dev\n"
        "[profile deploy]\nsource_profile = people\nuse_fips_endpoint = true\nregion = us-east-1\n"
    )
    home.sso_token(
        "https://x.awsapps.com/start", '{"accessToken": "t", "expiresAt": "2099-01-01T00:00:00Z"}'
    )
    called: list[str] = []

    def refuse(*, request: Any, **_: object) -> None:
        called.append(request.url.partition("?")[0])
        raise RuntimeError

    for names in ([], ["deploy"]):
        source = SourceProfiles().resolve("people", names)
        source.botocore_session.get_component("event_emitter").register_first("before-send", refuse)
        with pytest.raises(Exception, match="people"):
            source.credentials()
    assert called == [
        "https://portal.sso.us-east-1.amazonaws.com/federation/credentials",
        "https://portal.sso-fips.us-east-1.amazonaws.com/federation/credentials",
    ]


def test_get_session_token_is_called_where_the_role_is(home: AwsFiles) -> None:
    text = f"""
defaults: {{role_arn: "{ROLE}", source_profile: keys, mfa_serial: "arn:aws:iam::1:mfa/me"}}
profiles:
  eu: {{region: eu-central-1}}
  named: {{config_profile: deploy}}
  gov: {{role_arn: "{ROLE.replace("aws", "aws-us-gov")}", mfa_serial: GAHT12345678}}
"""
    home.config("[profile deploy]\nregion = eu-west-3\n")
    seen: list[tuple[str, str]] = []

    def refuse(*, request: Any, **_: object) -> None:
        seen.append((request.url, request.headers["Authorization"].decode().split("/")[2]))
        raise RuntimeError

    equal = set()
    for name in ("eu", "named", "gov"):
        source = definition(text, name).source
        assert isinstance(source, MfaSession)
        equal.add(source)
        profiles = SourceProfiles()
        resolved = profiles.resolve("keys", source.config_profiles)
        emitter = resolved.botocore_session.get_component("event_emitter")
        emitter.register_first("before-send", refuse)
        with pytest.raises(Exception, match="RuntimeError"):
            StsClient(SystemClock()).get_session_token(
                source, "123456", resolved.credentials(), resolved.botocore_session
            )
    assert seen == [
        ("https://sts.eu-central-1.amazonaws.com/", "eu-central-1"),
        ("https://sts.eu-west-3.amazonaws.com/", "eu-west-3"),
        ("https://sts.us-gov-west-1.amazonaws.com/", "us-gov-west-1"),
    ]
    # Roles of two regions share the session of one device.
    assert len(equal) == 2


def test_a_code_goes_with_assume_role_to_where_the_role_is(home: AwsFiles, tmp_path: Path) -> None:
    home.config("[profile keys]\nregion = ap-south-1\n[profile deploy]\nregion = eu-west-3\n")
    wanted = fresh('config_profile: deploy, mfa_serial: "arn:aws:iam::1:mfa/me", mfa_session: none')
    assert isinstance(wanted.source, MfaCode)
    profiles, sts = SourceProfiles(), StsClient(SystemClock())
    mfa = MfaSessions(profiles, sts, SystemClock(), tmp_path)
    sources = CredentialSources(profiles, mfa)
    mfa.supply(wanted.source, "123456")
    source = sources.resolve(wanted.source, wanted.config_profiles)
    url = sts.endpoint_url(wanted, source.botocore_session)
    assert url == "https://sts.eu-west-3.amazonaws.com"
    credentials = source.credentials()
    assert isinstance(credentials, SourceCredentials)
    assert credentials.access_key_id == "AKIAFIRST"
    assert credentials.mfa == MfaToken("arn:aws:iam::1:mfa/me", "123456")
    before = sources.fingerprint(wanted.source, wanted.config_profiles)
    home.config("[profile keys]\nregion = ap-south-1\n[profile deploy]\nregion = eu-west-1\n")
    assert sources.fingerprint(wanted.source, wanted.config_profiles) != before


def test_an_outage_of_one_endpoint_does_not_move_profiles_with_another(home: AwsFiles) -> None:
    home.config(
        "[profile deploy]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:1\n"
        "[profile other]\nregion = eu-west-1\n"
    )
    sts, profiles = StsClient(SystemClock()), SourceProfiles()
    broken, other = (
        fresh(f"config_profile: {name}, fallback_regions: [eu-west-2]")
        for name in ("deploy", "other")
    )
    source = profiles.resolve("keys", broken.config_profiles)
    with pytest.raises(Exception, match="127"):
        sts.assume_role(broken, source.credentials(), source.botocore_session)
    assert sts._regions(broken, source.botocore_session)[0] == "eu-west-1"
    # Both regions failed, so their order is as before; a single failure moves a region back.
    sts._avoided_until[source.botocore_session].popitem()
    assert sts._regions(broken, source.botocore_session)[0] == "eu-west-2"
    assert sts._regions(other, session_of(other, profiles))[0] == "eu-west-1"


def test_an_empty_ca_bundle_names_the_profile_that_has_it(home: AwsFiles) -> None:
    home.config("[profile deploy]\nregion = eu-west-1\nca_bundle =\n")
    session = session_of(fresh(), SourceProfiles())
    with pytest.raises(Exception, match='ca_bundle of profile "deploy" is empty'):
        StsClient(SystemClock()).endpoint_url(fresh(), session)


def test_the_config_profile_must_exist() -> None:
    text = (
        f'profiles: {{fresh: {{role_arn: "{ROLE}", source_profile: keys, config_profile: gone}}}}'
    )
    with pytest.raises(Exception, match=r'config_profile: profile "gone" is not in the AWS files'):
        loader.parse(text.encode(), Path("c"), user="me", host="here", source_exists="keys".__eq__)
