"""What `init` generates from AWS files of many tools, and what `check` finds in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from assumed.app.init.command import (
    default_path,
    find_problem,
    generate_from_aws_files,
    generate_skeleton,
    missing_blocks,
    write_new_config,
)
from assumed.app.init.config_blocks import write_blocks
from assumed.app.init.draft import Definition
from assumed.app.init.generator import GeneratedConfig, generate_config
from assumed.aws_files.profiles import AwsFiles, read_aws_files
from assumed.aws_files.shadowing import find_clashes
from assumed.cli.output import format_finding
from assumed.config import loader
from assumed.config.schema import ProfileModel
from assumed.config.yaml_loader import YamlDocument
from assumed.errors import ConfigurationNotWrittenError, NoRoleProfilesError, UsageError
from tests.repository import TESTS

EXAMPLES = {path.name: path for path in sorted((TESTS / "init").iterdir())}
# Every key that a role profile of the AWS files may need.
ALL_KEYS = {
    *ProfileModel.model_fields, "credential_source", "mfa_serial", "web_identity_token_file",
}  # fmt: skip
SECRETS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI", "FwoGZXIvYXdz")


class Home:
    """A home directory with the AWS files of an example."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.aws = path / ".aws"

    def copy(self, name: str) -> None:
        for file in ("config", "credentials"):
            if (EXAMPLES[name] / file).exists():
                shutil.copy(EXAMPLES[name] / file, self.aws / file)

    def files(self) -> AwsFiles:
        return read_aws_files(self.aws / "config", self.aws / "credentials")

    def abbreviate(self, text: str) -> str:
        return text.replace(str(self.path), "~")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in list(os.environ):
        if name.startswith(("AWS_", "XDG_", "ASSUMED_")):
            monkeypatch.delenv(name)
    (tmp_path / ".aws").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    return Home(tmp_path)


def generated(
    home: Home, *, supported: set[str] = ALL_KEYS, suffix: str = "-fresh"
) -> GeneratedConfig:
    """Return what a version with these keys generates, whatever keys this version has."""

    def problem(name: str, definitions: dict[str, Definition]) -> str | None:
        of_this_version = {
            each: {key: keys[key] for key in keys if key in ProfileModel.model_fields}
            for each, keys in definitions.items()
        }
        for keys in of_this_version.values():
            if not {"source_profile", "web_identity_token_file", "credential_source"} & {*keys}:
                keys["source_profile"] = "any"
        return find_problem(name, of_this_version)

    return generate_config(
        home.files(),
        suffix=suffix,
        supported=supported,
        find_problem=problem,  # type: ignore[arg-type]
        home=home.path,
    )


def under_original_names(home: Home) -> Iterator[str]:
    """Yield a configuration that ignores the precedence of role_arn over keys."""
    role = "role_arn: arn:aws:iam::111122223333:role/r, source_profile: elsewhere"
    yield "profiles:"
    for name in home.files().profiles:
        yield f"  {json.dumps(name)}: {{{role}}}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_init_generates_the_expected_configuration(home: Home, name: str) -> None:
    home.copy(name)
    text = generated(home).text
    assert text == (EXAMPLES[name] / "expected.yaml").read_text()
    assert not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_check_finds_the_expected_conflicts(home: Home, name: str) -> None:
    home.copy(name)
    text = "\n".join(under_original_names(home))
    path = home.path / "config.yaml"
    configuration = loader.parse(text.encode(), path, user="me", host="here")
    found = find_clashes(home.files(), configuration, {})
    lines = "".join(f"{format_finding(finding)}\n" for finding in found)
    assert home.abbreviate(lines) == (EXAMPLES[name] / "expected.txt").read_text()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_generated_configuration_is_valid_and_has_no_conflicts(home: Home, name: str) -> None:
    home.copy(name)
    text = generate_from_aws_files(os.environ, suffix="-fresh").text
    files = home.files()
    configuration = loader.parse(
        text.encode(),
        home.path / "config.yaml",
        user="me",
        host="here",
        source_exists=files.profiles.__contains__,
    )
    assert not set(configuration.profiles) & {
        name for name, profile in files.profiles.items() if profile.value("role_arn")
    }
    clashes = [found for found in find_clashes(files, configuration, {}) if not found.is_note]
    assert not clashes


@pytest.mark.parametrize("key", ["credential_source", "mfa_serial", "web_identity_token_file"])
def test_a_profile_with_an_unsupported_key_is_skipped_with_the_reason(home: Home, key: str) -> None:
    home.copy({"mfa_serial": "awsume"}.get(key, "web-identity-and-machines"))
    with_it, without = generated(home), generated(home, supported=ALL_KEYS - {key})
    assert with_it.skipped == []
    reasons = {each.profile: each.reason for each in without.skipped}
    assert f"this version of assumed does not support {key}" in reasons.values()
    assert not re.search(f"^ *{key}:", without.text, re.M)
    assert re.search(f"^  #   {key}:", without.text, re.M)
    if key == "web_identity_token_file":
        assert reasons["ci-deploy"] == "its source, profile ci, is skipped too"


def test_generate_from_aws_files_supports_the_keys_of_this_version(home: Home) -> None:
    home.copy("awsume")
    is_supported = "mfa_serial" in ProfileModel.model_fields
    assert (
        "client-a-fresh" in generate_from_aws_files(os.environ, suffix="-fresh").profiles
    ) is is_supported


def test_a_generated_name_is_unique_except_among_managed_profiles(home: Home) -> None:
    home.copy("plain-roles")
    with (home.aws / "credentials").open("a") as file:
        file.write("[admin-fresh]\nmanager = assumed\n[vendor-fresh]\nmanager = me\n")
    assert list(generated(home).profiles) == ["admin-fresh", "vendor-fresh-2"]
    assert list(generated(home, suffix=".live").profiles) == ["admin.live", "vendor.live"]
    assert "admin-fresh" not in generated(home).text.partition("Profiles without a role_arn")[2]


@pytest.mark.parametrize("suffix", ["", "]", "\n", " x"])
def test_a_suffix_that_makes_an_invalid_name_is_rejected(home: Home, suffix: str) -> None:
    home.copy("plain-roles")
    with pytest.raises(UsageError):
        generate_from_aws_files(os.environ, suffix=suffix)


def test_without_a_usable_role_profile_the_error_has_every_reason(home: Home) -> None:
    with pytest.raises(NoRoleProfilesError, match="no role profile"):
        generate_from_aws_files(os.environ, suffix="-fresh")
    (home.aws / "config").write_text("[profile a]\nrole_arn = nonsense\nsource_profile = a\n")
    with pytest.raises(NoRoleProfilesError, match=r"config:1: profile a: its role chain is a loop"):
        generate_from_aws_files(os.environ, suffix="-fresh")


def test_without_a_role_profile_the_hint_has_a_valid_configuration(home: Home) -> None:
    with pytest.raises(NoRoleProfilesError) as raised:
        generate_from_aws_files(os.environ, suffix="-fresh")
    _, _, example = raised.value.hint.partition("an example:\n")
    configuration = loader.parse(example.encode(), Path("config.yaml"), user="me", host="here")
    assert list(configuration.profiles) == ["my-profile"]


@pytest.mark.parametrize("line_end", ["\x85", "\u2028", "\u2029", "\x0c", "\x1b"])
def test_a_profile_name_cannot_inject_a_key(home: Home, line_end: str) -> None:
    lender = f"base{line_end}    mfa_process: touch /tmp/run"
    (home.aws / "config").write_text(
        f'[profile "{lender}"]\nsource_profile = keys\n'
        "[profile victim]\nrole_arn = arn:aws:iam::123456789012:role/x\n"
        f"include_profile = {lender}\n"
        "[profile keys]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = no\n"
    )
    document = YamlDocument(generate_from_aws_files({}, suffix="-fresh").text)
    assert document.problems == []
    assert document.value == {
        "profiles": {
            "victim-fresh": {
                "role_arn": "arn:aws:iam::123456789012:role/x",
                "source_profile": "keys",
                "config_profile": "victim",
            }
        }
    }


def test_write_new_config_creates_a_private_file_and_overwrites_none(home: Home) -> None:
    path = home.path / "a" / "b" / "config.yaml"
    assert write_new_config(path, "text") is None
    assert path.read_text() == "text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(directory.stat().st_mode) for directory in path.parents[:2]] == [0o700] * 2
    link = path.with_name("link")
    link.symlink_to(home.path / "nowhere")
    for taken in (path, link):
        with pytest.raises(UsageError, match="already exists; `init` does not overwrite it"):
            write_new_config(taken, "other")
    assert path.read_text() == "text"
    assert not (home.path / "nowhere").exists()
    with pytest.raises(ConfigurationNotWrittenError, match="Not a directory"):
        write_new_config(path / "config.yaml", "other")


def test_write_new_config_returns_why_the_file_would_be_rejected(home: Home) -> None:
    shared = home.path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    reason = write_new_config(shared / "config.yaml", "text")
    expected = f"its directory {shared} is writable by its group: `chmod go-w {shared}`"
    assert reason == expected


def test_default_path_is_the_first_path_of_the_loader(home: Home) -> None:
    default = home.path / ".config" / "assumed" / "config.yaml"
    assert default_path(None, {}) == default
    assert default_path(None, {"XDG_CONFIG_HOME": "relative", "ASSUMED_CONFIG": ""}) == default
    assert default_path(None, {"XDG_CONFIG_HOME": "/x"}) == Path("/x/assumed/config.yaml")
    assert default_path(None, {"ASSUMED_CONFIG": "/y.yaml"}) == Path("/y.yaml")
    assert default_path(Path("/z.yaml"), {"ASSUMED_CONFIG": "/y.yaml"}) == Path("/z.yaml")
    write_new_config(default, "")
    assert loader.find(None, {}) == default


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        ("sso_session = gone\nsso_account_id = 1\nsso_role_name = r\n", "no [sso-session gone]"),
        ("sso_session = corp\nsso_account_id = 1\n", "its SSO login has no sso_role_name"),
        (
            "sso_start_url = https://x\nsso_account_id = 1\nsso_role_name = r\n",
            "its SSO login has no sso_region",
        ),
        (
            "sso_session = corp\nsso_start_url = https://y\nsso_role_name = r\n",
            "its sso_start_url contradicts that of [sso-session corp]",
        ),
    ],
)
@pytest.mark.parametrize("is_source", [True, False], ids=["source", "alone"])
def test_a_login_that_no_tool_can_use_is_skipped_with_the_reason(
    home: Home, profile: str, reason: str, is_source: bool
) -> None:
    role = "role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = people\n"
    (home.aws / "config").write_text(
        f"[profile people]\n{profile}"
        "[sso-session corp]\nsso_start_url = https://x\nsso_region = us-east-1\n"
        + (f"[profile deploy]\n{role}" if is_source else "")
    )
    (skipped,) = generated(home).skipped
    assert reason in skipped.reason
    assert skipped.profile == ("deploy" if is_source else "people")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("region = eu-west-1\n", "it has no credentials"),
        ("aws_access_key_id = AKIAEXAMPLE\n", "only one of aws_access_key_id and aws_secret"),
        ("aws_secret_access_key = no\n", "only one of aws_access_key_id and aws_secret"),
        ("web_identity_token_file = /run/token\n", "a token file requires a role_arn"),
    ],
)
def test_a_source_in_which_no_tool_finds_credentials_is_skipped_with_the_reason(
    home: Home, source: str, reason: str
) -> None:
    (home.aws / "config").write_text(
        "[profile deploy]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = people\n"
        f"[profile people]\n{source}"
    )
    (skipped,) = generated(home).skipped
    assert skipped.reason.startswith("its source, profile people: ")
    assert reason in skipped.reason


def test_half_a_key_pair_in_the_credentials_file_is_not_completed_from_the_config_file(
    home: Home,
) -> None:
    (home.aws / "config").write_text(
        "[profile deploy]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = people\n"
        "[profile people]\naws_secret_access_key = no\n"
    )
    (home.aws / "credentials").write_text("[people]\naws_access_key_id = AKIAEXAMPLE\n")
    assert "it has only one of" in generated(home).skipped[0].reason


def test_init_run_twice_proposes_the_same_names_and_no_section_twice(home: Home) -> None:
    home.copy("plain-roles")
    first = generate_from_aws_files(os.environ, suffix="-fresh")
    blocks = missing_blocks(os.environ, first.profiles)
    assert blocks == {"profile admin-fresh": {"region": "eu-central-1"}}
    write_blocks(blocks, os.environ)
    again = generate_from_aws_files(os.environ, suffix="-fresh")
    assert again.text == first.text
    assert missing_blocks(os.environ, again.profiles) == {}
    # A profile that the user has changed is the user's.
    path = home.aws / "config"
    path.write_text(path.read_text().replace("[profile admin-fresh]", "[profile admin-fresh]\nx=y"))
    assert "admin-fresh-2" in generate_from_aws_files(os.environ, suffix="-fresh").profiles


def test_sections_are_written_under_the_write_lock_and_the_original_is_kept(home: Home) -> None:
    path = home.aws / "config"
    path.write_text("[default]\nregion = eu-west-1\n")
    path.chmod(0o644)
    written = write_blocks({"profile x": {"region": "eu-west-3"}}, os.environ)
    assert written == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    original = path.with_name("config.assumed-original")
    assert original.read_text() == "[default]\nregion = eu-west-1\n"
    assert stat.S_IMODE(original.stat().st_mode) == 0o600
    path.unlink()
    write_blocks({"profile x": {"region": "eu-west-3"}}, os.environ)
    assert path.read_text() == "[profile x]\nregion = eu-west-3\n"
    with pytest.raises(UsageError, match="AWS_CONFIG_FILE is empty"):
        write_blocks({"profile x": {"region": "eu-west-3"}}, {"AWS_CONFIG_FILE": ""})


def test_the_skeleton_becomes_a_valid_configuration(home: Home) -> None:
    (home.aws / "credentials").write_text(
        "[own keys]\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    text = generate_skeleton(os.environ)
    assert not any(secret in text for secret in SECRETS)
    problem = YamlDocument(text).value
    assert problem == {"profiles": None}
    active = re.sub(r"^  # ", "  ", text, flags=re.M)
    definition = loader.parse(
        active.encode(), Path("c"), user="me", host="here", source_exists="own keys".__eq__
    ).profiles["my-profile"]
    assert str(definition.source) == "profile own keys with MFA"
