"""What other parties send, and what stands in place of a file: real commands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.world import SOURCE, World, wait_until

TOKEN = "t0KeN/" * 60
KINDS: Mapping[str, Mapping[str, str]] = {
    "line-end": {"SessionToken": f"{TOKEN}\n"},
    "wrapped": {"SessionToken": "\n".join(TOKEN[at : at + 76] for at in range(0, len(TOKEN), 76))},
    "blank": {"SessionToken": f"{TOKEN} {TOKEN}"},
    "accent": {"SessionToken": f"{TOKEN}é"},
    "secret": {"SecretAccessKey": f"{TOKEN}\t"},
}


def add_processes(world: World) -> None:
    """Add a profile with a credential_process for each kind of malformed credentials."""
    lines = []
    for kind, changes in KINDS.items():
        output = {
            "Version": 1,
            "AccessKeyId": "ASIAPROCESS",
            "SecretAccessKey": "process-secret",
            "SessionToken": "t",
            "Expiration": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
            **changes,
        }
        file = world.home / f"{kind}.json"
        file.write_text(json.dumps(output))
        lines += [f"[profile {kind}]", f"credential_process = cat {file}"]
    (world.home / ".aws" / "config").write_text("\n".join(lines) + "\n")


def test_a_profile_with_malformed_credentials_fails_alone_and_shows_none(world: World) -> None:
    add_processes(world)
    good = {"good-1": world.add_role(), "good-2": world.add_role()}
    plain = {f"{kind}-plain": {"source_profile": kind} for kind in KINDS}
    roles = {
        f"{kind}-role": {"source_profile": kind, "role_arn": world.add_role()} for kind in KINDS
    }
    world.configure({**good, **plain, **roles})
    with world.running():
        states = world.states()
        assert {name: states[name] for name in good} == dict.fromkeys(good, "valid")
        for profile in world.status()["profiles"]:
            if profile["profile"] not in good:
                assert profile["last_error"]["code"] == "SourceUnavailable", profile
                assert "is malformed" in profile["last_error"]["message"]
        world.run("check", "--live")
        world.run("status")
        world.run("exec", "wrapped-role", "--", "true")
        assert world.run("refresh", "--force", *good).returncode == 0
    assert "t0KeN" not in world.written()
    assert "internal_error" not in world.written()


def lines_of(world: World, *arguments: str) -> list[str]:
    done = world.run(*arguments)
    return (done.stdout + done.stderr).splitlines()


COMMANDS = (
    ["check"],
    ["status"],
    ["status", "--json"],
    ["status", "--format", "{profile} {state}"],
    ["refresh"],
    ["wait", "--timeout", "1s"],
    ["export-credentials", "--profile", "deploy"],
    ["logout"],
    ["init", "--output", "new.yaml"],
)


@pytest.mark.parametrize("name", [".aws/credentials", ".aws/config", ".config/assumed/config.yaml"])
def test_a_fifo_in_place_of_a_file_hangs_no_command(name: str, world: World) -> None:
    world.configure({"deploy": world.add_role()})
    file = world.home / name
    file.unlink(missing_ok=True)
    os.mkfifo(file, 0o600)
    for command in COMMANDS:
        done = world.run(*command)
        assert done.returncode in (0, 1, 2, 78), (command, done)


def test_a_daemon_reports_a_fifo_in_place_of_the_credentials_file(world: World) -> None:
    world.configure({"deploy": world.add_role()})
    with world.running():
        assert world.states() == {"deploy": "valid"}
        kept = world.credentials.rename(world.home / "kept")
        os.mkfifo(world.credentials, 0o600)
        assert world.run("refresh", "--force").returncode == 1
        world.credentials.unlink()
        kept.rename(world.credentials)
        wait_until(lambda: world.run("refresh").returncode == 0, "the recovery")


def test_logout_removes_what_a_killed_process_left(world: World) -> None:
    world.configure({"deploy": world.add_role()})
    directory = world.home / ".local" / "state" / "assumed" / "mfa"
    directory.mkdir(parents=True)
    left = [directory / name for name in ("a.json", ".a.json.0123.new", ".7czx5evl")]
    left.append(world.credentials.with_name(".credentials.assumed-new"))
    for file in left:
        file.write_text("[deploy]\naws_session_token = left-behind\n")
    world.credentials.rename(world.home / ".aws" / "config")
    text = (world.home / ".aws" / "config").read_text()
    (world.home / ".aws" / "config").write_text(text.replace(f"[{SOURCE}]", f"[profile {SOURCE}]"))
    assert world.run("logout").returncode == 0
    assert [file for file in left if file.exists()] == []


def test_status_format_prints_no_control_character_of_a_profile_name(world: World) -> None:
    world.write_config("profiles: {}")
    expiration = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    world.credentials.write_text(
        "[\x1b[2Jdeploy]\naws_access_key_id = ASIA\naws_secret_access_key = s\n"
        f"aws_session_token = t\naws_account_id = 111122223333\n"
        f"x_security_token_expires = {expiration}\n"
        "x_principal_arn = arn:aws:sts::111122223333:assumed-role/r/s\nmanager = assumed\n"
    )
    world.config.unlink()
    done = world.run("status", "--format", "{profile}")
    assert "\x1b" not in done.stdout + done.stderr
    assert "deploy" in done.stdout


def test_refresh_without_a_daemon_reports_hard_links_of_the_credentials_file(world: World) -> None:
    world.configure({"deploy": world.add_role()})
    (world.home / "other-name").hardlink_to(world.credentials)
    done = world.run("refresh")
    assert done.returncode == 0
    assert "the credentials file has hard links" in done.stderr
    assert "hard links" not in world.run("refresh").stderr, "the new file has one name"
