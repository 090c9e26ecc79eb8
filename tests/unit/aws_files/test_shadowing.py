"""Which credentials the AWS tools use, as `check` reports it and as botocore does it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from botocore import exceptions
from botocore.session import Session

from assumed.aws_files.profiles import AwsFiles, SourceLocation, read_aws_files
from assumed.aws_files.sdk_precedence import CredentialKind, used_by_botocore, used_by_javascript
from assumed.aws_files.shadowing import Finding, find_clashes, shadowing_notes
from assumed.config import loader
from assumed.errors import CredentialsFileMalformedError, SourceUnavailableError
from assumed.models import Configuration

KEYS = "aws_access_key_id = ASIAFRESH\naws_secret_access_key = no-secret\naws_session_token = t\n"
ROLE = "role_arn = arn:aws:iam::111122223333:role/r\nsource_profile = base\n"
WEB = "role_arn = arn:aws:iam::111122223333:role/r\nweb_identity_token_file = /nowhere\n"
SSO = "sso_session = company\nsso_account_id = 111122223333\nsso_role_name = reader\n"
LEGACY_SSO = (
    "sso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n"
    "sso_account_id = 111122223333\nsso_role_name = reader\n"
)
LOGIN = "login_session = arn:aws:iam::111122223333:user/jane\n"
PROCESS = "credential_process = {process}\n"
FRAME = (
    "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = no-secret\n"
    "[sso-session company]\nsso_start_url = https://example.awsapps.com/start\n"
    "sso_region = eu-west-1\n"
)

# The method that botocore reports for credentials.
METHODS = {
    "assume-role": CredentialKind.ROLE,
    "assume-role-with-web-identity": CredentialKind.WEB_IDENTITY,
    "sso": CredentialKind.SSO,
    "shared-credentials-file": CredentialKind.KEYS,
    "config-file": CredentialKind.KEYS,
    "custom-process": CredentialKind.PROCESS,
}

# The config file, the credentials file, and the credentials that botocore and the JavaScript SDK
# use.
CASES = {
    "keys": ("", KEYS, CredentialKind.KEYS, CredentialKind.KEYS),
    "keys in the config file": (KEYS, "", CredentialKind.KEYS, CredentialKind.KEYS),
    "role before keys": (ROLE, KEYS, CredentialKind.ROLE, CredentialKind.ROLE),
    "role in the credentials file before keys": (
        "",
        ROLE + KEYS,
        CredentialKind.ROLE,
        CredentialKind.ROLE,
    ),
    "role in one, source in the other": (
        "role_arn = arn:aws:iam::111122223333:role/r\n",
        f"source_profile = base\n{KEYS}",
        CredentialKind.ROLE,
        CredentialKind.ROLE,
    ),
    "role with no source": (
        "role_arn = arn:aws:iam::111122223333:role/r\n",
        KEYS,
        CredentialKind.BROKEN,
        CredentialKind.KEYS,
    ),
    "role with two sources": (
        f"{ROLE}credential_source = Environment\n",
        KEYS,
        CredentialKind.BROKEN,
        CredentialKind.KEYS,
    ),
    "web identity": (WEB, KEYS, CredentialKind.WEB_IDENTITY, CredentialKind.KEYS),
    "web identity with no role": (
        "web_identity_token_file = /nowhere\n",
        KEYS,
        CredentialKind.BROKEN,
        CredentialKind.KEYS,
    ),
    "sso": (SSO, KEYS, CredentialKind.SSO, CredentialKind.KEYS),
    "legacy sso": (LEGACY_SSO, KEYS, CredentialKind.SSO, CredentialKind.KEYS),
    "sso alone": (SSO, "", CredentialKind.SSO, CredentialKind.SSO),
    "an sso session for tokens only": (
        "sso_session = company\n",
        KEYS,
        CredentialKind.KEYS,
        CredentialKind.KEYS,
    ),
    "process": (PROCESS, "", CredentialKind.PROCESS, CredentialKind.PROCESS),
    "keys before process": (PROCESS, KEYS, CredentialKind.KEYS, CredentialKind.KEYS),
    "process before keys of the config file": (
        PROCESS + KEYS,
        "",
        CredentialKind.PROCESS,
        CredentialKind.KEYS,
    ),
    "role before process": (ROLE + PROCESS, "", CredentialKind.ROLE, CredentialKind.ROLE),
    "sso and process": (SSO + PROCESS, "", CredentialKind.SSO, CredentialKind.PROCESS),
    "login": (LOGIN, "", CredentialKind.LOGIN, CredentialKind.LOGIN),
    "keys before login": (LOGIN, KEYS, CredentialKind.KEYS, CredentialKind.KEYS),
    "sso and login": (SSO + LOGIN, "", CredentialKind.SSO, CredentialKind.SSO),
    "login and process": (LOGIN + PROCESS, "", CredentialKind.LOGIN, CredentialKind.PROCESS),
    "login and keys of the config file": (
        LOGIN + KEYS,
        "",
        CredentialKind.LOGIN,
        CredentialKind.KEYS,
    ),
    "nothing": ("region = eu-west-1\n", "", CredentialKind.NOTHING, CredentialKind.NOTHING),
}


class Home:
    """AWS files and a configuration."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "config"
        self.credentials = directory / "credentials"
        self._configuration = directory / "config.yaml"
        self._process = directory / "process"

    def write(self, config_text: str, credentials_text: str) -> None:
        process = self._process
        process.write_text(
            '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}\'\n'
        )
        process.chmod(0o700)
        self.config.write_text(config_text.replace("{process}", str(process)))
        self.credentials.write_text(credentials_text.replace("{process}", str(process)))

    def files(self) -> AwsFiles:
        return read_aws_files(self.config, self.credentials)

    def configuration(self, profiles: str) -> Configuration:
        text = f"profiles: {profiles}"
        return loader.parse(text.encode(), self._configuration, user="me", host="here")

    def findings(self, profiles: str, **environ: str) -> list[Finding]:
        return list(find_clashes(self.files(), self.configuration(profiles), environ))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Home(tmp_path)


def resolve_with_botocore(profile: str) -> CredentialKind:
    """Return what botocore itself uses; it makes no call before the credentials are used."""
    try:
        found = Session(profile=profile).get_credentials()
    except (exceptions.LoginError, exceptions.MissingDependencyException):
        return CredentialKind.LOGIN
    except exceptions.BotoCoreError:
        return CredentialKind.BROKEN
    return CredentialKind.NOTHING if found is None else METHODS[found.method]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_used_by_botocore_is_what_botocore_uses(
    home: Home, case: tuple[str, str, CredentialKind, CredentialKind]
) -> None:
    in_config, in_credentials, botocore, javascript = case
    stored = f"[deploy]\n{in_credentials}" if in_credentials else ""
    home.write(f"{FRAME}[profile deploy]\n{in_config}", stored)
    profile = home.files().profiles["deploy"]
    assert used_by_botocore(profile).kind is botocore
    assert resolve_with_botocore("deploy") is botocore
    assert used_by_javascript(profile).kind is javascript


def test_botocore_prefers_keys_of_the_environment_to_aws_profile_but_not_to_a_named_profile(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write("", f"[deploy]\n{KEYS}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "no-secret")
    monkeypatch.setenv("AWS_PROFILE", "deploy")
    unnamed = Session().get_credentials()
    assert unnamed is not None
    assert unnamed.method == "env"
    assert resolve_with_botocore("deploy") is CredentialKind.KEYS


MANAGED = "{deploy: {role_arn: 'arn:aws:iam::111122223333:role/r', source_profile: base}}"
IN_MEMORY = MANAGED.replace("base}", "base, store: memory}")


def test_find_clashes_reports_a_role_that_shadows_the_keys(home: Home) -> None:
    home.write(f"{FRAME}\n[profile deploy]\nregion = eu-west-1\n{ROLE}", "")
    (finding,) = home.findings(MANAGED)
    assert finding == Finding(
        f"{home.config}:10",
        "profile deploy: because of role_arn, boto3, the AWS CLI v2 and the JavaScript SDK never "
        "use the refreshed keys",
        "boto3, the AWS CLI v2 and the JavaScript SDK use a separate session of that role, from "
        f"profile base ({home.config}:10)",
        f"in {home.config}.yaml, give profile deploy another name, such as deploy-fresh; or remove "
        "role_arn and source_profile from this profile",
        profiles=("deploy",),
    )


@pytest.mark.parametrize(
    ("entries", "used"),
    [
        (ROLE, "role/r (~/config:8)"),
        (WEB, "role/r (~/config:9)"),
        (SSO, "its SSO login (~/config:9)"),
        (KEYS, None),
        (PROCESS, None),
    ],
)
def test_shadowing_notes_name_what_the_aws_cli_uses_instead(
    home: Home, entries: str, used: str | None
) -> None:
    home.write(f"{FRAME}[profile deploy]\n{entries}", f"[deploy]\n{KEYS}manager = assumed\n")
    assert shadowing_notes(home.files(), ["deploy", "base", "not-there"]) == (
        {} if used is None else {"deploy": f"valid, but `aws --profile deploy` uses {used}"}
    )


@pytest.mark.parametrize(
    ("entries", "key", "line"),
    [(SSO, "sso_account_id", 9), (LEGACY_SSO, "sso_account_id", 10), (WEB, "web_identity", 9)],
)
def test_find_clashes_reports_what_shadows_the_keys_for_boto3_only(
    home: Home, entries: str, key: str, line: int
) -> None:
    home.write(f"{FRAME}[profile deploy]\n{entries}", f"[deploy]\n{KEYS}manager = assumed\n")
    (finding,) = home.findings(MANAGED)
    assert finding.where == f"{home.config}:{line}"
    assert f"because of {key}" in finding.problem
    assert "boto3 and the AWS CLI v2 never use" in finding.problem
    assert f"the JavaScript SDK uses the refreshed keys ({home.credentials}:2)" in finding.used


def test_find_clashes_reports_a_credential_process_that_the_keys_shadow(home: Home) -> None:
    home.write(f"{FRAME}[profile deploy]\n{PROCESS}", "")
    (finding,) = home.findings(MANAGED)
    assert finding.where == f"{home.config}:8"
    assert "take precedence over this credential_process, which then never runs" in finding.problem
    assert f"use its credential_process ({home.config}:8)" in finding.used
    assert "store: memory" not in finding.fix
    assert home.findings(IN_MEMORY) == []


def test_find_clashes_proposes_store_memory_for_a_credential_process_of_assumed(home: Home) -> None:
    home.write(
        f"{FRAME}[profile deploy]\n"
        "credential_process = /opt/bin/assumed export-credentials --profile deploy\n",
        "",
    )
    (finding,) = home.findings(MANAGED)
    assert finding.fix.endswith("or write no keys: `store: memory`")
    assert home.findings(IN_MEMORY) == []


def test_find_clashes_reports_keys_that_shadow_an_exported_profile(home: Home) -> None:
    home.write(
        f"{FRAME}[profile deploy-live]\n"
        "credential_process = assumed export-credentials --profile deploy\n",
        f"[deploy-live]\n{KEYS}",
    )
    (finding,) = home.findings(MANAGED)
    assert finding.where == f"{home.credentials}:2"
    assert f"never run the credential_process at {home.config}:8" in finding.problem
    assert finding.fix.startswith(
        "remove aws_access_key_id, aws_secret_access_key and aws_session_token from"
    )


def test_find_clashes_reports_keys_that_shadow_the_process_of_a_source(home: Home) -> None:
    home.write(f"[profile base]\n{PROCESS}[profile other]\n{PROCESS}", "")
    assert home.findings(MANAGED) == []
    home.credentials.write_text(f"[base]\n{KEYS}[other]\n{KEYS}")
    (finding,) = home.findings(MANAGED)
    assert finding.where == f"{home.credentials}:2"
    assert "profile base: because of aws_access_key_id" in finding.problem


def test_find_clashes_ignores_managed_keys_that_the_next_refresh_removes(home: Home) -> None:
    home.write(f"{FRAME}[profile deploy]\n{PROCESS}", f"[deploy]\n{KEYS}manager = assumed\n")
    assert home.findings(IN_MEMORY) == []
    home.credentials.write_text(f"[deploy]\n{KEYS}")
    (finding,) = home.findings(IN_MEMORY)
    assert finding.where == f"{home.credentials}:2"


def test_find_clashes_reports_a_config_header_in_the_credentials_file(home: Home) -> None:
    home.write(FRAME, f"[other]\n{KEYS}[profile deploy]\n{KEYS}[profile stray]\n{KEYS}")
    found, note = home.findings(MANAGED)
    assert found.where == f"{home.credentials}:5"
    assert "[profile deploy] does not define profile deploy" in found.problem
    assert found.used == (
        "boto3, the AWS CLI v2 and the JavaScript SDK use nothing: it has no credentials yet"
    )
    assert found.fix == "remove this section: assumed writes [deploy] itself"
    assert not found.is_note
    assert (note.where, note.fix) == (f"{home.credentials}:9", "rename it to [stray]")
    assert note.is_note


def test_find_clashes_notes_variables_of_the_shell_without_their_secrets(home: Home) -> None:
    home.write(FRAME, "")
    both = {"AWS_ACCESS_KEY_ID": "AKIASHOWN", "AWS_PROFILE": "nope"}
    keys, profile = home.findings(MANAGED, **both)
    assert keys.is_note
    assert profile.is_note
    assert "the JavaScript SDK uses profile nope" in keys.used
    assert "AKIASHOWN" not in str((keys, profile))
    assert profile.problem.endswith("to nope, which is in no AWS file")
    assert "export AWS_PROFILE=deploy" in profile.fix
    (managed,) = home.findings(MANAGED, AWS_PROFILE="deploy")
    assert (managed.problem.endswith("which assumed refreshes"), managed.fix) == (
        True,
        "nothing to do while the daemon runs; `assumed status` shows whether it does",
    )


def test_find_clashes_notes_a_token_variable_that_botocore_uses(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write("", f"[deploy]\n{KEYS}")
    environ = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere",
        "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/r",
    }
    (note,) = home.findings(MANAGED, **environ)
    assert note.is_note
    assert note.where == "AWS_WEB_IDENTITY_TOKEN_FILE"
    for name, value in {**environ, "AWS_PROFILE": "deploy"}.items():
        monkeypatch.setenv(name, value)
    unnamed = Session().get_credentials()
    assert unnamed is not None
    assert METHODS[unnamed.method] is CredentialKind.WEB_IDENTITY
    assert resolve_with_botocore("deploy") is CredentialKind.KEYS


def test_find_clashes_notes_aws_default_profile_if_it_differs(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write(FRAME, "")
    both = {"AWS_DEFAULT_PROFILE": "base", "AWS_PROFILE": "deploy"}
    note, _ = home.findings(MANAGED, **both)
    assert note.is_note
    assert "to base, which assumed does not refresh, and" in note.problem
    (same,) = home.findings(MANAGED, AWS_DEFAULT_PROFILE="deploy", AWS_PROFILE="deploy")
    assert same.where == "AWS_PROFILE"
    for name, value in both.items():
        monkeypatch.setenv(name, value)
    assert Session().get_config_variable("profile") == "base"


LOOPS = {
    "of one": ("{a: {role_arn: R, source_profile: a-live}}", "a", ["a-live"]),
    "of two": (
        "{a: {role_arn: R, source_profile: b-live}, b: {role_arn: R, source_profile: a-live}}",
        "ab",
        ["b-live", "a-live"],
    ),
    "through a chain": (
        "{a: {role_arn: R, source_profile: b}, b: {role_arn: R, source_profile: a-live}}",
        "a",
        ["a-live"],
    ),
    "through an MFA session": (
        "{a: {role_arn: R, source_profile: a-live, mfa_serial: 'arn:aws:iam::111122223333:mfa/m'}}",
        "a",
        ["a-live"],
    ),
    "through a role of the AWS files": (
        "{a: {role_arn: R, source_profile: far}}",
        "a",
        ["a-live"],
    ),
    "none": ("{a: {role_arn: R, source_profile: b-live}, b: {source_profile: base}}", "ab", []),
}


@pytest.mark.parametrize("case", LOOPS.values(), ids=LOOPS.keys())
def test_find_clashes_reports_a_profile_that_depends_on_itself_through_a_process(
    home: Home, case: tuple[str, str, list[str]]
) -> None:
    profiles, served, expected = case
    text = "".join(
        f"[profile {name}-live]\ncredential_process = assumed export-credentials --profile {name}\n"
        for name in served
    )
    far = "[profile far]\nrole_arn = arn:aws:iam::111122223333:role/r\nsource_profile = a-live\n"
    home.write(f"{FRAME}{far}{text}", "")
    found = home.findings(profiles.replace("R,", "'arn:aws:iam::111122223333:role/r',"))
    assert [finding.problem.partition(":")[0] for finding in found] == [
        f"profile {name}" for name in expected
    ]
    for finding in found:
        assert "this credential_process calls assumed for" in finding.problem
        assert not finding.is_note


def test_no_finding_and_no_repr_shows_a_key(home: Home) -> None:
    home.write(f"{FRAME}[profile deploy]\n{ROLE}", f"[deploy]\n{KEYS}[profile deploy]\n{KEYS}")
    shown = repr((home.files(), home.findings(MANAGED)))
    assert "no-secret" not in shown
    assert "ASIAFRESH" not in shown


def test_read_aws_files_returns_the_profiles_of_botocore(home: Home) -> None:
    home.write(
        "[DEFAULT]\nregion = eu-west-1\n[default]\noutput = text\n[profile default]\na = b\n"
        "[profile 'two words']\nS3 =\n  max = 1\n[preview]\n[profile]\n[profile \"open]\n"
        "[services x]\n",
        "[only-here]\n",
    )
    files = home.files()
    assert list(files.profiles) == [*Session().full_config["profiles"]]
    assert list(files.profiles) == ["default", "two words", "only-here"]
    assert list(files.profiles["default"].entries) == ["region", "a"]
    assert files.profiles["two words"].entries["s3"].location == SourceLocation(home.config, 8)


def test_read_aws_files_accepts_missing_files_and_locates_errors(home: Home) -> None:
    assert home.files().profiles == {}
    home.config.write_text("[profile a]\nb = c\nb = d\n")
    with pytest.raises(CredentialsFileMalformedError, match=r"config:3: duplicate key b"):
        home.files()
    home.config.unlink()
    home.config.mkdir()
    with pytest.raises(
        SourceUnavailableError, match="config cannot be read: it is not a regular file"
    ):
        home.files()


def test_find_clashes_notes_a_file_that_other_sdks_cannot_read(home: Home) -> None:
    home.write("[default]\nregion = eu-west-1\n", "[default]\nx : y\n[a b]\nk = v\n  # w\n")

    findings = home.findings(
        "{dev: {role_arn: 'arn:aws:iam::111122223333:role/r', source_profile: default}}"
    )

    notes = [found for found in findings if "cannot read this file" in found.problem]
    assert [(found.where, found.problem) for found in notes] == [
        (
            f"{home.credentials}:2",
            "the AWS SDKs for Rust, Java and Kotlin cannot read this file, because of this line: "
            "a line that is not `key = value`",
        ),
        (
            f"{home.credentials}:5",
            "the AWS SDKs for C (CRT) cannot read this file, because of this line: "
            "an indented comment below a name that is not only letters, digits and -_./%@:+",
        ),
    ]
    assert all(found.is_note for found in notes)


def test_find_clashes_names_all_sdks_that_one_line_stops(home: Home) -> None:
    home.write("[profile dev]\n  region = eu-west-1\n[services s]\ns3 =\n  a = b\n", "")

    assert [str(found) for found in home.files().unreadable] == [
        "the AWS SDKs for Rust, Java, Kotlin and C (CRT) cannot read this file, because of this "
        "line: an indented line with no key above it"
    ]
    assert home.files().unreadable[0].location == SourceLocation(home.config, 2)


def test_nested_blocks_of_services_and_sso_sessions_are_readable(home: Home) -> None:
    home.write("[services s]\ns3 =\n  a = b\n[sso-session t]\nk =\n  a = b\n", "")

    assert home.files().unreadable == ()
