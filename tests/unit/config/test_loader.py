from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from assumed.config import loader
from assumed.config.definitions import default_session_name
from assumed.config.json_schema import json_schema
from assumed.config.schema import (
    SOURCE_KEYS,
    ConfigurationModel,
    CredentialsFileModel,
    HooksModel,
    MetricsModel,
    ProfileModel,
)
from assumed.errors import ConfigurationError, InvalidConfigurationError
from assumed.models import (
    Configuration,
    LifetimeFraction,
    ManagedProfile,
    ProfileDefinition,
    SourceProfile,
    WriteMode,
)
from tests.repository import REPOSITORY
from tests.unit.test_path_trust import USER, set_acl

ROLE = "arn:aws:iam::111122223333:role/deploy"
DEPLOY = f"""\
profiles:
  deploy:
    role_arn: {ROLE}
    source_profile: keys
"""
CONFIG = Path("config.yaml")


def parse(text: str | bytes) -> Configuration:
    data = text if isinstance(text, bytes) else text.encode()
    return loader.parse(
        data, CONFIG, user="me", host="here.example.com", source_exists={"keys"}.__contains__
    )


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(InvalidConfigurationError) as caught:
        parse(text)
    assert caught.value.exit_status == 78
    return caught.value.problems


def deploy(*lines: str) -> ProfileDefinition:
    text = DEPLOY + "".join(f"    {line}\n" for line in lines)
    return parse(text).profiles["deploy"]


def invalid_configurations() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    table = (Path(__file__).parent / "problems.txt").read_text()
    for case in table.split("\n=== ")[1:]:
        name, _, body = case.partition("\n")
        lines = body.splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("=> "))
        expected = [line[3:].rstrip("\n") for line in lines if line.startswith("=> ")]
        yield name, text.removesuffix("\n") + "\n", tuple(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [pytest.param(text, expected, id=name) for name, text, expected in invalid_configurations()],
)
def test_parse_reports_each_problem_with_its_line_and_a_fix(
    text: str, expected: tuple[str, ...]
) -> None:
    assert problems(text) == expected


def test_the_table_of_invalid_configurations_is_read() -> None:
    assert len(list(invalid_configurations())) >= 80


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "config.yaml:1: the file is empty"),
        ("profiles:\n  de\aploy: 1\n", "config.yaml:2: YAML does not allow this character"),
        (b"profiles:\n  d\xe9ploy: 1\n", "config.yaml:2: not UTF-8: save the file as UTF-8"),
        (
            f"{DEPLOY}    policy: {{Statement: {'x' * 2100}}}\n",
            "config.yaml:5: profiles.deploy.policy: too long: it has 2116 characters, and STS "
            "accepts 2048",
        ),
        (
            f"{DEPLOY}    tags: {{team: {'x' * 257}}}\n",
            "config.yaml:5: profiles.deploy.tags.team: too long: it has 257 characters, and STS "
            "accepts 256",
        ),
        (
            f"{DEPLOY}    tags: {{{', '.join(f't{number}: x' for number in range(51))}}}\n",
            "config.yaml:5: profiles.deploy.tags: too many: STS accepts 50",
        ),
        ("[" * 100_000, "config.yaml:1: too many nested brackets"),
    ],
)
def test_parse_reports_what_the_table_cannot_hold(text: str | bytes, expected: str) -> None:
    assert problems(text) == (expected,)


def test_nested_aliases_are_limited() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        levels.append(f"a{level}: &a{level} [{aliases}]")
    assert any("more than 200,000 values" in problem for problem in problems("\n".join(levels)))


def test_parse_reports_all_problems_in_the_order_of_the_file() -> None:
    found = problems(
        f"defaults:\n  duration: 3600\nprofiles:\n  a:\n    role_arn: {ROLE}\n"
        "    source_profile: nowhere\n    policy_arns: [one]\n  b:\n    role-arn: x\n"
        "    source_profile: b\n"
    )
    assert [problem.split(": ")[:2] for problem in found] == [
        ["config.yaml:2", "defaults.duration"],
        ["config.yaml:6", "profiles.a.source_profile"],
        ["config.yaml:7", "profiles.a.policy_arns.0"],
        ["config.yaml:9", "profiles.b.role-arn"],
        ["config.yaml:10", "profiles.b.source_profile"],
    ]


def test_no_message_repeats_a_secret_of_the_file() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    for key in (*ProfileModel.model_fields, "aws_secret_access_key", "zzz"):
        text = f"{DEPLOY}    {key}: {secret}\n"
        try:
            parse(text)
        except ConfigurationError as error:
            assert secret not in str(error)
    assert secret not in str(problems(f"profiles: {{{secret}: 1}}\n"))
    assert secret not in str(problems(f"profiles:\n  deploy: {{ {secret}\n"))


def test_parse_returns_the_definitions_of_a_typical_file() -> None:
    configuration = parse(
        """\
defaults:
  source_profile: keys
  region: eu-west-1
  duration_seconds: 3600
  refresh_before: 15m
profiles:
  s3-read-only:
    role_arn: arn:aws:iam::641879703613:role/s3-read-only-assume-role
  deploy:
    role_arn: arn:aws:iam::222222222222:role/deploy
    source_profile: s3-read-only
    external_id: abc
    tags: {team: build}
"""
    )
    assert configuration.path == CONFIG
    assert configuration.credentials_file is None
    assert configuration.write is WriteMode.REPLACE
    assert list(configuration.profiles) == ["s3-read-only", "deploy"]
    assert configuration.profiles["s3-read-only"] == ProfileDefinition(
        profile="s3-read-only",
        role_arn="arn:aws:iam::641879703613:role/s3-read-only-assume-role",
        source=SourceProfile("keys"),
        role_session_name="assumed-me@here",
        config_profiles=("s3-read-only", "keys"),
        region="eu-west-1",
        refresh_before=timedelta(minutes=15),
    )
    deploy = configuration.profiles["deploy"]
    assert deploy.source == ManagedProfile("s3-read-only")
    assert deploy.external_id == "abc"
    assert dict(deploy.tags) == {"team": "build"}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("900", 900), ("900s", 900), ("15m", 900), ("1h", 3600), ("1h30m", 5400), ("12h", 43200)],
)
def test_duration_seconds_accepts_seconds_and_units(written: str, seconds: int) -> None:
    assert deploy(f"duration_seconds: {written}").duration_seconds == seconds


def test_refresh_before_accepts_a_duration_or_a_percentage() -> None:
    assert deploy().refresh_before == LifetimeFraction(0.4)
    assert deploy("refresh_before: 20m").refresh_before == timedelta(minutes=20)
    assert deploy("refresh_before: 50%").refresh_before == LifetimeFraction(0.5)


def test_numbers_booleans_and_dates_stay_text() -> None:
    definition = deploy("external_id: 0123", "tags: {no: 007, date: 2026-11-24}")
    assert definition.external_id == "0123"
    assert dict(definition.tags) == {"no": "007", "date": "2026-11-24"}
    assert list(parse(DEPLOY.replace("deploy:", "no:", 1)).profiles) == ["no"]


def test_policy_accepts_a_mapping_or_json_and_is_compacted() -> None:
    packed = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*"}]}'
    mapping = "{Version: 2012-10-17, Statement: [{Effect: Allow, Action: 's3:Get*'}]}"
    assert deploy(f"policy: {mapping}").policy == packed
    assert deploy(f"policy: '{packed}'").policy == packed


def test_a_profile_overrides_the_defaults_key_by_key() -> None:
    configuration = parse(
        "defaults:\n  source_profile: keys\n  tags: {a: b}\n  enabled: false\n"
        "  region: eu-west-1\n"
        f"profiles:\n  one:\n    role_arn: {ROLE}\n  two:\n    role_arn: {ROLE}\n"
        "    enabled: true\n    tags: {}\n"
    )
    one, two = configuration.profiles.values()
    assert (one.enabled, dict(one.tags), one.region) == (False, {"a": "b"}, "eu-west-1")
    assert (two.enabled, dict(two.tags), two.region) == (True, {}, "eu-west-1")


def test_yaml_anchors_and_merges_work() -> None:
    configuration = parse(
        f"profiles:\n  one: &one\n    role_arn: {ROLE}\n    source_profile: keys\n"
        "  two:\n    <<: *one\n    region: eu-west-1\n"
    )
    assert configuration.profiles["two"].role_arn == ROLE
    assert configuration.profiles["two"].region == "eu-west-1"


def test_hooks_are_lists_with_the_home_directory_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    text = "hooks:\n  on_refresh: [~/bin/notify, '~', 1]\n  on_failure: [notify-send, 'a b']\n"
    assert parse(DEPLOY + text).hooks == {
        "on_refresh": ("/home/jane/bin/notify", "~", "1"),
        "on_failure": ("notify-send", "a b"),
    }
    assert parse(DEPLOY).hooks == {}


def test_metrics_are_off_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    configuration = parse(f"{DEPLOY}metrics: {{port: 9464, textfile: '~/{{user}}.prom'}}\n")
    assert configuration.metrics_port == 9464
    assert configuration.metrics_textfile == Path("/home/jane/me.prom")
    silent = parse(DEPLOY)
    assert (silent.metrics_port, silent.metrics_textfile) == (None, None)


def test_credentials_file_sets_path_and_write_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    configuration = parse(f"{DEPLOY}credentials_file:\n  path: ~/creds\n  write: in-place\n")
    assert configuration.credentials_file == Path("/home/me/creds")
    assert configuration.write is WriteMode.IN_PLACE


@pytest.mark.parametrize(
    ("user", "host", "expected"),
    [
        ("me", "here.example.com", "assumed-me@here"),
        ("EXAMPLE\\jürgen", "a b", "assumed-EXAMPLE-j-rgen@a-b"),
        ("u" * 100, "here", f"assumed-{'u' * 56}"),
    ],
)
def test_default_session_name_is_valid_for_sts(user: str, host: str, expected: str) -> None:
    assert default_session_name(user, host) == expected
    assert re.fullmatch(r"[\w+=,.@-]{2,64}", expected)


def test_the_schema_in_config_is_up_to_date() -> None:
    on_disk = (REPOSITORY / "config" / "assumed.schema.json").read_text()
    command = "python -m assumed.config.json_schema > config/assumed.schema.json"
    assert on_disk == json_schema(), f"run `{command}`"


def test_the_schema_describes_every_key() -> None:
    for shape in (
        ConfigurationModel,
        ProfileModel,
        CredentialsFileModel,
        HooksModel,
        MetricsModel,
    ):
        for key, entry in shape.model_fields.items():
            assert f'"{key}": {{' in json_schema()
            assert entry.description or key in {"credentials_file", "hooks", "metrics"}


def test_every_key_of_a_profile_reaches_its_definition() -> None:
    of_the_source = {*SOURCE_KEYS, "mfa_serial", "mfa_session", "mfa_process"}
    copied = {field.name for field in dataclasses.fields(ProfileDefinition)} - {"profile", "source"}
    # One name becomes those that its sources would give it otherwise.
    copied = {name.replace("config_profiles", "config_profile") for name in copied}
    assert copied == ProfileModel.model_fields.keys() - of_the_source


class TestFilePermissions:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        directory = tmp_path / "assumed"
        directory.mkdir(mode=0o700)
        file = directory / "config.yaml"
        file.write_text(DEPLOY)
        file.chmod(0o644)
        return file

    def error(self, file: Path) -> str:
        with pytest.raises(ConfigurationError) as caught:
            loader.load(file, user="me", host="here")
        return str(caught.value)

    def test_a_file_that_only_its_owner_can_write_is_read(self, file: Path) -> None:
        assert list(loader.load(file, user="me", host="here").profiles) == ["deploy"]

    @pytest.mark.parametrize(("mode", "who"), [(0o664, "its group"), (0o646, "everyone")])
    def test_a_file_that_others_can_write_is_rejected(
        self, file: Path, mode: int, who: str
    ) -> None:
        file.chmod(mode)
        expected = f"{file}: the file is writable by {who}: `chmod go-w {file}`"
        assert self.error(file) == expected

    def test_a_directory_that_others_can_write_is_rejected(self, file: Path) -> None:
        file.parent.chmod(0o775)
        expected = (
            f"its directory {file.parent} is writable by its group: `chmod go-w {file.parent}`"
        )
        assert self.error(file) == f"{file}: {expected}"

    def test_the_directory_of_a_link_target_is_checked(self, file: Path, tmp_path: Path) -> None:
        file.parent.chmod(0o777)
        link = tmp_path / "link.yaml"
        link.symlink_to(file)
        assert f"{file.parent} is writable by everyone" in self.error(link)

    def test_a_parent_directory_that_everyone_can_write_is_rejected_unless_sticky(
        self, file: Path, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o777)
        assert f"its parent directory {tmp_path} is writable by everyone" in self.error(file)
        tmp_path.chmod(0o1777)
        assert loader.load(file, user="me", host="here").profiles
        # On Debian the directories of a user are writable by the user's own group.
        tmp_path.chmod(0o775)
        assert loader.load(file, user="me", host="here").profiles

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a directory")
    def test_a_parent_directory_of_another_user_is_rejected(
        self, file: Path, tmp_path: Path
    ) -> None:
        os.chown(tmp_path, 12345, -1)
        assert f"its parent directory {tmp_path} belongs to another user" in self.error(file)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a file")
    def test_a_file_of_another_user_is_rejected(self, file: Path) -> None:
        os.chown(file, 12345, -1)
        expected = f"{file}: the file belongs to another user (uid 12345): `chown 0 {file}`"
        assert self.error(file) == expected

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a link")
    def test_a_link_of_another_user_is_rejected_anywhere_in_a_chain(
        self, file: Path, tmp_path: Path
    ) -> None:
        theirs, own = tmp_path / "theirs", tmp_path / "own.yaml"
        theirs.symlink_to(file.parent)
        own.symlink_to(theirs / "config.yaml")
        assert loader.load(own, user="me", host="here").profiles
        os.chown(theirs, 12345, -1, follow_symlinks=False)
        expected = (
            f"the symbolic link {theirs} belongs to another user (uid 12345): `chown -h 0 {theirs}`"
        )
        assert self.error(own) == f"{own}: {expected}"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a directory")
    def test_a_link_chain_through_the_directory_of_another_user_is_rejected(
        self, file: Path, tmp_path: Path
    ) -> None:
        theirs, own = tmp_path / "theirs", tmp_path / "own.yaml"
        theirs.mkdir()
        (theirs / "link.yaml").symlink_to(file)
        own.symlink_to(theirs / "link.yaml")
        assert loader.load(own, user="me", host="here").profiles
        os.chown(theirs, 12345, -1)
        assert f"its parent directory {theirs} belongs to another user" in self.error(own)

    def test_a_parent_directory_that_an_access_list_opens_is_rejected(
        self, file: Path, tmp_path: Path
    ) -> None:
        set_acl(tmp_path, USER, 12345, 7)
        expected = f"its parent directory {tmp_path} is writable by uid 12345 (ACL): "
        assert self.error(file) == f"{file}: {expected}`setfacl -b {tmp_path}`"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to any group")
    def test_a_parent_directory_that_a_group_with_others_can_write_is_rejected(
        self, file: Path, tmp_path: Path
    ) -> None:
        os.chown(tmp_path, -1, 12345)
        tmp_path.chmod(0o775)
        expected = f"its parent directory {tmp_path} is writable by its group: `chmod g-w"
        assert self.error(file) == f"{file}: {expected} {tmp_path}`"

    def test_a_missing_file_a_directory_and_a_fifo_are_distinguished(self, file: Path) -> None:
        assert "cannot be read: No such file or directory" in self.error(file.parent / "other.yaml")
        assert self.error(file.parent) == f"{file.parent}: a directory"
        fifo = file.parent / "fifo"
        os.mkfifo(fifo)
        assert self.error(fifo) == f"{fifo}: not a regular file"

    def test_hints_name_the_file_that_was_probably_meant(self, file: Path) -> None:
        with pytest.raises(ConfigurationError) as of_directory:
            loader.load(file.parent, user="me", host="here")
        assert of_directory.value.hint == f"name a file, such as `--config {file}`"
        with pytest.raises(ConfigurationError) as of_suffix:
            loader.load(file.with_suffix(".yml"), user="me", host="here")
        assert of_suffix.value.hint == f"did you mean {file}?"


def test_a_source_that_is_misspelled_gets_a_proposal() -> None:
    text = "profiles: {one: {role_arn: 'arn:aws:iam::111122223333:role/r', source_profile: deflt}}"
    with pytest.raises(ConfigurationError) as raised:
        loader.parse(
            text.encode(),
            Path("config.yaml"),
            user="me",
            host="here",
            source_exists={"default", "other"}.__contains__,
            source_names={"default", "other"},
        )
    assert raised.value.problems[0].endswith(
        "did you mean default? Or add it with `aws configure --profile deflt`"
    )


class TestFind:
    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        return tmp_path

    def put(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DEPLOY)
        return path

    def test_the_option_overrides_the_variable_and_both_override_the_default_paths(
        self, home: Path
    ) -> None:
        own = self.put(home / ".config/assumed/config.yaml")
        assert loader.find(None, {}) == own
        named = {"ASSUMED_CONFIG": "/named.yaml"}
        assert loader.find(None, named) == Path("/named.yaml")
        assert loader.find(Path("/option.yaml"), named) == Path("/option.yaml")

    def test_xdg_config_home_is_ignored_if_it_is_relative(self, home: Path) -> None:
        own = self.put(home / ".config/assumed/config.yaml")
        xdg = self.put(home / "xdg/assumed/config.yaml")
        assert loader.find(None, {"XDG_CONFIG_HOME": str(home / "xdg")}) == xdg
        assert loader.find(None, {"XDG_CONFIG_HOME": "xdg"}) == own

    def test_without_a_file_the_error_lists_the_paths_and_an_example(self, home: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            loader.find(None, {})
        assert str(caught.value) == (
            f"there is no configuration file: looked for {home}/.config/assumed/config.yaml and "
            "/etc/assumed/config.yaml"
        )
        example = caught.value.hint.partition("an example:\n")[2]
        assert parse(example.replace("default", "keys")).profiles

    def test_a_file_with_another_suffix_is_proposed(self, home: Path) -> None:
        other = self.put(home / ".config/assumed/config.yml")
        with pytest.raises(ConfigurationError) as raised:
            loader.find(None, {})
        assert raised.value.problems[0].endswith(f"; but there is {other}")
        assert raised.value.hint == f"rename it: `mv {other} {other.with_suffix('.yaml')}`"

    def test_sudo_looks_at_the_files_of_root(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.geteuid", lambda: 0)
        with pytest.raises(ConfigurationError) as raised:
            loader.find(None, {"SUDO_USER": "jane"})
        assert raised.value.problems[0].endswith("; these are the files of root")
        assert raised.value.hint == (
            "run the command without sudo, to use the configuration of jane"
        )


SAMPLES = [path for path in (REPOSITORY / "config").glob("*.yaml") if path.stem != "kubernetes"]


@pytest.mark.parametrize("file", sorted(SAMPLES), ids=str)
def test_the_samples_in_config_are_valid(file: Path) -> None:
    configuration = loader.parse(file.read_bytes(), file, user="me", host="here")
    assert configuration.profiles


def test_the_hooks_and_metrics_of_the_documents_are_valid() -> None:
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    text = "\n".join(document.read_text() for document in documents)
    examples = re.findall(r"```yaml\n((?:hooks|metrics):\n.*?)```", text, re.S)
    assert len(examples) >= 6
    for example in examples:
        configuration = parse(DEPLOY + example)
        assert configuration.hooks or configuration.metrics_port
