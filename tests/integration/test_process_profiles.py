"""`credential_process: true`: a profile NAME-live in both AWS files, for SDKs that run long."""

from __future__ import annotations

import configparser
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_daemon import session_arn
from tests.integration.world import SOURCE, Daemon, World, wait_until


@pytest.fixture
def role(world: World) -> str:
    role = world.add_role()
    configure(world, role)
    return role


def configure(world: World, role: str, **keys: object) -> None:
    definition = {"role_arn": role, "source_profile": SOURCE, "region": "eu-west-1"}
    world.configure({"deploy": {**definition, "credential_process": True, **keys}})


@contextmanager
def running(world: World) -> Iterator[Daemon]:
    """Run a daemon; wait until it has written both files."""

    def is_written() -> bool:
        files = (world.credentials, aws_config(world))
        return all(file.exists() and "deploy-live]" in file.read_text() for file in files)

    with world.running() as daemon:
        wait_until(is_written, "the profile")
        yield daemon


def aws_config(world: World) -> Path:
    return world.home / ".aws" / "config"


def command(file: Path, section: str) -> list[str]:
    parser = configparser.RawConfigParser()
    parser.read(file)
    return shlex.split(parser[section]["credential_process"])


def test_both_files_have_the_profile_with_an_absolute_path(world: World, role: str) -> None:
    with running(world):
        commands = [
            command(aws_config(world), "profile deploy-live"),
            command(world.credentials, "deploy-live"),
        ]
        assert commands[0] == commands[1]
        assert Path(commands[0][0]).is_absolute()
        for file in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            done = world.aws(
                "sts", "get-caller-identity", "--profile", "deploy-live", **{file: "/nonexistent"}
            )
            assert session_arn(role) in done.stdout, done.stderr
        assert "region = eu-west-1" in aws_config(world).read_text()
    before = aws_config(world).read_bytes()
    with running(world) as daemon:
        configure(world, role)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("config_reloaded")
        assert aws_config(world).read_bytes() == before
        assert world.credentials.read_text().count("[deploy-live]") == 1


@pytest.mark.usefixtures("role")
def test_logout_removes_the_profiles_and_nothing_else(world: World) -> None:
    files = world.credentials, aws_config(world)
    before = [file.read_bytes() if file.exists() else b"" for file in files]
    with running(world):
        pass

    done = world.run("logout")

    assert "deploy-live: removed\n" in done.stdout
    assert [file.read_bytes() for file in files] == before


def test_a_reload_adds_and_removes_the_profile(world: World, role: str) -> None:
    configure(world, role, credential_process=False)
    with world.running() as daemon:
        assert "live" not in world.credentials.read_text()
        configure(world, role)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "[deploy-live]" in world.credentials.read_text(), "the profile")
        configure(world, role, credential_process=False)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "[deploy-live]" not in world.credentials.read_text(), "its removal")
        wait_until(lambda: "deploy-live" not in aws_config(world).read_text(), "its removal")


@pytest.mark.usefixtures("role")
def test_the_profile_of_another_configuration_stays(world: World) -> None:
    other = (
        "[profile other-live]\n# kept by assumed; `assumed logout` removes it\n"
        "credential_process = /bin/assumed export-credentials --config /x.yaml --profile other\n"
    )
    aws_config(world).write_text(other)
    with running(world):
        assert aws_config(world).read_text().startswith(other)
    world.run("logout")
    assert "live" not in aws_config(world).read_text()


@pytest.mark.usefixtures("role")
def test_a_profile_of_the_user_stays_with_one_line_in_the_log(world: World) -> None:
    own = "[profile deploy-live]\ncredential_process = /bin/mine\n"
    aws_config(world).write_text(own)
    with world.running() as daemon:
        daemon.wait_for("process_profile_exists profile=deploy-live")
        wait_until(lambda: "[deploy-live]" in world.credentials.read_text(), "the other file")
        assert aws_config(world).read_text() == own


@pytest.mark.usefixtures("role")
def test_a_file_that_cannot_be_written_stops_no_refresh(world: World) -> None:
    with world.running(AWS_CONFIG_FILE="/dev/null/config") as daemon:
        daemon.wait_for("process_profiles_not_written file=/dev/null/config")
        wait_until(lambda: "[deploy-live]" in world.credentials.read_text(), "the other file")
        assert world.states() == {"deploy": "valid"}


def test_init_writes_the_key_for_every_definition(world: World) -> None:
    role = world.add_role()
    aws_config(world).write_text(
        f"[profile deploy]\nrole_arn = {role}\nsource_profile = {SOURCE}\nregion = eu-west-1\n"
    )

    done = world.run("init", "--credential-process", "--output", str(world.config))

    assert "use --profile deploy-fresh instead, or deploy-fresh-live for" in done.stdout
    with world.running():
        wait_until(lambda: "fresh-live]" in world.credentials.read_text(), "the profile")
        assert world.caller("deploy-fresh-live").startswith(session_arn(role))
    assert world.run("init", "--adopt", "--credential-process").returncode == 2
