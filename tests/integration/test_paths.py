"""The AWS files and the configuration, where a variable names them, as the AWS CLI finds them."""

from __future__ import annotations

import json

import pytest

from tests.integration.test_export import exported
from tests.integration.world import SOURCE, World

SPELLINGS = ["$HOME/aws/creds", "${HOME}/aws/creds", "~/aws/creds", "aws/creds"]


def move_credentials(world: World) -> None:
    moved = world.home / "aws" / "creds"
    moved.parent.mkdir(mode=0o700)
    world.credentials = world.credentials.rename(moved)


@pytest.mark.parametrize("value", SPELLINGS)
def test_a_refresh_writes_the_file_that_aws_tools_read(world: World, value: str) -> None:
    move_credentials(world)
    world.configure({"reports": world.add_role()})
    environ = {"AWS_SHARED_CREDENTIALS_FILE": value}
    assert world.run("refresh", **environ).returncode == 0
    assert "ASIA" in world.credentials.read_text()
    assert list(world.home.rglob("creds")) == [world.credentials]
    used = world.aws("sts", "get-caller-identity", "--profile", "reports", **environ)
    assert used.returncode == 0, used.stderr
    shown = world.run("status", "--format", "{profile} {state}", **environ)
    assert shown.stdout == "reports valid\n"
    assert world.run("check", **environ).returncode == 0
    assert world.run("logout", **environ).returncode == 0
    assert "ASIA" not in world.credentials.read_text()


def test_a_daemon_writes_the_file_that_aws_tools_read(world: World) -> None:
    move_credentials(world)
    world.configure({"reports": world.add_role()})
    environ = {"AWS_SHARED_CREDENTIALS_FILE": SPELLINGS[0]}
    with world.running(**environ):
        used = world.aws("sts", "get-caller-identity", "--profile", "reports", **environ)
    assert used.returncode == 0, used.stderr
    assert list(world.home.rglob("creds")) == [world.credentials]


def test_an_empty_variable_names_no_file_to_write(world: World) -> None:
    # botocore reads no file then, and the JavaScript SDK the default one.
    source = world.credentials.read_text().replace(f"[{SOURCE}]", f"[profile {SOURCE}]")
    world.credentials.with_name("config").write_text(source)
    world.configure({"reports": world.add_role()})
    done = world.run("refresh", AWS_SHARED_CREDENTIALS_FILE="")
    assert done.returncode == 78
    assert "AWS_SHARED_CREDENTIALS_FILE is empty" in done.stderr
    assert "ASIA" not in world.credentials.read_text()


def test_the_daemon_answers_for_its_configuration_however_it_is_named(world: World) -> None:
    role = world.add_role()
    world.configure({"held": {"role_arn": role, "source_profile": SOURCE, "store": "memory"}})
    moved = world.config.rename(world.home / "assumed.yaml")
    with world.running("--config", str(moved), ASSUMED_CONFIG="$HOME/assumed.yaml"):
        first = exported(world, "held", "--config", str(moved))
        assert exported(world, "held", "--config=~/assumed.yaml") == first
        assert exported(world, "held", ASSUMED_CONFIG="$HOME/assumed.yaml") == first
    assert world.server.calls(role) == 1


def test_the_configuration_is_found_by_a_variable_in_a_variable(world: World) -> None:
    world.configure({"reports": world.add_role()})
    world.config.rename(world.home / "assumed.yaml")
    done = world.run("status", "--json", ASSUMED_CONFIG="$HOME/assumed.yaml")
    assert [row["profile"] for row in json.loads(done.stdout)["profiles"]] == ["reports"]


def test_an_empty_variable_names_no_config_file(world: World) -> None:
    world.credentials.with_name("config").write_text("no AWS tool can read this")
    world.configure({"reports": world.add_role()})
    assert world.run("refresh", AWS_CONFIG_FILE="").returncode == 0
    assert world.run("check", AWS_CONFIG_FILE="").returncode == 0
