from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread

import pytest
from botocore.credentials import SSOProvider
from botocore.tokens import SSOTokenProvider

from assumed.credential_sources.base import ResolvedSource, SourceProfiles
from assumed.errors import (
    AssumedError,
    AwsFilesUnreadableError,
    LongTermKeysError,
    RetryPolicy,
    SourceMissingError,
    SourceUnavailableError,
    StsRequestRejectedError,
)
from assumed.models import SourceCredentials, TemporaryCredentials

KEYS = "aws_access_key_id = AKIAFIRST\naws_secret_access_key = first-secret\n"
OTHER_KEYS = "aws_access_key_id = AKIAOTHER\naws_secret_access_key = other-secret\n"
FIRST = SourceCredentials("AKIAFIRST", "first-secret", None)
OTHER = SourceCredentials("AKIAOTHER", "other-secret", None)
NOBODY_LISTENS = "http://127.0.0.1:1/"

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


class AwsFiles:
    """A home with the two AWS files in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config_path = home / "config"
        self.credentials_path = home / "credentials"

    def config(self, text: str) -> None:
        self.config_path.write_text(text)

    def credentials(self, text: str) -> None:
        self.credentials_path.write_text(text)

    def process(self, printed: str, *, status: int = 0, said: str = "") -> None:
        """Let profile `keys` be a credential_process, which counts its runs."""
        (self.home / "printed").write_text(printed)
        (self.home / "said").write_text(said)
        program = self.home / "program.py"
        program.write_text(
            "import pathlib, sys\n"
            f"home = pathlib.Path({str(self.home)!r})\n"
            "home.joinpath('runs').open('a').write('x')\n"
            "sys.stdout.write(home.joinpath('printed').read_text())\n"
            "sys.stderr.write(home.joinpath('said').read_text())\n"
            f"sys.exit({status})\n"
        )
        self.config(f"[profile keys]\ncredential_process = {sys.executable} -I -S {program}\n")

    @property
    def process_runs(self) -> int:
        return len((self.home / "runs").read_text())

    def sso_token(self, cache_key: str, text: str) -> None:
        folder = self.home / ".aws" / "sso" / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha1(cache_key.encode(), usedforsecurity=False).hexdigest()
        (folder / f"{name}.json").write_text(text)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsFiles:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    # botocore asks for the home when it is imported.
    for kind in (SSOProvider, SSOTokenProvider):
        monkeypatch.setattr(kind, "_SSO_TOKEN_CACHE_DIR", str(tmp_path / ".aws/sso/cache"))
    # Nothing here may reach an endpoint, not even one of the machine that runs it.
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOBODY_LISTENS)
    return AwsFiles(tmp_path)


def credentials(name: str = "keys") -> SourceCredentials:
    return SourceProfiles().resolve(name).credentials()


def failure(kind: type[AssumedError], name: str = "keys") -> AssumedError:
    with pytest.raises(kind) as raised:
        credentials(name)
    assert raised.value.hint
    return raised.value


def test_long_term_keys_come_from_the_credentials_file(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    assert credentials() == FIRST


def test_long_term_keys_come_from_the_config_file(files: AwsFiles) -> None:
    files.config(f"[profile keys]\n{KEYS}")
    assert credentials() == FIRST


def test_where_both_files_hold_keys_the_credentials_file_wins_as_in_every_aws_tool(
    files: AwsFiles,
) -> None:
    files.config(f"[profile keys]\n{OTHER_KEYS}")
    files.credentials(f"[keys]\n{KEYS}")
    assert credentials() == FIRST


def test_temporary_keys_come_with_their_token(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}aws_session_token = a-token\n")
    assert credentials() == SourceCredentials("AKIAFIRST", "first-secret", "a-token")


def test_the_default_profile_is_a_source_like_any_other(files: AwsFiles) -> None:
    files.credentials(f"[default]\n{KEYS}")
    assert credentials("default") == FIRST


def test_a_profile_does_not_fall_back_to_the_default_profile(files: AwsFiles) -> None:
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
    "a profile that is nowhere": {"AWS_PROFILE": "nowhere"},
    "a container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": NOBODY_LISTENS},
    "an instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": NOBODY_LISTENS},
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
def test_the_environment_never_stands_in_for_a_profile_that_holds_nothing(
    files: AwsFiles, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files.credentials(f"[keys]\n[other]\n{OTHER_KEYS}")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert failure(SourceMissingError).message == "profile keys holds no credentials"


def test_a_key_changed_on_disk_is_seen_at_the_next_resolve(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    profiles = SourceProfiles()
    assert profiles.resolve("keys").credentials() == FIRST
    files.credentials(f"[keys]\n{OTHER_KEYS}")
    assert profiles.resolve("keys").credentials() == OTHER


def test_a_key_changed_by_a_copy_that_keeps_size_and_time_is_seen_too(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    before = files.credentials_path.stat()
    profiles = SourceProfiles()
    profiles.resolve("keys")
    files.credentials(f"[keys]\n{OTHER_KEYS}")
    os.utime(files.credentials_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files.credentials_path.stat().st_size == before.st_size
    assert profiles.resolve("keys").credentials() == OTHER


def test_a_file_that_was_replaced_is_seen(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    profiles = SourceProfiles()
    profiles.resolve("keys")
    new = files.home / "new"
    new.write_text(f"[keys]\n{OTHER_KEYS}")
    new.replace(files.credentials_path)
    assert profiles.resolve("keys").credentials() == OTHER


def test_a_profile_that_comes_later_and_one_that_goes_are_seen(files: AwsFiles) -> None:
    profiles = SourceProfiles()
    with pytest.raises(SourceMissingError):
        profiles.resolve("keys")
    files.credentials(f"[keys]\n{KEYS}")
    assert profiles.resolve("keys").credentials() == FIRST
    files.credentials_path.unlink()
    with pytest.raises(SourceMissingError):
        profiles.resolve("keys")


def test_files_named_with_a_variable_are_followed_too(
    files: AwsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "$HOME/credentials")
    files.credentials(f"[keys]\n{KEYS}")
    profiles = SourceProfiles()
    assert profiles.resolve("keys").credentials() == FIRST
    files.credentials(f"[keys]\n{OTHER_KEYS}")
    assert profiles.resolve("keys").credentials() == OTHER


def test_an_unchanged_profile_keeps_its_session_when_another_one_changes(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}[other]\n{KEYS}")
    profiles = SourceProfiles()
    keys, other = profiles.resolve("keys"), profiles.resolve("other")
    files.credentials(f"[keys]\n{KEYS}[other]\n{OTHER_KEYS}")
    assert profiles.resolve("keys") is keys
    assert profiles.resolve("other") is not other


def test_a_credential_process_is_asked(files: AwsFiles) -> None:
    files.process(process_answer(SessionToken="a-token"))
    assert credentials() == SourceCredentials("AKIAPROCESS", "process-secret", "a-token")


def test_a_credential_process_is_not_asked_again_while_its_answer_lasts(files: AwsFiles) -> None:
    files.credentials(f"[other]\n{KEYS}")
    files.process(process_answer(SessionToken="t", Expiration="2099-01-01T00:00:00Z"))
    profiles = SourceProfiles()
    profiles.resolve("keys").credentials()
    files.credentials(f"[other]\n{OTHER_KEYS}")
    profiles.resolve("keys").credentials()
    assert files.process_runs == 1


def process_answer(**changes: object) -> str:
    return json.dumps(
        {
            "Version": 1,
            "AccessKeyId": "AKIAPROCESS",
            "SecretAccessKey": "process-secret",
            **changes,
        }
    )


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "no JSON",
        "[]",
        '"text"',
        "{}",
        '{"Version": 1}',
        process_answer(Version=2),
        process_answer(Expiration=5),
        process_answer(Expiration="soon"),
        process_answer(Expiration="2001-01-01T00:00:00Z"),
        process_answer()[:-5],
    ],
)
def test_a_credential_process_that_answers_oddly_is_a_source_unavailable(
    files: AwsFiles, printed: str
) -> None:
    files.process(printed)
    error = failure(SourceUnavailableError)
    assert error.message.startswith("profile keys: no credentials to be had: ")
    assert "get-caller-identity --profile keys" in error.hint
    assert "process-secret" not in "".join(traceback.format_exception(error))


def test_own_credentials_come_with_their_end_and_are_asked_for_anew_when_they_are_replaced(
    files: AwsFiles,
) -> None:
    expiration = datetime(2099, 1, 1, tzinfo=UTC)
    files.process(
        process_answer(AccessKeyId="ASIAONE", SessionToken="t", Expiration=expiration.isoformat())
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
    ("answer", "said"),
    [
        ({}, "holds long-term keys"),
        ({"Expiration": "2099-01-01T00:00:00Z"}, "holds long-term keys"),
        ({"SessionToken": "t", "Expiration": "2099-01-01T00:00:00Z"}, "holds long-term keys"),
        ({"AccessKeyId": "ASIAONE", "SessionToken": "t"}, "does not say when its credentials end"),
    ],
)
def test_what_does_not_end_is_never_copied(
    files: AwsFiles, answer: dict[str, str], said: str
) -> None:
    files.process(process_answer(**answer))
    with pytest.raises(LongTermKeysError, match=said) as raised:
        SourceProfiles().resolve("keys").temporary(other_than=None)
    assert "process-secret" not in str(raised.value)


def test_what_a_failing_credential_process_says_is_told(files: AwsFiles) -> None:
    files.process("", status=3, said="the vault is locked")
    error = failure(SourceUnavailableError)
    assert "the vault is locked" in error.message
    assert error.retry is RetryPolicy.BACK_OFF


def test_what_a_failing_credential_process_says_is_told_without_secrets(files: AwsFiles) -> None:
    files.process("", status=3, said="+ export AWS_SECRET_ACCESS_KEY=process-secret")
    assert "process-secret" not in failure(SourceUnavailableError).message


def test_a_credential_process_that_failed_is_asked_again(files: AwsFiles) -> None:
    files.process("no JSON")
    source = SourceProfiles().resolve("keys")
    with pytest.raises(SourceUnavailableError):
        source.credentials()
    (files.home / "printed").write_text(process_answer())
    assert source.credentials().access_key_id == "AKIAPROCESS"


def test_a_credential_process_that_is_not_there_is_a_source_unavailable(files: AwsFiles) -> None:
    files.config(f"[profile keys]\ncredential_process = {files.home / 'none'}\n")
    failure(SourceUnavailableError)


def test_a_profile_that_is_nowhere_is_missing(files: AwsFiles) -> None:
    files.credentials(f"[other]\n{KEYS}")
    error = failure(SourceMissingError)
    assert error.message == (
        "profile keys is in neither the AWS config file nor the credentials file"
    )
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
def test_half_a_pair_of_keys_is_missing(files: AwsFiles, entries: str) -> None:
    files.credentials(f"[keys]\n{entries}")
    error = failure(SourceMissingError)
    assert "aws configure --profile keys" in error.hint
    assert "first-secret" not in str(error)


def test_a_profile_that_would_ask_for_a_code_is_refused_before_it_can(files: AwsFiles) -> None:
    files.config(
        "[profile keys]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::111122223333:mfa/me\n"
    )
    files.credentials(f"[base]\n{KEYS}")
    error = failure(SourceMissingError)
    assert "profile keys of the AWS config file asks for an MFA code" in error.message
    assert "source_profile that needs no code" in error.hint


def test_a_profile_whose_own_source_would_ask_for_a_code_is_refused_too(files: AwsFiles) -> None:
    files.config(
        "[profile keys]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = middle\n"
        "[profile middle]\nrole_arn = arn:aws:iam::111122223333:role/m\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::111122223333:mfa/me\n"
    )
    files.credentials(f"[base]\n{KEYS}")
    assert "profile middle of the AWS config file" in failure(SourceMissingError).message


def test_keys_beside_an_mfa_serial_ask_for_no_code(files: AwsFiles) -> None:
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
@pytest.mark.parametrize("token", [None, EXPIRED_TOKEN], ids=["never", "run out"])
def test_an_sso_login_that_has_run_out_says_the_command_to_run(
    files: AwsFiles, config: str, cache_key: str, command: str, token: str | None
) -> None:
    files.config(config)
    if token is not None:
        files.sso_token(cache_key, token)
    error = failure(SourceMissingError)
    assert "its SSO login has run out" in error.message
    assert error.hint == f"`{command}`; refreshes go on by themselves after it"
    assert error.retry is RetryPolicy.ON_CHANGE
    assert "sso-access-token" not in "".join(traceback.format_exception(error))


def test_a_garbled_sso_cache_is_no_traceback(files: AwsFiles) -> None:
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
def test_a_malformed_file_is_named_with_its_line_and_nothing_is_quoted(
    files: AwsFiles, text: str, in_config: bool
) -> None:
    path = files.config_path if in_config else files.credentials_path
    path.write_text(text)
    error = failure(AwsFilesUnreadableError)
    assert re.search(rf"{re.escape(str(path))}:\d+: ", error.message)
    assert error.retry is RetryPolicy.SOON, "to look again costs nobody anything"
    assert "first-secret" not in "".join(traceback.format_exception(error))
    assert SourceProfiles().fingerprint("keys") is None


def test_a_file_that_is_no_text_is_named(files: AwsFiles) -> None:
    files.config_path.write_bytes(b"\xff\xfe\x00")
    assert str(files.config_path) in failure(AwsFilesUnreadableError).message


def test_a_malformed_file_is_read_again_once_it_is_mended(files: AwsFiles) -> None:
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
    "the same text anew": on_disk(CHAIN, BASE),
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


def test_a_fingerprint_gives_no_key_away(files: AwsFiles) -> None:
    files.credentials(f"[keys]\n{KEYS}")
    fingerprint = SourceProfiles().fingerprint("keys")
    assert fingerprint is not None
    assert len(fingerprint) == 64
    assert "first-secret" not in fingerprint


def test_what_is_nowhere_has_no_fingerprint() -> None:
    assert SourceProfiles().fingerprint("keys") is None


def test_a_loop_of_source_profiles_ends(files: AwsFiles) -> None:
    files.config(
        "[profile keys]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = other\n"
        "[profile other]\nrole_arn = arn:aws:iam::111122223333:role/o\nsource_profile = keys\n"
    )
    assert "Infinite loop" in failure(SourceUnavailableError).message


def test_many_threads_resolve_one_source_and_see_whole_keys(files: AwsFiles) -> None:
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
        except Exception as error:  # noqa: BLE001 - told by the thread that waits
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


def test_a_source_that_would_ask_over_plain_http_is_refused(
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
    assert "http://sts.example.com is plain http" in error.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_runs_no_command_that_another_user_names(files: AwsFiles) -> None:
    files.process(json.dumps({"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "x"}))
    assert credentials().access_key_id == "AKIA"
    os.chown(files.config_path, 12345, -1)
    assert "belongs to another user" in failure(SourceMissingError).message
    assert files.process_runs == 1
