from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from assumed.aws_files.credentials_text import edit, read, set_profile
from assumed.aws_files.editor import SetCredentials
from assumed.fastpath.credentials_reader import CredentialsReader, configured, seconds_left
from assumed.server.serialization import credentials_to_json
from assumed.storage.credentials_file import StoredProfile
from tests.fakes import NOON, issued, role

DEPLOY = issued(role("deploy"), NOON + timedelta(hours=1))
READ = issued(role("read"), NOON + timedelta(hours=1), 2)
MINE = b"# mine\n[default]\naws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n\n"
WRITTEN = set_profile(MINE, "deploy", DEPLOY, path="credentials")


def process(credentials: object) -> dict[str, str]:
    shape = credentials_to_json(credentials)  # type: ignore[arg-type]
    return {key: value for key, value in shape.items() if key != "Version"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("glance")


def glance(folder: Path, data: bytes) -> CredentialsReader:
    file = folder / "credentials"
    file.write_bytes(data)
    return CredentialsReader({"AWS_SHARED_CREDENTIALS_FILE": str(file)})


def test_what_assumed_wrote_is_found(tmp_path: Path) -> None:
    found = glance(tmp_path, WRITTEN)
    assert found.credentials("deploy") == process(DEPLOY)
    assert list(found.profiles()) == ["deploy"]


def test_one_of_many_is_found_wherever_it_stands(tmp_path: Path) -> None:
    changes = {
        "deploy": SetCredentials(DEPLOY, overwrite=False),
        "read": SetCredentials(READ, overwrite=False),
    }
    data = edit(b"", changes, path="credentials").data + b"\n" + MINE
    found = glance(tmp_path, data)
    assert found.credentials("deploy") == process(DEPLOY)
    assert found.credentials("read") == process(READ)
    assert list(found.profiles()) == ["deploy", "read"]
    assert glance(tmp_path, data.replace(b"\n", b"\r\n")).credentials("read") == process(READ)


@pytest.mark.parametrize("profile", ["default", "nowhere", "deplo", "deploy]", "", "dépl[oy"])
def test_what_is_not_there_or_not_ours_is_not_found(tmp_path: Path, profile: str) -> None:
    assert glance(tmp_path, WRITTEN).credentials(profile) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WRITTEN.replace(b"manager = assumed", b"manager = awsume"),
        WRITTEN.replace(b"manager = assumed\n", b""),
        WRITTEN + b"aws_security_token = stale\n",
        WRITTEN + b"[DEFAULT]\naws_security_token = stale\n",
        WRITTEN + b"[DEFAULT]",
        WRITTEN + b"[deploy]\n",
        WRITTEN + b"  an indented line\n",
        WRITTEN + b"no equals sign\n",
        WRITTEN + b"AWS_SESSION_TOKEN = twice\n",
        WRITTEN + "größe = 1\n".encode(),
        WRITTEN.replace(b"[deploy]", b"[deploy] x"),
        WRITTEN.replace(b"2026-11-24T13:00:00Z", b"2026-11-24T13:00:00.5Z"),
        WRITTEN.replace(b"2026-11-24T13:00:00Z", b"tomorrow"),
        WRITTEN.replace(b"token-deploy-1", b""),
        WRITTEN.replace(b"token-deploy-1", b"token\x1b[2J"),
    ],
)
def test_what_does_not_stand_there_plainly_is_left_to_others(tmp_path: Path, data: bytes) -> None:
    found = glance(tmp_path, data)
    assert found.credentials("deploy") is None
    assert "deploy" not in list(found.profiles())


@given(st.integers(min_value=0, max_value=len(WRITTEN) - 1))
def test_a_torn_file_never_gives_torn_credentials(folder: Path, cut: int) -> None:
    assert glance(folder, WRITTEN[:cut]).credentials("deploy") in (None, process(DEPLOY))
    assert glance(folder, WRITTEN).credentials("deploy") == process(DEPLOY)


LINES = st.sampled_from(
    [
        *WRITTEN.splitlines(keepends=True),
        b"[other]\n", b"[DEFAULT]\n", b"  continued\n", b"\n", b"; comment\n", b"region = x\n",
        b"aws_security_token = x\n", b"manager: assumed\n", b"x\n", b"[deploy] ; x\n",
    ]
)  # fmt: skip


@given(st.lists(LINES, max_size=24))
def test_what_is_found_is_what_botocore_would_read(folder: Path, lines: list[bytes]) -> None:
    data = b"".join(lines)
    credentials = glance(folder, data).credentials("deploy")
    if credentials is None:
        return
    try:
        sections = read(data, path="credentials")
    except Exception:  # noqa: BLE001 - what no SDK reads is not ours to find
        return
    stored = StoredProfile.from_section("deploy", sections["deploy"])
    assert stored.is_ours
    assert stored.access_key_id == credentials["AccessKeyId"]
    assert stored.secret_access_key == credentials["SecretAccessKey"]
    assert stored.session_token == credentials["SessionToken"]
    assert stored.expiration == datetime.fromisoformat(credentials["Expiration"])


def section_alone(data: bytes, name: bytes) -> bytes:
    """Return the section of this name as the only one of a file; nothing where it is not alone."""
    lines = data.split(b"\n")
    headers = [place for place, line in enumerate(lines) if line.startswith(b"[")]
    wanted = [place for place in headers if lines[place].startswith(b"[%b]" % name)]
    if len(wanted) != 1 or any(lines[place].startswith(b"[DEFAULT]") for place in headers):
        return b""
    behind = [place for place in headers if place > wanted[0]]
    return b"\n".join([*lines[wanted[0] : behind[0]], b""] if behind else lines[wanted[0] :])


ANOTHER = set_profile(b"", "read", READ, path="credentials")
DEPLOYS = WRITTEN.removeprefix(MINE)
PARTS = st.sampled_from(
    [
        DEPLOYS, DEPLOYS[:-1], DEPLOYS.replace(b"[deploy]", b"[deploy] x"), ANOTHER, MINE,
        b"[deploy]\n", b"[deploy", b"[]\n", b"[DEFAULT]", b"[DEFAULT]\n", b"[", b"]", b"\n",
        b"region = [read]\n", b" [read]\n", b"# " + b"x" * 99 + b"\n", "größe = 1\n".encode(),
    ]
)  # fmt: skip


@given(st.lists(PARTS, max_size=8), st.integers(min_value=1, max_value=2 * len(WRITTEN)))
def test_where_a_section_stands_in_a_big_file_makes_no_difference(
    folder: Path, parts: list[bytes], piece_bytes: int
) -> None:
    data = b"".join(parts)
    headers = [line[1:] for line in data.split(b"\n") if line.startswith(b"[") and b"]" in line]
    names = {header.partition(b"]")[0].decode() for header in headers} | {"nowhere"}
    alone = {
        name: glance(folder, section_alone(data, name.encode())).credentials(name) for name in names
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assumed.fastpath.credentials_reader._PIECE_BYTES", piece_bytes)
        found = glance(folder, data)
        assert {name: found.credentials(name) for name in alone} == alone
        assert set(found.profiles()) == {name for name, held in alone.items() if held}
        assert {name: found.credentials(name) for name in alone} == alone


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2999, 12, 31)))  # noqa: DTZ001
def test_what_is_left_is_counted_as_datetime_counts(moment: datetime) -> None:
    aware = moment.replace(microsecond=0, tzinfo=UTC)
    with freeze_time(NOON):
        left = seconds_left({"Expiration": aware.strftime("%Y-%m-%dT%H:%M:%SZ")})
    assert left == (aware - NOON).total_seconds()


def test_a_file_from_before_is_as_good_as_empty(tmp_path: Path) -> None:
    glance(tmp_path, WRITTEN)
    written_at = (tmp_path / "credentials").stat().st_mtime_ns
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    assert CredentialsReader(environ, newer_than=written_at).credentials("deploy") == process(
        DEPLOY
    )
    assert CredentialsReader(environ, newer_than=written_at + 1).credentials("deploy") is None


def test_the_first_configuration_that_exists_is_the_one_in_force(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_bytes(b"profiles:")
    found = str(config.stat().st_ctime_ns)
    missing = str(tmp_path / "missing.yaml")
    assert configured([missing, str(config), str(tmp_path)]) == (int(found), b"profiles:")
    assert configured([missing]) == (0, None)


def test_a_time_that_was_set_back_and_a_link_that_was_set_anew_are_changes(tmp_path: Path) -> None:
    config, link = tmp_path / "old.yaml", tmp_path / "config.yaml"
    config.touch()
    stamp = configured([str(config)])[0]
    while configured([str(config)])[0] == stamp:
        os.utime(config, (1, 1))
    stamp = configured([str(config)])[0]
    while not link.is_symlink() or link.lstat().st_ctime_ns == stamp:
        link.unlink(missing_ok=True)
        link.symlink_to("old.yaml")
    assert configured([str(link)])[0] > configured([str(config)])[0]


def test_a_profile_of_a_role_that_the_configuration_does_not_name_is_as_good_as_none(
    tmp_path: Path,
) -> None:
    file = tmp_path / "credentials"
    file.write_bytes(WRITTEN)
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    account, role = DEPLOY.principal_arn.split(":")[4], DEPLOY.principal_arn.split("/")[1]
    for configuration, is_found in (
        (f"role_arn: arn:aws:iam::{account}:role/path/{role}", True),
        (f"role_arn: arn:aws:iam::{account}:role/another", False),
        (f"role_arn: arn:aws:iam::999999999999:role/{role}", False),
        ("", False),
    ):
        found = CredentialsReader(environ, configuration=configuration.encode()).credentials(
            "deploy"
        )
        assert (found is not None) is is_found


def test_what_can_not_be_read_is_as_good_as_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "fifo"):
        found = CredentialsReader({"AWS_SHARED_CREDENTIALS_FILE": str(path)})
        assert found.credentials("deploy") is None
        assert list(found.profiles()) == []
