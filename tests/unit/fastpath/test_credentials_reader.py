from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from assumed.aws_files import SetCredentials, edit
from assumed.fastpath.credentials_reader import (
    CredentialsReader,
    read_configuration,
)
from assumed.server.serialization import credentials_to_json
from tests.credentials_files import set_profile
from tests.fakes import NOON, issued, role

DEPLOY = issued(role("deploy"), NOON + timedelta(hours=1))
READ = issued(role("read"), NOON + timedelta(hours=1), 2)
MINE = b"# mine\n[default]\naws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n\n"
WRITTEN = set_profile(MINE, "deploy", DEPLOY, path="credentials")


def process(credentials: object) -> dict[str, str]:
    shape = credentials_to_json(credentials)  # type: ignore[arg-type]
    return {key: value for key, value in shape.items() if key != "Version"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reader")


def reader_of(directory: Path, data: bytes) -> CredentialsReader:
    file = directory / "credentials"
    file.write_bytes(data)
    return CredentialsReader({"AWS_SHARED_CREDENTIALS_FILE": str(file)})


def test_reader_finds_what_assumed_wrote(tmp_path: Path) -> None:
    found = reader_of(tmp_path, WRITTEN)
    assert found.credentials("deploy") == process(DEPLOY)
    assert list(found.profiles()) == ["deploy"]


def test_reader_finds_each_of_many_profiles(tmp_path: Path) -> None:
    changes = {
        "deploy": SetCredentials(DEPLOY, overwrite=False),
        "read": SetCredentials(READ, overwrite=False),
    }
    data = edit(b"", changes, path="credentials").data + b"\n" + MINE
    found = reader_of(tmp_path, data)
    assert found.credentials("deploy") == process(DEPLOY)
    assert found.credentials("read") == process(READ)
    assert list(found.profiles()) == ["deploy", "read"]
    assert reader_of(tmp_path, data.replace(b"\n", b"\r\n")).credentials("read") == process(READ)


@pytest.mark.parametrize("profile", ["default", "nowhere", "deplo", "deploy]", "", "dépl[oy"])
def test_reader_does_not_find_missing_or_foreign_profiles(tmp_path: Path, profile: str) -> None:
    assert reader_of(tmp_path, WRITTEN).credentials(profile) is None


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
def test_reader_ignores_what_differs_from_the_way_assumed_writes(
    tmp_path: Path, data: bytes
) -> None:
    found = reader_of(tmp_path, data)
    assert found.credentials("deploy") is None
    assert "deploy" not in list(found.profiles())


def test_reader_ignores_a_file_older_than_the_configuration(tmp_path: Path) -> None:
    reader_of(tmp_path, WRITTEN)
    written_at = (tmp_path / "credentials").stat().st_mtime_ns
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    assert CredentialsReader(environ, newer_than=written_at).credentials("deploy") == process(
        DEPLOY
    )
    assert CredentialsReader(environ, newer_than=written_at + 1).credentials("deploy") is None


def test_read_configuration_returns_the_first_file_that_exists(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_bytes(b"profiles:")
    found = str(config.stat().st_ctime_ns)
    missing = str(tmp_path / "missing.yaml")
    assert read_configuration([missing, str(config), str(tmp_path)]) == (int(found), b"profiles:")
    assert read_configuration([missing]) == (0, None)


def test_read_configuration_notices_touched_files_and_replaced_links(tmp_path: Path) -> None:
    config, link = tmp_path / "old.yaml", tmp_path / "config.yaml"
    config.touch()
    stamp = read_configuration([str(config)])[0]
    while read_configuration([str(config)])[0] == stamp:
        os.utime(config, (1, 1))
    stamp = read_configuration([str(config)])[0]
    while not link.is_symlink() or link.lstat().st_ctime_ns == stamp:
        link.unlink(missing_ok=True)
        link.symlink_to("old.yaml")
    assert read_configuration([str(link)])[0] > read_configuration([str(config)])[0]


def test_reader_ignores_a_role_that_the_configuration_does_not_name(
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


def test_reader_takes_an_unreadable_file_for_empty(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "fifo"):
        found = CredentialsReader({"AWS_SHARED_CREDENTIALS_FILE": str(path)})
        assert found.credentials("deploy") is None
        assert list(found.profiles()) == []
