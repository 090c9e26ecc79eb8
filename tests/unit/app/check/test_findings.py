"""Every kind of finding of `assumed check`, with its message."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from assumed.app.check import CheckReport, find_problems
from assumed.app.check.inspection import Inspection
from assumed.aws_files.profiles import read_aws_files
from assumed.aws_files.shadowing import Finding
from assumed.cli.output import format_finding
from assumed.config import loader
from assumed.config.key_locations import KeyLocations
from assumed.credential_sources.aws_files_snapshot import AwsFilesSnapshot, Settings
from assumed.errors import SourceMissingError
from assumed.models import MfaSession
from tests.fakes import NOON

KEYS = "aws_access_key_id = AKIABASE\naws_secret_access_key = no-secret\n"
SESSION_KEYS = "aws_access_key_id = ASIABASE\naws_secret_access_key = x\naws_session_token = t\n"
BASE = f"[base]\n{KEYS}"
REGION = "[profile deploy]\nregion = eu-west-1\n"
ARN = "arn:aws:iam::111122223333:role/deploy"
DEPLOY = f"role_arn: '{ARN}', source_profile: base"
SERIAL = "arn:aws:iam::111122223333:mfa/jane"
SSO = (
    "[profile base]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Dev\n"
    "[sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n"
)
LEGACY_SSO = (
    "[profile base]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n"
    "sso_account_id = 111122223333\nsso_role_name = Dev\n"
)


@dataclass
class Logins:
    """MFA sessions by serial."""

    valid: set[str] = field(default_factory=set)

    def expires_at(self, source: MfaSession) -> datetime | None:
        return NOON + timedelta(hours=1) if source.serial in self.valid else None


class Sources:
    """Accepts every source profile, or raises an error."""

    error: SourceMissingError | None = None

    def __init__(self, config: Path, credentials: Path) -> None:
        self._files = config, credentials

    def resolve(self, _: str) -> object:
        if self.error is not None:
            raise self.error
        return self

    def login_command(self, name: str) -> str:
        return f"aws sso login --profile {name}"

    def settings(self, config_profiles: Sequence[str]) -> tuple[str | None, Settings]:
        config, credentials = ((path, path.read_bytes()) for path in self._files)
        snapshot = AwsFilesSnapshot.parse(config, credentials)
        chosen = snapshot.first_existing(config_profiles)
        return chosen, {} if chosen is None else snapshot.settings(chosen)


class Home:
    """The AWS files, a configuration, and a directory of programs."""

    def __init__(self, directory: Path) -> None:
        self.path = directory
        self.config = directory / "config"
        self.credentials = directory / "credentials"
        self.yaml = directory / "config.yaml"
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.logins = Logins()
        self.sources = Sources(self.config, self.credentials)
        self.environ: dict[str, str] = {"PATH": str(self.bin)}

    def write(self, config: str, credentials: str, yaml: str) -> None:
        self.config.write_text(config)
        self.credentials.write_text(credentials)
        self.credentials.chmod(0o600)
        self.yaml.write_text(yaml if "profiles:" in yaml else f"profiles:\n  deploy: {{{yaml}}}\n")

    def install(self, program: str) -> None:
        (self.bin / program).write_text("#!/bin/sh\n")
        (self.bin / program).chmod(0o700)

    def cache(self, kind: str, name: str, content: Mapping[str, str]) -> None:
        digest = hashlib.sha1 if kind == "sso" else hashlib.sha256
        file = self.path / f".aws/{kind}/cache/{digest(name.encode()).hexdigest()}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))

    def findings(self) -> tuple[Finding, ...]:
        configuration = loader.parse(self.yaml.read_bytes(), self.yaml, user="me", host="here")
        return find_problems(
            Inspection(
                configuration=configuration,
                keys=KeyLocations.read(self.yaml),
                files=read_aws_files(self.config, self.credentials),
                credentials_file=self.credentials,
                sources=self.sources,
                logins=self.logins,
                environ=self.environ,
                now=NOON,
            )
        )

    def lines(self) -> list[str]:
        """Return the first line of each finding, with paths relative to the home."""
        shown = [format_finding(found).splitlines()[0] for found in self.findings()]
        return [line.replace(f"{self.path}/", "") for line in shown]

    def report(self, *chosen: str) -> CheckReport:
        configuration = loader.parse(self.yaml.read_bytes(), self.yaml, user="me", host="here")
        return CheckReport.of(configuration, self.findings(), chosen)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Home(tmp_path)


# What the AWS config file has besides the region of `deploy`, the credentials file, the
# configuration, and the first line of the finding.
CASES: Mapping[str, tuple[str, str, str, str]] = {
    "long-term keys in the profile": (
        "",
        f"{BASE}[deploy]\n{KEYS}",
        DEPLOY,
        "credentials:4: profile deploy holds long-term keys",
    ),
    "another tool's profile": (
        "",
        f"{BASE}[deploy]\n{SESSION_KEYS}manager = awsume\n",
        DEPLOY,
        "credentials:4: profile deploy is managed by awsume",
    ),
    "a profile that SDKs read differently": (
        "",
        f"{BASE}[deploy]\naws_access_key_id = ASIA\n  continued\n",
        DEPLOY,
        "credentials:6: profile deploy: an indented line continues the value of aws_access_key_id "
        "on line 5",
    ),
    "a token that every profile inherits": (
        "",
        f"[DEFAULT]\naws_security_token = t\n{BASE}",
        DEPLOY,
        "credentials:2: profile deploy: every profile inherits aws_security_token of [DEFAULT] as "
        "its session token",
    ),
    "no credentials": (
        "[profile base]\nregion = eu-west-1\n",
        "",
        DEPLOY,
        "config:1: profile base holds no credentials",
    ),
    "no secret": (
        "",
        "[base]\naws_access_key_id = AKIABASE\n",
        DEPLOY,
        "credentials:2: profile base has aws_access_key_id, but no aws_secret_access_key",
    ),
    "an empty secret": (
        "",
        "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key =\n",
        DEPLOY,
        "credentials:3: profile base: aws_secret_access_key is empty",
    ),
    "no access key id": (
        "",
        "[base]\naws_secret_access_key = no-secret\n",
        DEPLOY,
        "credentials:2: profile base has aws_secret_access_key, but no aws_access_key_id",
    ),
    "the keys in two files": (
        "[profile base]\naws_secret_access_key = no-secret\n",
        "[base]\naws_access_key_id = AKIABASE\n",
        DEPLOY,
        "credentials:2: profile base has aws_access_key_id, but no aws_secret_access_key",
    ),
    "temporary keys without their token": (
        "",
        "[base]\naws_access_key_id = ASIABASE\naws_secret_access_key = x\n",
        DEPLOY,
        "credentials:2: profile base has temporary keys without their aws_session_token",
    ),
    "expired temporary keys": (
        "",
        f"[base]\n{SESSION_KEYS}x_security_token_expires = 2026-11-24T12:00:00+01:00\n",
        DEPLOY,
        "credentials:2: profile base: its temporary keys expired at 2026-11-24 11:00 UTC",
    ),
    "credential_source without a role": (
        "[profile base]\ncredential_source = Ec2InstanceMetadata\n",
        "",
        DEPLOY,
        "config:2: profile base: credential_source without role_arn: AWS tools ignore it",
    ),
    "source_profile without a role": (
        "[profile base]\nsource_profile = other\n",
        "",
        DEPLOY,
        "config:2: profile base: source_profile without role_arn: AWS tools ignore it",
    ),
    "a role without a source": (
        f"[profile base]\nrole_arn = {ARN}\n",
        "",
        DEPLOY,
        "config:2: profile base: AWS tools use none of its credentials: a role_arn requires one of "
        "source_profile, credential_source and web_identity_token_file, and a token file requires "
        "a role_arn",
    ),
    "a source of a source that is missing": (
        f"[profile base]\nrole_arn = {ARN}\nsource_profile = the-intern\n",
        "",
        DEPLOY,
        "config:3: profile base: its source_profile the-intern is in neither AWS file",
    ),
    "sources in a circle": (
        f"[profile base]\nrole_arn = {ARN}\nsource_profile = other\n"
        f"[profile other]\nrole_arn = {ARN}\nsource_profile = base\n",
        "",
        DEPLOY,
        "config:6: profile other: its source_profile leads back to itself",
    ),
    "a source that asks for a code": (
        f"[profile base]\nrole_arn = {ARN}\nsource_profile = keys\nmfa_serial = {SERIAL}\n",
        f"[keys]\n{KEYS}",
        DEPLOY,
        "config:4: profile base assumes a role with an MFA code, which a refresh cannot ask for",
    ),
    "an SSO session that is not defined": (
        "[profile base]\nsso_session = gone\nsso_account_id = 1\nsso_role_name = Dev\n",
        "",
        DEPLOY,
        "config:2: profile base: there is no [sso-session gone]",
    ),
    "incomplete SSO settings": (
        LEGACY_SSO.replace("sso_role_name = Dev\n", ""),
        "",
        DEPLOY,
        "config:1: profile base: its SSO settings lack sso_role_name",
    ),
    "SSO settings that contradict their session": (
        SSO.replace("sso_account_id", "sso_region = us-east-1\nsso_account_id"),
        "",
        DEPLOY,
        "config:3: profile base: sso_region differs from that of [sso-session corp] (config:8), "
        "and AWS tools reject both",
    ),
    "no SSO login": (SSO, "", DEPLOY, "config:1: the SSO login of profile base is missing"),
    "no login": (
        "[profile base]\nlogin_session = arn:aws:iam::111122223333:user/jane\n",
        "",
        DEPLOY,
        "config:1: the login of profile base is missing",
    ),
    "a credential_process that is not installed": (
        "[profile base]\ncredential_process = vault-helper --json\n",
        "",
        DEPLOY,
        "config:2: profile base: its credential_process vault-helper is in no directory of PATH",
    ),
    "a credential_process that does not exist": (
        "[profile base]\ncredential_process = /no/such/helper --json\n",
        "",
        DEPLOY,
        "config:2: profile base: its credential_process /no/such/helper does not exist",
    ),
    "a credential_process with an open quote": (
        "[profile base]\ncredential_process = helper 'json\n",
        "",
        DEPLOY,
        "config:2: profile base: its credential_process is malformed: No closing quotation",
    ),
    "a token file of a source": (
        f"[profile base]\nrole_arn = {ARN}\nweb_identity_token_file = /no/such/token\n",
        "",
        DEPLOY,
        "config:3: the token file /no/such/token cannot be read: No such file or directory",
    ),
    "a token file": (
        "",
        BASE,
        f"role_arn: '{ARN}', web_identity_token_file: /no/such/token",
        "config.yaml:2: the token file /no/such/token cannot be read: No such file or directory",
    ),
    "long-term keys without a role": (
        "",
        BASE,
        "source_profile: base",
        "config.yaml:2: profile base holds long-term keys, which are never copied, and deploy has "
        "no role_arn",
    ),
    "no MFA session": (
        "",
        BASE,
        f"{DEPLOY}, mfa_serial: '{SERIAL}'",
        f"config.yaml:2: there is no valid MFA session of {SERIAL}",
    ),
    "no code for the session itself": (
        "",
        BASE,
        f"{DEPLOY}, mfa_serial: '{SERIAL}', mfa_session: none",
        f"config.yaml:2: its next session needs a code of {SERIAL}",
    ),
    "an MFA device for temporary keys": (
        "",
        f"[base]\n{SESSION_KEYS}",
        f"{DEPLOY}, mfa_serial: '{SERIAL}', mfa_process: 'true'",
        "credentials:2: profile base holds no long-term keys, which an MFA code requires",
    ),
    "a FIDO security key": (
        "",
        BASE,
        f"{DEPLOY}, mfa_serial: 'arn:aws:iam::111122223333:u2f/user/jane/key'",
        "config.yaml:2: arn:aws:iam::111122223333:u2f/user/jane/key is a FIDO security key, which "
        "STS does not accept: it has no code of six digits",
    ),
    "an mfa_process that is not installed": (
        "",
        BASE,
        f"{DEPLOY}, mfa_serial: '{SERIAL}', mfa_process: ykman oath",
        "config.yaml:2: mfa_process ykman is in no directory of PATH",
    ),
    "a CA bundle that is missing": (
        "[profile base]\nca_bundle = /no/such/ca.pem\n",
        BASE,
        f"{DEPLOY}, config_profile: base",
        "config:2: profile base: its ca_bundle /no/such/ca.pem is not a file",
    ),
    "a hook that is not installed": (
        "",
        BASE,
        f"profiles:\n  deploy: {{{DEPLOY}}}\nhooks:\n  on_refresh: [/no/such/hook]\n",
        "config.yaml:4: on_refresh: /no/such/hook does not exist",
    ),
    "keys that a role precedes": (
        f"role_arn = {ARN}\nsource_profile = base\n",
        BASE,
        DEPLOY,
        "config:3: profile deploy: because of role_arn, boto3, the AWS CLI v2 and the JavaScript "
        "SDK never use the refreshed keys",
    ),
}
NOTES: Mapping[str, tuple[str, str, str, str]] = {
    "a refresh_before that is clipped": (
        "",
        BASE,
        f"{DEPLOY}, refresh_before: 50m",
        "note: config.yaml:2: profile deploy: refresh_before of 50m is more than half of a session "
        "of 1h",
    ),
    "a long session of an MFA session": (
        "",
        BASE,
        f"{DEPLOY}, duration_seconds: 12h, mfa_process: 'true', mfa_serial: '{SERIAL}'",
        "note: config.yaml:2: profile deploy: sessions of 12h are not issued: it is assumed from a "
        "session of GetSessionToken (mfa_serial)",
    ),
    "a long session of temporary keys": (
        "",
        f"[base]\n{SESSION_KEYS}",
        f"{DEPLOY}, duration_seconds: 4h",
        "note: config.yaml:2: profile deploy: sessions of 4h are not issued: the keys of profile "
        "base are those of a session",
    ),
    "a long session of a role": (
        f"[profile base]\nrole_arn = {ARN}\nsource_profile = keys\n",
        f"[keys]\n{KEYS}",
        f"{DEPLOY}, duration_seconds: 4h",
        "note: config.yaml:2: profile deploy: sessions of 4h are not issued: profile base is a "
        "role itself, and STS limits chained roles",
    ),
    "a long session of an instance": (
        "",
        BASE,
        f"role_arn: '{ARN}', credential_source: Ec2InstanceMetadata, duration_seconds: 4h",
        "note: config.yaml:2: profile deploy: sessions of 4h are not issued: Ec2InstanceMetadata "
        "is a role itself, and STS limits chained roles",
    ),
    "a container without its variable": (
        "",
        BASE,
        f"role_arn: '{ARN}', credential_source: EcsContainer",
        "note: config.yaml:2: credential_source: EcsContainer, but this environment has neither "
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "no keys in the environment": (
        "",
        BASE,
        f"role_arn: '{ARN}', credential_source: Environment",
        "note: config.yaml:2: credential_source: Environment, but this environment has no "
        "AWS_ACCESS_KEY_ID",
    ),
}


@pytest.mark.parametrize("case", [*CASES.values(), *NOTES.values()], ids=[*CASES, *NOTES])
def test_check_finds(home: Home, case: tuple[str, str, str, str]) -> None:
    config, credentials, yaml, expected = case
    home.install("true")
    # The region of `deploy` comes last, so that each line number is the one of the case.
    own = config if config.startswith("[") else ""
    home.write(f"{own}{REGION}{config.removeprefix(own)}", credentials, yaml)
    assert home.lines() == [expected]
    report = home.report()
    is_note = case in NOTES.values()
    assert report.has_problems is not is_note
    assert report.works("deploy") is (is_note or "hooks:" in yaml)


def test_check_finds_a_long_session_of_an_sso_login(home: Home) -> None:
    home.write(f"{SSO}{REGION}", "", f"{DEPLOY}, duration_seconds: 8h")
    home.cache("sso", "corp", {"accessToken": "no-token", "expiresAt": "2026-11-24T20:00:00Z"})
    assert home.lines() == [
        "note: config.yaml:2: profile deploy: sessions of 8h are not issued: the SSO login of "
        "profile base is a role itself, which STS chains"
    ]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ({"accessToken": "t", "expiresAt": "2026-11-24T13:00:00Z"}, None),
        ({"accessToken": "t", "expiresAt": "2026-11-24T13:00:00UTC"}, None),
        ({"accessToken": "t", "expiresAt": "2026-11-24T11:30:00Z"}, "at 2026-11-24 11:30 UTC"),
        (
            {
                "accessToken": "t",
                "expiresAt": "2026-11-24T11:30:00Z",
                "refreshToken": "r",
                "clientId": "c",
                "clientSecret": "s",
                "registrationExpiresAt": "2027-01-01T00:00:00Z",
            },
            None,
        ),
        (
            {
                "accessToken": "t",
                "expiresAt": "2026-11-24T11:30:00Z",
                "refreshToken": "r",
                "clientId": "c",
                "clientSecret": "s",
                "registrationExpiresAt": "2026-11-01T00:00:00Z",
            },
            "at 2026-11-24 11:30 UTC",
        ),
    ],
)
def test_check_finds_an_sso_login_that_cannot_be_refreshed(
    home: Home, token: Mapping[str, str], expected: str | None
) -> None:
    home.write(f"{SSO}{REGION}", "", DEPLOY)
    home.cache("sso", "corp", token)
    assert home.lines() == (
        []
        if expected is None
        else [f"config:1: the SSO login of profile base has expired {expected}"]
    )
    if expected is not None:
        assert home.findings()[0].fix == "run `aws sso login --profile base`, or `assumed login`"


def test_check_finds_no_fault_with_a_login_that_exists(home: Home) -> None:
    user = "arn:aws:iam::111122223333:user/jane"
    home.write(f"[profile base]\nlogin_session = {user}\n{REGION}", "", DEPLOY)
    home.cache("login", user, {"accessToken": "t"})
    assert home.lines() == []


def test_check_notes_the_profiles_without_a_region_once(home: Home) -> None:
    home.write(
        "[profile base]\nregion = eu-west-1\n",
        BASE,
        f"profiles:\n  one: {{{DEPLOY}}}\n  two: {{{DEPLOY}, region: eu-west-2}}\n"
        f"  three: {{role_arn: '{ARN}', source_profile: two}}\n  four: {{{DEPLOY}, store: memory}}"
        "\n",
    )
    (finding,) = home.findings()
    assert finding.is_note
    assert finding.problem == "one, two and three have no region in the AWS config file"
    assert finding.fix.splitlines() == [
        "`aws configure set region eu-west-1 --profile one`",
        "  `aws configure set region eu-west-2 --profile two`",
        "  `aws configure set region eu-west-2 --profile three`",
    ]
    home.environ["AWS_REGION"] = "eu-west-1"
    assert home.lines() == []


def test_check_looks_at_the_settings_that_the_calls_are_made_with(home: Home) -> None:
    home.write(
        "[profile base]\nca_bundle = /no/such/ca.pem\n[profile corp]\nregion = eu-west-3\n"
        "ca_bundle = /no/other/ca.pem\n[profile deploy]\nregion = eu-west-1\n",
        BASE,
        f"profiles:\n  deploy: {{{DEPLOY}}}\n"
        f"  two: {{{DEPLOY}, config_profile: corp, region: eu-west-2}}\n",
    )
    bundle, region = home.findings()
    assert bundle.problem == "profile corp: its ca_bundle /no/other/ca.pem is not a file"
    assert bundle.profiles == ("two",)
    assert region.fix == "`aws configure set region eu-west-3 --profile two`"


def test_check_names_the_command_that_adds_all_settings_of_names_from_init(home: Home) -> None:
    role = "region = eu-west-1\nrole_arn = x\nsource_profile = base\n"
    home.write(
        f"[profile a]\n{role}[profile b]\n{role}[profile corp]\nregion = eu-west-3\n",
        BASE,
        f"profiles:\n  a-fresh: {{{DEPLOY}, config_profile: a}}\n"
        f"  b-fresh: {{{DEPLOY}, config_profile: b}}\n"
        f"  corp-fresh: {{{DEPLOY}, config_profile: corp}}\n",
    )
    (finding,) = home.findings()
    assert finding.profiles == ("a-fresh", "b-fresh", "corp-fresh")
    assert finding.fix.splitlines() == [
        f"`assumed init --write-aws-config --config {home.yaml}`",
        "  `aws configure set region eu-west-3 --profile corp-fresh`",
    ]
    home.environ["XDG_CONFIG_HOME"] = str(home.path)
    (home.path / "assumed").mkdir()
    home.yaml = home.yaml.rename(home.path / "assumed" / "config.yaml")
    (finding,) = home.findings()
    assert finding.fix.splitlines()[0] == "`assumed init --write-aws-config`"


def test_check_finds_a_credentials_file_in_a_directory_that_others_can_write(home: Home) -> None:
    home.write(REGION, BASE, DEPLOY)
    home.path.chmod(0o777)
    (line,) = home.lines()
    assert line.startswith("credentials: is not written, because another user could redirect it: ")
    home.path.chmod(0o700)


def test_check_finds_a_directory_that_cannot_be_written(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write(REGION, BASE, DEPLOY)
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    (line,) = home.lines()
    assert line.endswith(f"{home.path} cannot be written: permission denied")


def test_check_finds_a_credentials_file_of_another_user(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write(REGION, BASE, DEPLOY)
    monkeypatch.setattr("assumed.app.check.local_files.reject_untrusted_path", lambda _: None)
    # To another user, the file of the user who runs this test is a foreign file.
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    (finding,) = home.findings()
    assert finding.problem == f"it belongs to {home.credentials.owner()}"
    assert finding.fix.endswith(f": `sudo chown 54321 {home.credentials}`")


def test_check_reports_what_only_the_source_finds(home: Home) -> None:
    home.write(REGION, BASE, DEPLOY)
    home.sources.error = SourceMissingError("it is another user's", hint="use your own")
    (finding,) = home.findings()
    assert (finding.problem, finding.fix) == ("it is another user's", "use your own")


def test_check_reports_one_reason_once_for_all_that_it_concerns(home: Home) -> None:
    home.write(
        f"[profile base]\ncredential_process = helper\n{REGION}",
        "",
        f"profiles:\n  deploy: {{{DEPLOY}}}\n  other: {{{DEPLOY}, mfa_serial: '{SERIAL}', "
        "store: memory, mfa_process: 'true'}\n",
    )
    (finding,) = home.findings()
    assert finding.used == "each refresh of deploy and other fails"


def test_check_finds_nothing_wrong_with_what_works(home: Home) -> None:
    home.install("helper")
    home.logins.valid.add(SERIAL)
    home.environ["AWS_REGION"] = "eu-west-1"
    home.write(
        f"[profile helped]\ncredential_process = helper --json\n"
        f"[profile itself]\nrole_arn = {ARN}\nsource_profile = itself\n"
        f"[profile chained]\nrole_arn = {ARN}\nsource_profile = base\n"
        "[profile machine]\n"
        f"role_arn = {ARN}\ncredential_source = Ec2InstanceMetadata\n",
        f"{BASE}[itself]\n{KEYS}[managed]\n{SESSION_KEYS}manager = assumed\n"
        f"[temporary]\n{SESSION_KEYS}x_security_token_expires = 2026-11-24T13:00:00Z\n"
        f"[code]\n{SESSION_KEYS}manager = assumed\nx_security_token_expires = "
        "2026-11-24T13:00:00Z\n"
        f"[unclear]\n{SESSION_KEYS}expiration = 2026-11-24 11:00:00\n",
        "profiles:\n"
        + "".join(
            f"  {source}-fresh: {{role_arn: '{ARN}', source_profile: {source}}}\n"
            for source in ("helped", "itself", "chained", "machine", "base", "temporary", "unclear")
        )
        + f"  managed: {{{DEPLOY}, refresh_before: 30m, duration_seconds: 12h}}\n"
        f"  mfa: {{{DEPLOY}, mfa_serial: '{SERIAL}'}}\n"
        f"  code: {{{DEPLOY}, mfa_serial: '{SERIAL}', mfa_session: none, duration_seconds: 12h}}\n"
        f"  child: {{role_arn: '{ARN}', source_profile: mfa}}\n"
        "  copy: {source_profile: helped}\n"
        f"  off: {{role_arn: '{ARN}', source_profile: broken, enabled: false}}\n",
    )
    assert home.lines() == []
    assert home.report().summary == "12 of 12 work"


def test_summary_counts_what_is_chained_to_a_broken_profile(home: Home) -> None:
    home.write(
        "",
        BASE + f"[keys]\n{KEYS}[gone]\naws_access_key_id = AKIA\n",
        "profiles:\n"
        f"  one: {{{DEPLOY}}}\n  two: {{{DEPLOY}}}\n  three: {{{DEPLOY}}}\n"
        f"  four: {{role_arn: '{ARN}', source_profile: gone}}\n"
        f"  five: {{role_arn: '{ARN}', source_profile: four}}\n",
    )
    report = home.report()
    assert report.summary == "3 of 5 work, 2 need you"
    assert [each["works"] for each in report.to_json()["profiles"]] == [True] * 3 + [False] * 2
    assert home.report("one").summary == "1 of 1 works"
    assert not home.report("one").has_problems
    assert home.report("five").summary == "0 of 1 work, 1 needs you"
    assert len([each for each in home.report("five").findings if not each.is_note]) == 1


def test_report_warns_of_a_wrong_clock(home: Home) -> None:
    home.write(REGION, BASE, DEPLOY)
    report = home.report()
    assert report.clock_warning is None
    configuration = loader.parse(home.yaml.read_bytes(), home.yaml, user="me", host="here")
    skewed = CheckReport.of(configuration, (), (), clock_skew=timedelta(minutes=-20))
    assert skewed.clock_warning == (
        "this machine's clock is 20m behind that of STS: set it (`timedatectl set-ntp true`)"
    )
    assert skewed.to_json()["clock_skew_seconds"] == -1200
