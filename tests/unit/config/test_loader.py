from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from assumed.config import loader
from assumed.config.json_schema import json_schema
from assumed.config.schema import (
    ConfigurationModel,
    CredentialsFileModel,
    HooksModel,
    MetricsModel,
    ProfileModel,
)
from assumed.config.validation import default_session_name
from assumed.errors import ConfigurationError
from assumed.models import (
    Configuration,
    LifetimeFraction,
    ManagedProfile,
    ProfileDefinition,
    SourceProfile,
    WriteMode,
)
from tests.repository import REPOSITORY

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
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    assert refused.value.exit_status == 78
    return refused.value.problems


def deploy(*lines: str) -> ProfileDefinition:
    text = DEPLOY + "".join(f"    {line}\n" for line in lines)
    return parse(text).profiles["deploy"]


def mistakes() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    table = (Path(__file__).parent / "problems.txt").read_text()
    for case in table.split("\n=== ")[1:]:
        name, _, body = case.partition("\n")
        lines = body.splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("=> "))
        expected = [line[3:].rstrip("\n") for line in lines if line.startswith("=> ")]
        yield name, text.removesuffix("\n") + "\n", tuple(expected)


@pytest.mark.parametrize(
    ("text", "expected"), [pytest.param(text, said, id=name) for name, text, said in mistakes()]
)
def test_a_wrong_configuration_is_refused_with_its_line_and_the_mend(
    text: str, expected: tuple[str, ...]
) -> None:
    assert problems(text) == expected


def test_there_are_many_ways_to_be_wrong() -> None:
    assert len(list(mistakes())) >= 80


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "config.yaml:1: the file is empty"),
        ("profiles:\n  de\aploy: 1\n", "config.yaml:2: a character that YAML does not allow"),
        (
            b"profiles:\n  d\xe9ploy: 1\n",
            "config.yaml:2: a byte that is not UTF-8: save the file as UTF-8",
        ),
        (
            f"{DEPLOY}    policy: {{Statement: {'x' * 2100}}}\n",
            "config.yaml:5: profiles.deploy.policy: it is 2116 characters, and STS takes 2048: "
            "shorten it",
        ),
        (
            f"{DEPLOY}    tags: {{team: {'x' * 257}}}\n",
            "config.yaml:5: profiles.deploy.tags.team: it is 257 characters, and STS takes 256: "
            "shorten it",
        ),
        (
            f"{DEPLOY}    tags: {{{', '.join(f't{number}: x' for number in range(51))}}}\n",
            "config.yaml:5: profiles.deploy.tags: STS takes at most 50: remove some",
        ),
        ("[" * 100_000, "config.yaml:1: brackets in brackets, too many: take some away"),
    ],
)
def test_what_no_table_holds_is_refused_too(text: str | bytes, expected: str) -> None:
    assert problems(text) == (expected,)


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        levels.append(f"a{level}: &a{level} [{aliases}]")
    assert any("over 200,000 values" in problem for problem in problems("\n".join(levels)))


def test_every_mistake_is_told_at_once_in_the_order_of_the_file() -> None:
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


def test_a_secret_in_the_file_is_in_no_message() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    for key in (*ProfileModel.model_fields, "aws_secret_access_key", "zzz"):
        text = f"{DEPLOY}    {key}: {secret}\n"
        try:
            parse(text)
        except ConfigurationError as error:
            assert secret not in str(error)
    assert secret not in str(problems(f"profiles: {{{secret}: 1}}\n"))
    assert secret not in str(problems(f"profiles:\n  deploy: {{ {secret}\n"))


def test_the_example_of_the_design_is_understood() -> None:
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
        region="eu-west-1",
    )
    deploy = configuration.profiles["deploy"]
    assert deploy.source == ManagedProfile("s3-read-only")
    assert deploy.external_id == "abc"
    assert dict(deploy.tags) == {"team": "build"}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("900", 900), ("900s", 900), ("15m", 900), ("1h", 3600), ("1h30m", 5400), ("12h", 43200)],
)
def test_durations_are_written_in_seconds_or_with_units(written: str, seconds: int) -> None:
    assert deploy(f"duration_seconds: {written}").duration_seconds == seconds


def test_a_refresh_is_before_the_end_by_a_duration_or_a_share() -> None:
    assert deploy().refresh_before == timedelta(minutes=15)
    assert deploy("refresh_before: 20m").refresh_before == timedelta(minutes=20)
    assert deploy("refresh_before: 50%").refresh_before == LifetimeFraction(0.5)


def test_what_looks_like_a_number_or_a_truth_stays_the_text_that_was_written() -> None:
    definition = deploy("external_id: 0123", "tags: {no: 007, date: 2026-11-24}")
    assert definition.external_id == "0123"
    assert dict(definition.tags) == {"no": "007", "date": "2026-11-24"}
    assert list(parse(DEPLOY.replace("deploy:", "no:", 1)).profiles) == ["no"]


def test_a_policy_may_be_a_mapping_or_json_and_is_sent_packed() -> None:
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


def test_anchors_and_merges_of_yaml_work() -> None:
    configuration = parse(
        f"profiles:\n  one: &one\n    role_arn: {ROLE}\n    source_profile: keys\n"
        "  two:\n    <<: *one\n    region: eu-west-1\n"
    )
    assert configuration.profiles["two"].role_arn == ROLE
    assert configuration.profiles["two"].region == "eu-west-1"


def test_hooks_are_lists_and_a_home_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    text = "hooks:\n  on_refresh: [~/bin/told, '~', 1]\n  on_failure: [notify-send, 'a b']\n"
    assert parse(DEPLOY + text).hooks == {
        "on_refresh": ("/home/jane/bin/told", "~", "1"),
        "on_failure": ("notify-send", "a b"),
    }
    assert parse(DEPLOY).hooks == {}


def test_metrics_are_where_the_file_says_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    configuration = parse(f"{DEPLOY}metrics: {{port: 9464, textfile: ~/assumed.prom}}\n")
    assert configuration.metrics_port == 9464
    assert configuration.metrics_textfile == Path("/home/jane/assumed.prom")
    silent = parse(DEPLOY)
    assert (silent.metrics_port, silent.metrics_textfile) == (None, None)


def test_the_credentials_file_may_be_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_the_default_session_name_is_made_valid(user: str, host: str, expected: str) -> None:
    assert default_session_name(user, host) == expected
    assert re.fullmatch(r"[\w+=,.@-]{2,64}", expected)


def test_the_schema_on_disk_is_made_of_these_types() -> None:
    on_disk = (REPOSITORY / "config" / "assumed.schema.json").read_text()
    mend = "python -m assumed.config.json_schema > config/assumed.schema.json"
    assert on_disk == json_schema(), mend


def test_the_schema_names_every_key() -> None:
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


class TestWhoseFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        folder = tmp_path / "assumed"
        folder.mkdir(mode=0o700)
        file = folder / "config.yaml"
        file.write_text(DEPLOY)
        file.chmod(0o644)
        return file

    def refusal(self, file: Path) -> str:
        with pytest.raises(ConfigurationError) as refused:
            loader.load(file, user="me", host="here")
        return str(refused.value)

    def test_a_file_that_only_its_owner_may_write_is_read(self, file: Path) -> None:
        assert list(loader.load(file, user="me", host="here").profiles) == ["deploy"]

    @pytest.mark.parametrize(("mode", "who"), [(0o664, "its group"), (0o646, "everybody")])
    def test_a_file_that_others_may_write_is_refused(self, file: Path, mode: int, who: str) -> None:
        file.chmod(mode)
        assert self.refusal(file) == f"{file}: {file} is writable by {who}: `chmod go-w {file}`"

    def test_a_folder_that_others_may_write_is_refused(self, file: Path) -> None:
        file.parent.chmod(0o775)
        assert f"{file.parent} is writable by its group" in self.refusal(file)

    def test_the_folder_behind_a_link_counts(self, file: Path, tmp_path: Path) -> None:
        file.parent.chmod(0o777)
        link = tmp_path / "link.yaml"
        link.symlink_to(file)
        assert f"{file.parent} is writable by everybody" in self.refusal(link)

    def test_a_folder_further_up_that_everybody_may_write_is_refused_unless_it_is_sticky(
        self, file: Path, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o777)
        assert f"{tmp_path}, which it is in, is writable by everybody" in self.refusal(file)
        tmp_path.chmod(0o1777)
        assert loader.load(file, user="me", host="here").profiles
        # On Debian a user's folders are writable by a group that is theirs alone.
        tmp_path.chmod(0o775)
        assert loader.load(file, user="me", host="here").profiles

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
    def test_a_folder_further_up_of_another_user_is_refused(
        self, file: Path, tmp_path: Path
    ) -> None:
        os.chown(tmp_path, 12345, -1)
        assert f"{tmp_path}, which it is in, belongs to another user" in self.refusal(file)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_refused(self, file: Path) -> None:
        os.chown(file, 12345, -1)
        assert f"{file} belongs to another user (uid 12345)" in self.refusal(file)

    def test_a_missing_file_a_folder_and_a_fifo_are_told_apart(self, file: Path) -> None:
        assert "No such file or directory" in self.refusal(file.parent / "other.yaml")
        assert "it is no file" in self.refusal(file.parent)
        fifo = file.parent / "fifo"
        os.mkfifo(fifo)
        assert "it is no file" in self.refusal(fifo)


class TestWhereItIs:
    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        return tmp_path

    def put(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DEPLOY)
        return path

    def test_the_option_wins_over_the_variable_and_the_variable_over_the_places(
        self, home: Path
    ) -> None:
        own = self.put(home / ".config/assumed/config.yaml")
        assert loader.find(None, {}) == own
        named = {"ASSUMED_CONFIG": "/named.yaml"}
        assert loader.find(None, named) == Path("/named.yaml")
        assert loader.find(Path("/option.yaml"), named) == Path("/option.yaml")

    def test_the_xdg_folder_counts_if_it_is_absolute(self, home: Path) -> None:
        own = self.put(home / ".config/assumed/config.yaml")
        xdg = self.put(home / "xdg/assumed/config.yaml")
        assert loader.find(None, {"XDG_CONFIG_HOME": str(home / "xdg")}) == xdg
        assert loader.find(None, {"XDG_CONFIG_HOME": "xdg"}) == own

    def test_where_there_is_none_it_says_where_it_looked_and_shows_an_example(
        self, home: Path
    ) -> None:
        with pytest.raises(ConfigurationError) as refused:
            loader.find(None, {})
        assert str(home / ".config/assumed/config.yaml") in str(refused.value)
        assert "/etc/assumed/config.yaml" in str(refused.value)
        example = refused.value.hint.partition("an example:\n")[2]
        assert parse(example.replace("default", "keys")).profiles


OURS = [path for path in (REPOSITORY / "config").glob("*.yaml") if path.stem != "kubernetes"]


@pytest.mark.parametrize("file", sorted(OURS), ids=str)
def test_the_files_of_the_folder_config_are_right(file: Path) -> None:
    configuration = loader.parse(file.read_bytes(), file, user="me", host="here")
    assert configuration.profiles


def test_the_hooks_and_metrics_of_the_documents_are_right() -> None:
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    text = "\n".join(document.read_text() for document in documents)
    examples = re.findall(r"```yaml\n((?:hooks|metrics):\n.*?)```", text, re.S)
    assert len(examples) >= 6
    for example in examples:
        configuration = parse(DEPLOY + example)
        assert configuration.hooks or configuration.metrics_port
