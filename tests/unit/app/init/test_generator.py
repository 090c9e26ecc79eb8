"""AWS files as people have them: what `init` makes of them, and what `check` finds in them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from assumed.app.init.command import find_mistake, first_place, proposal, write_new
from assumed.app.init.generator import Definition, GeneratedConfig, propose
from assumed.app.init.yaml_writer import comment, scalar
from assumed.aws_files.profiles import AwsFiles, read_aws_files
from assumed.aws_files.sdk_precedence import CredentialKind, used_by_botocore
from assumed.aws_files.shadowing import find_clashes
from assumed.cli.output import finding_lines
from assumed.config import loader
from assumed.config.schema import ProfileModel
from assumed.config.yaml_loader import YamlDocument
from assumed.errors import ConfigurationNotWrittenError, NoRoleProfilesError, UsageError
from tests.repository import TESTS
from tests.unit.aws_files.test_shadowing import resolve_with_botocore

FOLDERS = {path.name: path for path in sorted((TESTS / "init").iterdir())}
# Every key that a role profile of the AWS files may need.
ALL_KEYS = {
    *ProfileModel.model_fields, "credential_source", "mfa_serial", "web_identity_token_file",
}  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
SECRETS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI", "FwoGZXIvYXdz")


class Home:
    """Somebody's home with the AWS files of one of the folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.aws = path / ".aws"
        self.programs = path / "bin"

    def take(self, name: str) -> None:
        for file in ("config", "credentials"):
            if (FOLDERS[name] / file).exists():
                shutil.copy(FOLDERS[name] / file, self.aws / file)

    def files(self) -> AwsFiles:
        return read_aws_files(self.aws / "config", self.aws / "credentials")

    def shortened(self, text: str) -> str:
        return text.replace(str(self.path), "~")

    def install(self, program: str) -> None:
        """Let a program of a `credential_process` be there."""
        file = self.programs / program
        keys = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}
        file.write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
        file.chmod(0o700)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in list(os.environ):
        if name.startswith(("AWS_", "XDG_", "ASSUMED_")):
            monkeypatch.delenv(name)
    for folder in (".aws", "bin"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Home(tmp_path)


def proposed(home: Home, *, known: set[str] = ALL_KEYS, suffix: str = "-fresh") -> GeneratedConfig:
    """Return what is proposed by a version that has the keys `known`, whichever this one has."""

    def mistake(name: str, definitions: dict[str, Definition]) -> str | None:
        supported = {
            each: {key: keys[key] for key in keys if key in ProfileModel.model_fields}
            for each, keys in definitions.items()
        }
        for keys in supported.values():
            if not {"source_profile", "web_identity_token_file", "credential_source"} & {*keys}:
                keys["source_profile"] = "any"
        return find_mistake(name, supported)

    return propose(
        home.files(),
        suffix=suffix,
        known=known,
        find_mistake=mistake,  # type: ignore[arg-type]
        home=home.path,
    )


def under_their_own_names(home: Home) -> Iterator[str]:
    """The configuration of somebody who does not know what comes before what."""
    role = "role_arn: arn:aws:iam::111122223333:role/r, source_profile: elsewhere"
    yield "profiles:"
    for name in home.files().profiles:
        yield f"  {json.dumps(name)}: {{{role}}}"


@pytest.mark.parametrize("name", FOLDERS)
def test_init_proposes_what_is_expected(home: Home, name: str) -> None:
    home.take(name)
    text = proposed(home).text
    assert text == (FOLDERS[name] / "expected.yaml").read_text()
    assert not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize("name", FOLDERS)
def test_check_finds_what_is_expected(home: Home, name: str) -> None:
    home.take(name)
    text = "\n".join(under_their_own_names(home))
    path = home.path / "config.yaml"
    configuration = loader.parse(text.encode(), path, user="me", host="here")
    found = find_clashes(home.files(), configuration, {})
    lines = "".join(f"{finding_lines(finding)}\n" for finding in found)
    assert home.shortened(lines) == (FOLDERS[name] / "expected.txt").read_text()


@pytest.mark.parametrize("name", FOLDERS)
def test_what_init_proposes_is_valid_and_clashes_with_nothing(home: Home, name: str) -> None:
    home.take(name)
    text = proposal(os.environ, suffix="-fresh").text
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


@pytest.mark.parametrize("name", FOLDERS)
def test_what_check_says_boto3_uses_is_what_botocore_uses(home: Home, name: str) -> None:
    home.take(name)
    files = home.files()
    for profile in files.profiles.values():
        if (process := profile.value("credential_process")) is not None:
            home.install(shlex.split(process)[0])
    misplaced = [f"profile {each}" for each in files.misplaced]
    assert {*files.profiles, *misplaced} == {*Session().full_config["profiles"]}
    for profile in files.profiles.values():
        said, found = used_by_botocore(profile).kind, resolve_with_botocore(profile.name)
        # A role whose source can't be had is a role that botocore would have taken.
        assert found is said or (found is CredentialKind.BROKEN and said is CredentialKind.ROLE), (
            profile.name
        )


@pytest.mark.parametrize("key", ["credential_source", "mfa_serial", "web_identity_token_file"])
def test_what_this_version_does_not_support_is_left_out_and_says_so(home: Home, key: str) -> None:
    home.take({"mfa_serial": "awsume"}.get(key, "web-identity-and-machines"))
    with_it, without = proposed(home), proposed(home, known=ALL_KEYS - {key})
    assert with_it.left_out == []
    reasons = {each.profile: each.reason for each in without.left_out}
    assert f"this version of assumed does not support {key} yet" in reasons.values()
    assert not re.search(f"^ *{key}:", without.text, re.M)
    assert re.search(f"^  #   {key}:", without.text, re.M)
    if key == "web_identity_token_file":
        assert reasons["ci-deploy"] == "its source, profile ci, is left out too"


def test_the_very_keys_of_this_version_are_used(home: Home) -> None:
    home.take("awsume")
    known = "mfa_serial" in ProfileModel.model_fields
    assert ("client-a-fresh" in proposal(os.environ, suffix="-fresh").profiles) is known


def test_a_name_is_free_and_what_was_kept_fresh_before_is_no_other_profile(home: Home) -> None:
    home.take("plain-roles")
    with (home.aws / "credentials").open("a") as file:
        file.write("[admin-fresh]\nmanager = assumed\n[vendor-fresh]\nmanager = me\n")
    assert list(proposed(home).profiles) == ["admin-fresh", "vendor-fresh-2"]
    assert list(proposed(home, suffix=".live").profiles) == ["admin.live", "vendor.live"]
    assert "admin-fresh" not in proposed(home).text.partition("Left as they are")[2]


@pytest.mark.parametrize("suffix", ["", "]", "\n", " x"])
def test_a_suffix_that_makes_no_name_is_refused(home: Home, suffix: str) -> None:
    home.take("plain-roles")
    with pytest.raises(UsageError):
        proposal(os.environ, suffix=suffix)


def test_where_there_is_nothing_to_propose_each_reason_is_told(home: Home) -> None:
    with pytest.raises(NoRoleProfilesError, match="no role profile"):
        proposal(os.environ, suffix="-fresh")
    (home.aws / "config").write_text("[profile a]\nrole_arn = nonsense\nsource_profile = a\n")
    with pytest.raises(NoRoleProfilesError, match=r"config:1: profile a: a chain that loops"):
        proposal(os.environ, suffix="-fresh")


@given(value=ANY_TEXT)
def test_any_value_stays_a_value(value: str) -> None:
    document = YamlDocument(f"profiles:\n  {scalar(value)}:\n    a: {scalar(value)}\n")
    assert document.problems == []
    assert document.value == {"profiles": {value: {"a": value}}}


@given(text=ANY_TEXT)
def test_any_comment_stays_acomment(text: str) -> None:
    lines = "\n".join(comment(f"Profile {text}", indent="  "))
    assert YamlDocument(f"{lines}\nprofiles: {{}}\n").value == {"profiles": {}}


@pytest.mark.parametrize("line_end", ["\x85", "\u2028", "\u2029", "\x0c", "\x1b"])
def test_the_name_of_an_aws_profile_brings_no_key_along(home: Home, line_end: str) -> None:
    lender = f"base{line_end}    mfa_process: touch /tmp/run"
    (home.aws / "config").write_text(
        f'[profile "{lender}"]\nsource_profile = keys\n'
        "[profile victim]\nrole_arn = arn:aws:iam::123456789012:role/x\n"
        f"include_profile = {lender}\n"
        "[profile keys]\nregion = eu-west-1\n"
    )
    document = YamlDocument(proposal({}, suffix="-fresh").text)
    assert document.problems == []
    assert document.value == {
        "profiles": {
            "victim-fresh": {
                "role_arn": "arn:aws:iam::123456789012:role/x",
                "source_profile": "keys",
            }
        }
    }


def test_a_new_file_is_this_users_alone_and_no_other_is_touched(home: Home) -> None:
    path = home.path / "a" / "b" / "config.yaml"
    assert write_new(path, "text") is None
    assert path.read_text() == "text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in path.parents[:2]] == [0o700] * 2
    link = path.with_name("link")
    link.symlink_to(home.path / "nowhere")
    for taken in (path, link):
        with pytest.raises(UsageError, match="is there already, and is never overwritten"):
            write_new(taken, "other")
    assert path.read_text() == "text"
    assert not (home.path / "nowhere").exists()
    with pytest.raises(ConfigurationNotWrittenError, match="Not a directory"):
        write_new(path / "config.yaml", "other")


def test_a_place_where_it_would_not_be_read_is_told(home: Home) -> None:
    open_to_all = home.path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    reason = write_new(open_to_all / "config.yaml", "text")
    expected = f"its directory {open_to_all} is writable by everyone: `chmod go-w {open_to_all}`"
    assert reason == expected


def test_it_is_written_where_a_configuration_is_looked_for_first(home: Home) -> None:
    usual = home.path / ".config" / "assumed" / "config.yaml"
    assert first_place(None, {}) == usual
    assert first_place(None, {"XDG_CONFIG_HOME": "relative", "ASSUMED_CONFIG": ""}) == usual
    assert first_place(None, {"XDG_CONFIG_HOME": "/x"}) == Path("/x/assumed/config.yaml")
    assert first_place(None, {"ASSUMED_CONFIG": "/y.yaml"}) == Path("/y.yaml")
    assert first_place(Path("/z.yaml"), {"ASSUMED_CONFIG": "/y.yaml"}) == Path("/z.yaml")
    write_new(usual, "")
    assert loader.find(None, {}) == usual
