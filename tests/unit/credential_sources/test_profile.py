from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest

from assumed.credential_sources.base import ResolvedSource, SourceProfiles
from assumed.errors import (
    AssumedError,
    AwsFilesUnreadableError,
    RetryPolicy,
    SourceMissingError,
    SourceUnavailableError,
    StsRequestRejectedError,
)
from assumed.models import SourceCredentials
from tests.source_profiles import (
    CLOSED_PORT,
    KEYS,
    OTHER_KEYS,
    AwsFiles,
    credentials_of,
    failure_of,
)

FIRST = SourceCredentials("AKIAFIRST", "first-secret", None)
OTHER = SourceCredentials("AKIAOTHER", "other-secret", None)

SSO = """\
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 111122223333
sso_role_name = reader
"""
SSO_PROFILE = f"[profile keys]\n{SSO}"
SSO_SESSION = """\
[profile keys]
sso_session = company
sso_account_id = 111122223333
sso_role_name = reader
[sso-session company]
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
"""


SSO_BEHIND = f"""\
[profile keys]
role_arn = arn:aws:iam::111122223333:role/r
source_profile = people
{SSO_SESSION.replace("profile keys", "profile people")}"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsFiles:
    return AwsFiles(tmp_path, monkeypatch)


def credentials() -> SourceCredentials:
    return credentials_of("keys")


def failure(kind: type[AssumedError]) -> AssumedError:
    return failure_of(kind, "keys")


def test_long_term_keys_come_from_the_credentials_file(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    assert credentials() == FIRST


def test_long_term_keys_come_from_the_config_file(files: AwsFiles) -> None:
    files.config(f"[profile keys]\n{KEYS}")
    assert credentials() == FIRST


def test_keys_in_the_credentials_file_precede_those_in_the_config_file(
    files: AwsFiles,
) -> None:
    files.config(f"[profile keys]\n{OTHER_KEYS}")
    files.credentials(f"[keys]\n{KEYS}")
    assert credentials() == FIRST


def test_temporary_keys_come_with_their_token(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}aws_session_token = a-token\n")
    assert credentials() == SourceCredentials("AKIAFIRST", "first-secret", "a-token")


def test_the_default_profile_can_be_a_source_profile(files: AwsFiles) -> None:
    files.credentials(f"[default]\n{KEYS}")
    assert credentials_of("default") == FIRST


def test_a_source_profile_does_not_fall_back_to_the_default_profile(files: AwsFiles) -> None:
    files.config("[profile keys]\nregion = eu-west-1\n")
    files.credentials(f"[default]\n{KEYS}")
    failure(SourceMissingError)


def test_region_and_endpoint_are_those_of_the_source_profile(
    files: AwsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    files.config("[profile keys]\nregion = eu-west-3\nendpoint_url = https://sts.example.com\n")
    files.credentials(f"[keys]\n{KEYS}")
    session = SourceProfiles().resolve("keys").botocore_session
    client = session.create_client(
        "sts",
        session.get_config_variable("region"),
        aws_access_key_id="A",
        aws_secret_access_key="s",
    )
    assert client.meta.region_name == "eu-west-3"
    assert client.meta.endpoint_url == "https://sts.example.com"


FOREIGN = {
    "keys": {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "env-secret"},
    "temporary keys": {
        "AWS_ACCESS_KEY_ID": "ASIAENV",
        "AWS_SECRET_ACCESS_KEY": "env-secret",
        "AWS_SESSION_TOKEN": "env-token",
    },
    "another profile": {"AWS_PROFILE": "other", "AWS_DEFAULT_PROFILE": "other"},
    "a profile in neither file": {"AWS_PROFILE": "nowhere"},
    "a container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": CLOSED_PORT},
    "an instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": CLOSED_PORT},
    "a web identity": {
        "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/web",
        "AWS_WEB_IDENTITY_TOKEN_FILE": os.devnull,
    },
}


@pytest.mark.parametrize("environment", FOREIGN.values(), ids=FOREIGN.keys())
def test_the_environment_never_decides_whose_credentials_are_used(
    files: AwsFiles, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files.credentials(f"[keys]\n{KEYS}[other]\n{OTHER_KEYS}")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert credentials() == FIRST


@pytest.mark.parametrize("environment", FOREIGN.values(), ids=FOREIGN.keys())
def test_the_environment_never_replaces_a_profile_without_credentials(
    files: AwsFiles, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files.credentials(f"[keys]\n[other]\n{OTHER_KEYS}")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert failure(SourceMissingError).message == "source profile keys holds no credentials"


def test_resolve_sees_a_key_that_has_changed_on_disk(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    profiles = SourceProfiles()
    assert profiles.resolve("keys").credentials() == FIRST
    files.credentials(f"[keys]\n{OTHER_KEYS}")
    assert profiles.resolve("keys").credentials() == OTHER


def test_resolve_sees_a_key_that_has_changed_without_size_and_mtime(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    before = files.credentials_path.stat()
    profiles = SourceProfiles()
    profiles.resolve("keys")
    files.credentials(f"[keys]\n{OTHER_KEYS}")
    os.utime(files.credentials_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files.credentials_path.stat().st_size == before.st_size
    assert profiles.resolve("keys").credentials() == OTHER


def test_resolve_sees_a_replaced_file(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    profiles = SourceProfiles()
    profiles.resolve("keys")
    new = files.home / "new"
    new.write_text(f"[keys]\n{OTHER_KEYS}")
    new.replace(files.credentials_path)
    assert profiles.resolve("keys").credentials() == OTHER


def test_resolve_sees_added_and_removed_profiles(files: AwsFiles) -> None:
    profiles = SourceProfiles()
    with pytest.raises(SourceMissingError):
        profiles.resolve("keys")
    files.credentials(f"[keys]\n{KEYS}")
    assert profiles.resolve("keys").credentials() == FIRST
    files.credentials_path.unlink()
    with pytest.raises(SourceMissingError):
        profiles.resolve("keys")


def test_paths_with_variables_are_expanded(
    files: AwsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "$HOME/credentials")
    files.credentials(f"[keys]\n{KEYS}")
    profiles = SourceProfiles()
    assert profiles.resolve("keys").credentials() == FIRST
    files.credentials(f"[keys]\n{OTHER_KEYS}")
    assert profiles.resolve("keys").credentials() == OTHER


def test_resolve_keeps_the_session_of_an_unchanged_profile(
    files: AwsFiles,
) -> None:
    files.credentials(f"[keys]\n{KEYS}[other]\n{KEYS}")
    profiles = SourceProfiles()
    keys, other = profiles.resolve("keys"), profiles.resolve("other")
    files.credentials(f"[keys]\n{KEYS}[other]\n{OTHER_KEYS}")
    assert profiles.resolve("keys") is keys
    assert profiles.resolve("other") is not other


def test_a_profile_in_neither_file_is_a_missing_source(files: AwsFiles) -> None:
    files.credentials(f"[other]\n{KEYS}")
    error = failure(SourceMissingError)
    assert error.message == "source profile keys is not in the AWS config or credentials file"
    assert "aws configure --profile keys" in error.hint
    assert error.retry is RetryPolicy.ON_CHANGE


@pytest.mark.parametrize(
    "entries",
    [
        "aws_access_key_id = AKIAFIRST\n",
        "aws_secret_access_key = first-secret\n",
        "aws_access_key_id = AKIAFIRST\naws_secret_access_key =\n",
        "aws_access_key_id =\naws_secret_access_key = first-secret\n",
    ],
)
def test_half_a_pair_of_keys_is_a_missing_source(files: AwsFiles, entries: str) -> None:
    files.credentials(f"[keys]\n{entries}")
    error = failure(SourceMissingError)
    assert "aws configure --profile keys" in error.hint
    assert "first-secret" not in str(error)


def test_a_profile_with_a_role_and_mfa_serial_is_rejected(
    files: AwsFiles,
) -> None:
    files.config(
        "[profile keys]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::111122223333:mfa/me\n"
    )
    files.credentials(f"[base]\n{KEYS}")
    error = failure(SourceMissingError)
    assert "profile keys of the AWS config file has an mfa_serial" in error.message
    assert "a source_profile that needs no code" in error.hint


def test_a_profile_whose_own_source_would_prompt_is_rejected_too(files: AwsFiles) -> None:
    files.config(
        "[profile keys]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = middle\n"
        "[profile middle]\nrole_arn = arn:aws:iam::111122223333:role/m\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::111122223333:mfa/me\n"
    )
    files.credentials(f"[base]\n{KEYS}")
    assert "profile middle of the AWS config file" in failure(SourceMissingError).message


def test_keys_beside_an_mfa_serial_need_no_code(files: AwsFiles) -> None:
    files.config("[profile keys]\nmfa_serial = arn:aws:iam::111122223333:mfa/me\n")
    files.credentials(f"[keys]\n{KEYS}")
    assert credentials() == FIRST


EXPIRED_TOKEN = json.dumps(
    {
        "startUrl": "https://example.awsapps.com/start",
        "region": "eu-west-1",
        "accessToken": "sso-access-token",
        "expiresAt": "2020-01-01T00:00:00Z",
    }
)


@pytest.mark.parametrize(
    ("config", "cache_key", "command"),
    [
        (SSO_PROFILE, "https://example.awsapps.com/start", "aws sso login --profile keys"),
        (SSO_SESSION, "company", "aws sso login --sso-session company"),
        (SSO_BEHIND, "company", "aws sso login --sso-session company"),
    ],
    ids=["legacy", "session", "of the source's own source"],
)
@pytest.mark.parametrize("token", [None, EXPIRED_TOKEN], ids=["missing", "expired"])
def test_an_expired_sso_login_hints_at_the_login_command(
    files: AwsFiles, config: str, cache_key: str, command: str, token: str | None
) -> None:
    files.config(config)
    if token is not None:
        files.sso_token(cache_key, token)
    error = failure(SourceMissingError)
    assert error.message.startswith("the SSO login of source profile keys is missing or expired: ")
    assert error.hint == f"run `{command}`"
    assert error.retry is RetryPolicy.ON_CHANGE
    assert "sso-access-token" not in "".join(traceback.format_exception(error))


def test_a_malformed_sso_cache_is_an_unavailable_source(files: AwsFiles) -> None:
    files.config(SSO_SESSION)
    files.sso_token("company", "{")
    failure(SourceUnavailableError)


MALFORMED = {
    "no section": KEYS,
    "a line of no key": f"[keys]\n{KEYS}first-secret\n",
    "a key twice": f"[keys]\n{KEYS}{KEYS}",
    "a section twice": f"[keys]\n{KEYS}[keys]\n{KEYS}",
    "nested lines with no key": "[keys]\ns3 =\n  first-secret\n",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("in_config", [False, True])
def test_a_malformed_file_is_reported_with_its_line_and_without_its_text(
    files: AwsFiles, text: str, in_config: bool
) -> None:
    path = files.config_path if in_config else files.credentials_path
    path.write_text(text)
    error = failure(AwsFilesUnreadableError)
    assert re.search(rf"{re.escape(str(path))}:\d+: ", error.message)
    assert error.retry is RetryPolicy.SOON, "another look costs no API call"
    assert "first-secret" not in "".join(traceback.format_exception(error))
    assert SourceProfiles().fingerprint("keys") is None


def test_a_binary_file_is_reported_by_name(files: AwsFiles) -> None:
    files.config_path.write_bytes(b"\xff\xfe\x00")
    assert str(files.config_path) in failure(AwsFilesUnreadableError).message


def test_a_malformed_file_is_read_again_once_it_is_fixed(files: AwsFiles) -> None:
    files.credentials(KEYS)
    profiles = SourceProfiles()
    for _ in range(2):
        with pytest.raises(SourceUnavailableError):
            profiles.resolve("keys")
    files.credentials(f"[keys]\n{KEYS}")
    assert profiles.resolve("keys").credentials() == FIRST


def test_names_and_entries_are_those_of_both_files(files: AwsFiles) -> None:
    files.config("[profile keys]\nregion = eu-west-1\n[profile configured]\n")
    files.credentials(f"[keys]\n{KEYS}[stored]\n{KEYS}")
    profiles = SourceProfiles()
    assert profiles.names() == ("keys", "configured", "stored")
    assert profiles.entries("keys")["region"] == "eu-west-1"
    assert profiles.entries("keys")["aws_access_key_id"] == "AKIAFIRST"
    assert profiles.entries("nowhere") == {}


CHAIN = """\
[profile keys]
role_arn = arn:aws:iam::111122223333:role/r
source_profile = base
services = local
sso_session = company
[services local]
sts =
  endpoint_url = https://sts.example.com
[sso-session company]
sso_start_url = https://example.awsapps.com/start
"""
BASE = f"[base]\n{KEYS}"


def on_disk(config: str, credentials: str) -> Callable[[AwsFiles], None]:
    def change(files: AwsFiles) -> None:
        files.config(config)
        files.credentials(credentials)

    return change


def new_sso_token(files: AwsFiles) -> None:
    files.sso_token("company", EXPIRED_TOKEN)


CHANGES = {
    "a key of the source's own source": on_disk(CHAIN, f"[base]\n{OTHER_KEYS}"),
    "its role": on_disk(CHAIN.replace("role/r", "role/s"), BASE),
    "its region": on_disk(CHAIN.replace("keys]\n", "keys]\nregion = eu-west-1\n"), BASE),
    "the endpoints that it names": on_disk(CHAIN.replace("sts.example", "sts2.example"), BASE),
    "the SSO session that it names": on_disk(CHAIN.replace("/start", "/begin"), BASE),
    "an SSO login": new_sso_token,
}
NO_CHANGES = {
    "the same text again": on_disk(CHAIN, BASE),
    "another profile": on_disk(CHAIN, f"{BASE}[another]\n{KEYS}"),
    "a comment": on_disk(f"# hello\n{CHAIN}", BASE),
    "the endpoints of another": on_disk(f"{CHAIN}[services other]\nsts =\n  a = b\n", BASE),
}


def fingerprints(files: AwsFiles, change: Callable[[AwsFiles], None]) -> tuple[str, str]:
    on_disk(CHAIN, BASE)(files)
    profiles = SourceProfiles()
    before = profiles.fingerprint("keys")
    change(files)
    after = profiles.fingerprint("keys")
    assert before is not None
    assert after is not None
    return before, after


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_fingerprint_changes_with_what_the_credentials_depend_on(
    files: AwsFiles, change: Callable[[AwsFiles], None]
) -> None:
    before, after = fingerprints(files, change)
    assert before != after


@pytest.mark.parametrize("change", NO_CHANGES.values(), ids=NO_CHANGES.keys())
def test_a_fingerprint_does_not_change_with_anything_else(
    files: AwsFiles, change: Callable[[AwsFiles], None]
) -> None:
    before, after = fingerprints(files, change)
    assert before == after


def test_a_fingerprint_reveals_no_key(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    fingerprint = SourceProfiles().fingerprint("keys")
    assert fingerprint is not None
    assert len(fingerprint) == 64
    assert "first-secret" not in fingerprint


def test_a_missing_profile_has_no_fingerprint() -> None:
    assert SourceProfiles().fingerprint("keys") is None


def test_a_loop_of_source_profiles_is_an_unavailable_source(files: AwsFiles) -> None:
    files.config(
        "[profile keys]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = other\n"
        "[profile other]\nrole_arn = arn:aws:iam::111122223333:role/o\nsource_profile = keys\n"
    )
    assert "Infinite loop" in failure(SourceUnavailableError).message


def test_many_threads_resolve_one_source_and_never_see_mixed_keys(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    profiles, start = SourceProfiles(), Barrier(9)
    seen: list[tuple[ResolvedSource, SourceCredentials]] = []
    failures: list[Exception] = []

    def resolve() -> None:
        start.wait()
        try:
            for _ in range(20):
                source = profiles.resolve("keys")
                seen.append((source, source.credentials()))
        except Exception as error:  # noqa: BLE001 - asserted by the main thread
            failures.append(error)

    threads = [Thread(target=resolve) for _ in range(8)]
    for thread in threads:
        thread.start()
    start.wait()
    new = files.home / "new"
    new.write_text(f"[keys]\n{OTHER_KEYS}")
    new.replace(files.credentials_path)
    for thread in threads:
        thread.join()

    assert failures == []
    assert {pair for _, pair in seen} <= {FIRST, OTHER}
    assert len({id(source) for source, _ in seen}) <= 2
    assert profiles.resolve("keys").credentials() == OTHER


def test_a_source_that_would_use_plain_http_is_rejected(
    files: AwsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://sts.example.com")
    files.credentials(f"[base]\n{KEYS}")
    files.config(
        "[profile keys]\nrole_arn = arn:aws:iam::111122223333:role/mid\nsource_profile = base\n"
        "region = eu-west-1\n"
    )
    error = failure(StsRequestRejectedError)
    assert error.code == "PlainHttp"
    assert "http://sts.example.com is plain HTTP" in error.message
