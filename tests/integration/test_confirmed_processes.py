"""A program that may write the credentials file, such as a container, cannot run a command."""

from __future__ import annotations

import configparser
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.world import SOURCE, World, wait_until


def planted(world: World, name: str) -> tuple[str, Path]:
    """Return a command that supplies the keys of the user, and the file that shows that it ran."""
    parser = configparser.RawConfigParser()
    parser.read(world.credentials)
    keys = parser[SOURCE]
    ran = world.home / f"ran-{name}"
    supplied = {
        "Version": 1,
        "AccessKeyId": keys["aws_access_key_id"],
        "SecretAccessKey": keys["aws_secret_access_key"],
    }
    script = world.home / f"{name}.py"
    script.write_text(f"open({str(ran)!r}, 'a').close()\nprint({json.dumps(supplied)!r})\n")
    return f"{sys.executable} {script}", ran


def replace_source(world: World, text: str) -> None:
    world.credentials.write_text(f"# first line\n[{SOURCE}]\n{text}\n")


def first_status(world: World) -> Any:
    (profile,) = world.status()["profiles"]
    return profile


def refresh_is_denied(world: World, location: str) -> None:
    refused = world.run("refresh", "--force")
    assert refused.returncode == 1
    assert f"at {location}" in refused.stderr
    profile = first_status(world)
    assert profile["state"] == "needs-login"
    assert location in profile["last_error"]["message"]
    assert "kill -HUP" in profile["last_error"]["hint"]


@pytest.mark.parametrize("section", [SOURCE, "DEFAULT"])
def test_a_command_that_appears_in_the_credentials_file_runs_only_after_a_reload(
    world: World, section: str
) -> None:
    command, ran = planted(world, "planted")
    world.configure({"deploy": world.add_role()})
    with world.running() as daemon:
        lines = f"# first line\n[{section}]\ncredential_process = {command}\n"
        world.credentials.write_text(lines + (f"[{SOURCE}]\n" if section == "DEFAULT" else ""))
        refresh_is_denied(world, f"{world.credentials}:3")
        # The daemon reads a changed configuration by itself, which confirms nothing.
        world.write_config(world.config.read_text() + "\n")
        daemon.wait_for("config_reloaded")
        refresh_is_denied(world, f"{world.credentials}:3")
        assert not ran.exists()
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: world.states() == {"deploy": "valid"}, "the refresh")
        assert ran.exists()


def test_a_changed_command_runs_only_after_a_restart(world: World) -> None:
    first, _ = planted(world, "first")
    second, ran = planted(world, "second")
    replace_source(world, f"credential_process = {first}")
    world.configure({"deploy": world.add_role()})
    with world.running() as daemon:
        replace_source(world, f"credential_process = {second}")
        refresh_is_denied(world, f"{world.credentials}:3")
        replace_source(world, f"credential_process = {first}")
        assert world.run("refresh", "--force").returncode == 0
        replace_source(world, f"credential_process = {second}")
        assert not ran.exists()
        daemon.stop()
    with world.running():
        assert world.run("refresh", "--force").returncode == 0
        assert ran.exists()


def test_a_command_that_appears_behind_the_source_profile_does_not_run(world: World) -> None:
    command, ran = planted(world, "planted")
    role = world.add_role()
    world.configure({"deploy": world.add_role(trusts=[world.user_arn, role])})
    with world.running():
        replace_source(
            world,
            f"role_arn = {role}\nsource_profile = behind\n[behind]\ncredential_process = {command}",
        )
        refresh_is_denied(world, f"{world.credentials}:6")
        assert not ran.exists()


def test_a_command_of_the_config_file_needs_no_confirmation(world: World) -> None:
    command, ran = planted(world, "own")
    world.configure({"deploy": world.add_role()})
    with world.running():
        (world.home / ".aws" / "config").write_text(
            f"[profile {SOURCE}]\ncredential_process = {command}\n"
        )

        def has_run() -> bool:
            # A write of the daemon may undo this one, which does not take its lock.
            replace_source(world, "")
            return world.run("refresh", "--force").returncode == 0 and ran.exists()

        wait_until(has_run, "the command")


def test_no_file_but_the_configuration_names_an_mfa_process_or_a_hook(world: World) -> None:
    command, ran = planted(world, "planted")
    script = Path(command.split()[1])
    serial = world.server.add_mfa("123456", role_arn=world.add_role())
    shape = {"role_arn": world.add_role(), "source_profile": SOURCE, "mfa_serial": serial}
    world.configure({"deploy": shape, "plain": world.add_role()})
    with world.running():
        lines = "".join(
            f"{key} = {command}\n"
            for key in ("mfa_process", "hooks", "on_refresh", "on_failure", "on_expiry", "hook")
        )
        with world.credentials.open("a") as file:
            file.write(f"{lines}[deploy]\n{lines}[assumed]\n{lines}[hooks]\n{lines}")
        (world.home / ".aws" / "config").write_text(
            f"[profile {SOURCE}]\n{lines}[profile deploy]\n{lines}[assumed]\n{lines}"
        )
        (world.home / ".aws" / "config.yaml").write_text(
            json.dumps({"hooks": {"on_refresh": [command]}})
        )
        assert world.run("refresh", "--force", "plain").returncode == 0
        refused = world.run("refresh", "--force", "deploy")
        assert refused.returncode == 1
        assert "MFA" in refused.stderr
        assert script.exists()
        assert not ran.exists()
