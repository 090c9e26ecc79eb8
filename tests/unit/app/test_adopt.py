"""What `adopt` and `release` plan for AWS files as people have them, and what they reject."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from assumed.app.adopt import Adoption, AdoptionPlan
from assumed.app.release import Release
from assumed.errors import (
    AdoptionRejectedError,
    AssumedError,
    ConfigurationError,
    UsageError,
)

ROLE = "arn:aws:iam::222222222222:role/deploy"
KEYS = "aws_access_key_id = AKIAKIM\naws_secret_access_key = the/only/copy\n"
BASE = f"[base]\n{KEYS}"
DEV = f"[profile dev]\nrole_arn = {ROLE}\nsource_profile = base\nregion = eu-west-1\n"
FAR = "[profile far]\nrole_arn = arn:aws:iam::333333333333:role/far\nsource_profile = dev\n"
FRESH = "aws_access_key_id = ASIAFRESH\naws_secret_access_key = x\naws_session_token = t\n"
MANAGED = f"{FRESH}manager = assumed\n"
OTHER = f"profiles:\n  other:\n    role_arn: {ROLE}\n    source_profile: base\n"


class Home:
    """The AWS files and the configuration of a user."""

    def __init__(self, path: Path) -> None:
        self.aws_config = path / ".aws" / "config"
        self.credentials = path / ".aws" / "credentials"
        self.config = path / "assumed" / "config.yaml"
        for directory in (self.aws_config.parent, self.config.parent):
            directory.mkdir(mode=0o700)
        self.environ = {
            "AWS_CONFIG_FILE": str(self.aws_config),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
        }

    def write(self, aws_config: str, credentials: str = BASE, config: str | None = None) -> None:
        self.aws_config.write_text(aws_config)
        self.credentials.write_text(credentials)
        if config is not None:
            self.config.write_text(config)

    def contents(self) -> Mapping[Path, bytes]:
        return {
            path: path.read_bytes()
            for path in (self.aws_config, self.credentials, self.config)
            if path.exists()
        }

    def adopt(self, *profiles: str) -> AdoptionPlan:
        return Adoption(self.config, self.environ).plan(profiles)

    def release(self, *profiles: str) -> AdoptionPlan:
        return Release(self.config, self.environ).plan(profiles)

    def carry_out(self, plan: AdoptionPlan) -> None:
        """Write what a plan says, and nothing else."""
        for change in plan.changes:
            if change.after is None:
                change.path.unlink()
            else:
                change.path.write_bytes(change.after)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in list(os.environ):
        if name.startswith(("AWS_", "XDG_", "ASSUMED_")):
            monkeypatch.delenv(name)
    home = Home(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    return home


def definition(plan: AdoptionPlan, name: str) -> list[str]:
    """Return the lines of a definition in a plan, without its comment."""
    assert plan.configuration is not None
    _, _, rest = plan.configuration.decode().partition(f"\n  {name}:\n")
    return [line.strip() for line in rest.partition("\n\n")[0].splitlines()]


# Each home: the AWS config file, the credentials file, and by profile the definition.
HOMES: dict[str, tuple[str, str, dict[str, list[str]]]] = {
    "mfa and a long duration": (
        f"{DEV}mfa_serial = arn:aws:iam::111111111111:mfa/kim\nduration_seconds = 43200\n",
        BASE,
        {"dev": ["mfa_serial: arn:aws:iam::111111111111:mfa/kim", "config_profile: dev"]},
    ),
    "a source with sessions": (
        f"[profile dev]\nrole_arn = {ROLE}\nsource_profile = corp\n[profile corp]\n"
        "sso_session = corp\nsso_account_id = 111111111111\nsso_role_name = Dev\n"
        "region = eu-west-1\n[sso-session corp]\nsso_region = eu-west-1\n"
        "sso_start_url = https://example.awsapps.com/start\n"
        f"[profile ecs]\nrole_arn = {ROLE}\ncredential_source = EcsContainer\n",
        "",
        {"dev": ["source_profile: corp"], "ecs": ["credential_source: EcsContainer"]},
    ),
    "settings and another partition": (
        f"[default]\nregion = us-west-2\n{DEV}output = text\n[profile cn]\n"
        "role_arn = arn:aws-cn:iam::400000000001:role/Ops\nsource_profile = base\n"
        "region = cn-northwest-1\n",
        BASE,
        {"dev": ["config_profile: dev"], "cn": ["config_profile: cn"]},
    ),
    "endpoints": (
        f"{DEV}use_fips_endpoint = true\nservices = corp\nca_bundle = /etc/ssl/corp.pem\n"
        "[services corp]\nsts =\n  endpoint_url = https://vpce.example.com\n",
        BASE,
        {"dev": [f"role_arn: {ROLE}", "source_profile: base"]},
    ),
    "keys of other tools": (
        f"{DEV}session_tags = team=payments\ntransitive_session_tags = team\nmfa_process = ykman\n",
        BASE,
        {"dev": ["source_profile: base"]},
    ),
    "ten years of tools": (
        "# since 2015\n[default]\nregion = eu-west-1\ncli_pager =\ns3 =\n"
        "    max_queue_size = 10\n\n[preview]\ncloudfront = true\n\n; 2015 ------\n"
        f"[profile dev]\nrole_arn={ROLE}\nsource_profile=base\nexternal_id = 7f3a/acme:2019@a=1\n"
        "retry_mode = adaptive\n[profile ci]\nrole_arn = arn:aws:iam::888888888888:role/ci\n"
        "web_identity_token_file = /run/token\nrole_session_name = ci\n[staging]\nrole_arn = x\n",
        f"{BASE}# rotated\n#aws_access_key_id = AKIAOLD\n[minio]\n{KEYS}",
        {
            "dev": ['external_id: "7f3a/acme:2019@a=1"'],
            "ci": ["web_identity_token_file: /run/token", "role_session_name: ci"],
        },
    ),
    "a role in the credentials file": (
        "[profile dev]\nregion = eu-west-1\n",
        f"{BASE}[dev]\nrole_arn = {ROLE}\nsource_profile = base\n",
        {"dev": ["config_profile: dev"]},
    ),
    "a role in one file, its source in the other": (
        f"[profile dev]\nrole_arn = {ROLE}\nregion = eu-west-1\n",
        f"{BASE}[dev]\nsource_profile = base\nmfa_serial = arn:aws:iam::111111111111:mfa/kim\n",
        {"dev": ["mfa_serial: arn:aws:iam::111111111111:mfa/kim"]},
    ),
    "a chain": (
        f"{DEV}{FAR}",
        BASE,
        {"dev": ["source_profile: base"], "far": ["source_profile: dev"]},
    ),
}


@pytest.mark.parametrize("name", HOMES)
@pytest.mark.parametrize("config", [None, OTHER], ids=["no configuration", "a configuration"])
def test_every_role_of_a_home_is_adopted_and_every_byte_comes_back(
    home: Home, name: str, config: str | None
) -> None:
    aws_config, credentials, definitions = HOMES[name]
    home.write(aws_config, credentials, config)
    if config is not None and "[base]" not in credentials:
        home.write(f"{aws_config}[profile base]\n{KEYS}", credentials)
    before = home.contents()
    plan = home.adopt(*definitions)
    assert home.contents() == before
    assert set(plan.profiles) == set(definitions)
    for profile, lines in definitions.items():
        assert set(lines) <= set(definition(plan, profile))
    home.carry_out(plan)
    assert b"the/only/copy" not in home.config.read_bytes()
    home.carry_out(home.release(*definitions))
    assert home.contents() == before


def test_the_diff_shows_the_changed_lines_and_no_others(home: Home) -> None:
    home.write(f"{DEV}{KEYS}")
    config, aws = home.adopt("dev").changes
    assert (config.path, aws.path) == (home.config, home.aws_config)
    assert list(aws.diff()) == [
        f"--- {home.aws_config}",
        f"+++ {home.aws_config}",
        "@@ -2,2 +2,2 @@",
        f"-role_arn = {ROLE}",
        "-source_profile = base",
        f"+# adopted by assumed: role_arn = {ROLE}",
        "+# adopted by assumed: source_profile = base",
    ]
    assert next(iter(config.diff())) == "--- /dev/null"


def test_an_adopted_profile_is_done_and_an_interrupted_adoption_is_not(home: Home) -> None:
    home.write(DEV)
    plan = home.adopt("dev")
    home.config.write_bytes(plan.configuration or b"")
    again = home.adopt("dev")
    assert [change.path for change in again.changes] == [home.aws_config]
    home.carry_out(again)
    home.credentials.write_text(f"{BASE}[dev]\n{MANAGED}")
    assert home.adopt("dev") == AdoptionPlan((), [], plan.configuration)


def test_a_definition_of_the_same_role_stays_as_the_user_wrote_it(home: Home) -> None:
    config = f"profiles:\n  dev:\n    role_arn: {ROLE}\n    source_profile: base\n"
    home.write(DEV, config=config)
    plan = home.adopt("dev")
    assert [change.path for change in plan.changes] == [home.aws_config]
    home.carry_out(plan)
    released = home.release("dev")
    assert [change.path for change in released.changes] == [home.aws_config]


REJECTED: dict[str, tuple[str, str, str | None, type[AssumedError], str]] = {
    "a missing profile": ("", BASE, None, AdoptionRejectedError, "it is in no AWS file"),
    "no role": (
        "[profile dev]\nsso_account_id = 1\nsso_role_name = x\n",
        BASE,
        None,
        AdoptionRejectedError,
        "it has no role_arn: its own keys or login are the source",
    ),
    "no source": (
        f"[profile dev]\nrole_arn = {ROLE}\n",
        BASE,
        None,
        AdoptionRejectedError,
        "profile dev: it has a role_arn, but no source_profile",
    ),
    "itself as the source": (
        f"[profile dev]\nrole_arn = {ROLE}\nsource_profile = dev\n{KEYS}",
        "",
        None,
        AdoptionRejectedError,
        "profile dev has both keys and a role_arn: move the keys",
    ),
    "keys in the credentials file": (
        DEV,
        f"{BASE}[dev]\n{FRESH}",
        None,
        AdoptionRejectedError,
        "credentials:5: it has keys of its own",
    ),
    "another profile with this source": (
        f"{DEV}{FAR}",
        BASE,
        None,
        AdoptionRejectedError,
        "config:7: source_profile of profile far refers to it; adopt both: `assumed adopt dev far`",
    ),
    "another tool's reference": (
        f"{DEV}[profile vault]\ninclude_profile = dev\n",
        BASE,
        None,
        AdoptionRejectedError,
        "config:6: include_profile of profile vault refers to it",
    ),
    "another definition with this source": (
        DEV,
        BASE,
        f"profiles:\n  far:\n    role_arn: {ROLE}\n    source_profile: dev\n",
        AdoptionRejectedError,
        "config.yaml: it is the source_profile of far",
    ),
    "a definition of another role": (
        DEV,
        BASE,
        f"profiles:\n  dev:\n    role_arn: {ROLE}2\n    source_profile: base\n",
        AdoptionRejectedError,
        "its definition has another role_arn than the AWS files",
    ),
    "a disabled definition": (
        DEV,
        BASE,
        f"profiles:\n  dev:\n    role_arn: {ROLE}\n    source_profile: base\n    enabled: false\n",
        AdoptionRejectedError,
        "it is disabled",
    ),
    "sessions in memory": (
        DEV,
        BASE,
        f"defaults:\n  store: memory\n{OTHER}",
        AdoptionRejectedError,
        "it is kept in memory",
    ),
    "a configuration in one line": (
        DEV,
        BASE,
        OTHER.replace("profiles:\n  other:\n    ", "profiles: {other: {")
        .replace("\n    ", ", ")
        .replace("base\n", "base}}\n"),
        ConfigurationError,
        "no definition can be added to this file",
    ),
    "another credentials file": (
        DEV,
        BASE,
        f"credentials_file:\n  path: /elsewhere\n{OTHER}",
        AdoptionRejectedError,
        "assumed writes /elsewhere, and AWS tools read",
    ),
    "a role in both files": (
        DEV,
        f"{BASE}[dev]\nrole_arn = {ROLE}\n",
        None,
        AdoptionRejectedError,
        "profile dev has a role_arn in both AWS files",
    ),
    "a line that the SDKs read differently": (
        f"{DEV}credential_process = vault\n  output = json\n",
        BASE,
        None,
        AdoptionRejectedError,
        "config:6: profile dev: the AWS SDKs interpret this line differently",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_cannot_be_adopted_is_rejected_and_nothing_changes(home: Home, name: str) -> None:
    aws_config, credentials, config, error, message = REJECTED[name]
    home.write(aws_config, credentials, config)
    before = home.contents()
    with pytest.raises(error) as caught:
        home.adopt("dev")
    assert caught.value.message.count("profile dev") <= 1
    assert message in caught.value.message
    assert caught.value.hint
    assert "the/only/copy" not in f"{caught.value.message}{caught.value.hint}"
    assert home.contents() == before


def test_profiles_that_refer_to_each_other_are_adopted_and_released_together(home: Home) -> None:
    home.write(f"{DEV}{FAR}")
    home.carry_out(home.adopt("dev", "far"))
    with pytest.raises(AdoptionRejectedError, match="it is the source_profile of far") as caught:
        home.release("dev")
    assert "`assumed release dev far`" in caught.value.hint
    assert home.release("far", "dev").configuration is None


def test_release_rejects_a_profile_that_is_not_adopted(home: Home) -> None:
    home.write(DEV, config=OTHER)
    with pytest.raises(UsageError, match="profile dev is not adopted"):
        home.release("dev")


def test_release_finds_what_an_interrupted_release_has_left(home: Home) -> None:
    home.write(DEV)
    plan = home.adopt("dev")
    home.config.write_bytes(plan.configuration or b"")
    (change,) = home.release("dev").changes
    assert (change.path, change.after) == (home.config, None)
    home.config.unlink()
    home.credentials.write_text(f"{BASE}[dev]\n{MANAGED}")
    assert home.release("dev") == AdoptionPlan(("dev",), [], None)


def test_the_last_definition_of_a_users_file_is_not_removed(home: Home) -> None:
    home.write(DEV)
    home.carry_out(home.adopt("dev"))
    home.config.write_text(f"# mine\n{home.config.read_text()}")
    with pytest.raises(ConfigurationError, match="dev is the only definition"):
        home.release("dev")


def test_candidates_are_the_roles_that_can_be_adopted_together(home: Home) -> None:
    lost = "[profile lost]\nrole_arn = arn:aws:iam::222222222222:role/x\nsource_profile = gone\n"
    vault = "[profile vault]\ninclude_profile = free\n"
    free = DEV.replace("profile dev", "profile free")
    home.write(f"{DEV}{FAR}{lost}{free}{vault}[profile sso]\nsso_account_id = 1\n")
    names, skipped = Adoption(home.config, home.environ).candidates()
    assert names == ["dev", "far"]
    assert list(skipped) == ["lost", "free"]
    assert home.adopt(*names).profiles == ("dev", "far")


def test_a_source_that_cannot_be_adopted_stays_the_source_of_those_that_can(home: Home) -> None:
    home.write(f"{DEV}credential_process = vault\n  output = json\n{FAR}")
    names, skipped = Adoption(home.config, home.environ).candidates()
    assert (names, list(skipped)) == (["far"], ["dev"])
    assert "source_profile: dev" in definition(home.adopt("far"), "far")
