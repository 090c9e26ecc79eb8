"""From existing AWS files to refreshed profiles: init, check, refresh."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from botocore.session import Session

from assumed.aws_files.sdk_precedence import CredentialKind, used_by_botocore
from tests.integration.terminal import terminal
from tests.integration.world import SOURCE, World
from tests.unit.app.init.test_generator import EXAMPLES, Home
from tests.unit.aws_files.test_shadowing import resolve_with_botocore


def write_aws_config(world: World, text: str) -> Path:
    path = world.home / ".aws" / "config"
    path.write_text(text)
    return path


def role_profile(name: str, role_arn: str, source: str) -> str:
    return f"[profile {name}]\nrole_arn = {role_arn}\nsource_profile = {source}\n\n"


def test_init_check_and_refresh_work_without_editing(world: World) -> None:
    hub = world.add_role()
    hub_session = hub.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    far = world.add_role(trusts=hub)
    aws_config = write_aws_config(
        world,
        "# mine\n[default]\nregion = us-east-1\ns3 =\n  max_concurrent_requests = 5\n\n"
        + role_profile("far", far, "hub")
        + role_profile("hub", hub, SOURCE),
    )
    before = aws_config.read_bytes(), world.credentials.read_bytes()
    world.config.parent.rmdir()

    made = world.run("init")
    assert made.returncode == 0, made.stderr
    assert made.stdout == (
        "profile far: use --profile far-fresh instead\n"
        "profile hub: use --profile hub-fresh instead\n"
        f"{world.config}: written; review it, then test it with `assumed check --live`\n"
    )
    assert made.stderr == ""
    assert stat.S_IMODE(world.config.stat().st_mode) == 0o600
    assert stat.S_IMODE(world.config.parent.stat().st_mode) == 0o700
    assert before == (aws_config.read_bytes(), world.credentials.read_bytes())
    assert world.user_secret not in world.config.read_text()

    checked = world.run("check")
    assert (checked.returncode, checked.stderr) == (0, "")
    live = world.run("check", "--live")
    assert live.returncode == 0, live.stderr
    refreshed = world.run("refresh")
    assert refreshed.returncode == 0, refreshed.stderr
    assert world.caller("hub-fresh").startswith(f"{hub_session}/assumed-")
    assert "assumed-role" in world.caller("far-fresh")

    again = world.run("init")
    assert again.returncode == 2
    assert f"{world.config} already exists; `init` does not overwrite it" in again.stderr
    printed = world.run("init", "--output", "-")
    assert printed.stdout == world.config.read_text()


def test_check_finds_what_init_avoids(world: World) -> None:
    role = world.add_role()
    aws_config = write_aws_config(world, role_profile("reports", role, SOURCE))
    world.configure({"reports": role})
    assert world.run("refresh").returncode == 0
    checked = world.run("check")
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"{aws_config}:2: profile reports: because of role_arn")
    # The AWS CLI does what the finding says: it assumes the role itself, once more.
    calls = world.server.calls(role)
    assert "/botocore-session-" in world.caller("reports")
    assert world.server.calls(role) == calls + 1

    world.config.unlink()
    assert world.run("init").returncode == 0
    assert world.run("refresh").returncode == 0
    assert world.run("check").returncode == 0
    assert "/assumed-" in world.caller("reports-fresh")


def test_init_prints_or_writes_to_the_output(world: World) -> None:
    write_aws_config(world, role_profile("reports", world.add_role(), SOURCE))
    printed = world.run("init", "--output", "-", "--suffix", ".live")
    assert printed.returncode == 0
    assert "\n  reports.live:\n" in printed.stdout
    assert not world.config.exists()
    other = world.home / "elsewhere" / "mine.yaml"
    made = world.run("init", "--output", str(other))
    assert f"`assumed check --live --config {other}`" in made.stdout
    assert world.run("check", "--config", str(other)).returncode == 0
    named = world.home / "named.yaml"
    assert world.run("init", "--config", str(named)).returncode == 0
    assert named.exists()


@pytest.mark.parametrize(
    ("text", "status", "expected"),
    [
        ("", 1, "there is no role profile in {config} to generate from"),
        ("[profile a]\nrole_arn\n", 1, "{config}:2: a line that is not `key = value`"),
        (
            "[profile a]\nrole_arn = arn:aws:iam::111122223333:role/a\nsource_profile = b\n",
            1,
            "{config}:1: profile a: there is no profile b in the AWS files",
        ),
    ],
    ids=["nothing", "malformed", "dangling"],
)
def test_init_reports_unusable_aws_files_and_writes_nothing(
    world: World, text: str, status: int, expected: str
) -> None:
    aws_config = write_aws_config(world, text)
    made = world.run("init")
    assert made.returncode == status
    assert expected.format(config=aws_config) in made.stderr
    assert not world.config.exists()


def test_init_reports_a_skipped_profile_with_its_line(world: World) -> None:
    aws_config = write_aws_config(
        world,
        role_profile("reports", world.add_role(), SOURCE)
        + role_profile("lost", "nonsense", SOURCE),
    )
    made = world.run("init")
    assert made.returncode == 0
    assert made.stderr == (
        f"{aws_config}:5: profile lost is skipped: role_arn: not an ARN: write "
        "arn:aws:iam::ACCOUNT:role/NAME\n"
    )


def test_check_live_prints_caller_role_and_lifetime(world: World) -> None:
    hub = world.add_role()
    session = hub.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    far = world.add_role(trusts=hub)
    world.configure(
        {
            "far": {"role_arn": far, "source_profile": "hub", "duration_seconds": "900"},
            "hub": hub,
        }
    )
    before = world.credentials.read_bytes()
    checked = world.run("check", "--live")
    assert (checked.returncode, checked.stderr) == (0, "")
    far_role, far_source, hub_role, hub_source, _, last = checked.stdout.splitlines()
    assert re.fullmatch(
        rf"hub: {session}/assumed-\S+, valid for 1h00m, answered in \d+ ms", hub_role
    )
    assert hub_source == f"  from profile {SOURCE}: {world.user_arn}"
    assert re.fullmatch(r"far: arn:aws:sts:\S+, valid for 15m, answered in \d+ ms", far_role)
    assert re.fullmatch(rf"  from managed profile hub: {session}/assumed-\S+", far_source)
    assert last == "2 of 2 work"
    assert world.credentials.read_bytes() == before


@pytest.mark.parametrize("source", [SOURCE, "hub"])
def test_the_statement_for_a_denial_makes_the_trust_policy_work(world: World, source: str) -> None:
    hub = world.add_role()
    caller = hub if source == "hub" else world.user_arn

    def check_live(trusts: str) -> CompletedProcess[str]:
        role = world.add_role(trusts=trusts)
        denied = {"role_arn": role, "source_profile": source, "tags": {"team": "build"}}
        hub_shape = {"role_arn": hub, "source_profile": SOURCE}
        world.configure({"hub": hub_shape, "denied": denied})
        return world.run("check", "--live")

    denied = check_live("arn:aws:iam::123456789012:user/other")
    assert denied.returncode == 1
    printed = denied.stderr
    assert printed.startswith("denied: AccessDenied: User: arn:")
    assert "profile denied: " not in printed
    assert f" {source}: arn:aws:" in printed
    assert "In the trust policy: {" not in printed
    assert "  - the definition has tags: sts:TagSession must be allowed in the same way" in printed
    statement = json.loads(printed[printed.index("\n{\n") : printed.rindex("\n}") + 2])
    principal = {"AWS": caller}
    assert statement == {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    # A role that trusts the principal of the statement can be assumed.
    fixed = check_live(statement["Principal"]["AWS"])
    assert (fixed.returncode, fixed.stderr) == (0, "")


def test_check_live_continues_after_a_failed_profile(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role, "lost": {"role_arn": role, "source_profile": "empty"}})
    (world.home / ".aws" / "config").write_text("[profile empty]\nregion = us-east-1\n")
    checked = world.run("check", "--live")
    assert checked.returncode == 1
    assert "lost: SourceMissing: " in checked.stderr
    assert "\n  from profile empty\n" in checked.stderr
    assert "reports: arn:aws:sts::" in checked.stdout
    # It would retry for a minute.
    unreachable = world.run(
        "check", "--live", "--timeout", "2s", AWS_ENDPOINT_URL="http://127.0.0.1:9"
    )
    assert unreachable.returncode == 1
    assert "reports: EndpointConnectionError: " in unreachable.stderr
    assert f"\n  from profile {SOURCE}, failed after " in unreachable.stderr


@pytest.fixture
def aws_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home directory for this process, so that botocore reads its files."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    (tmp_path / ".aws").mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Home(tmp_path)


def install_credential_process(home: Home, name: str) -> None:
    program = home.path / "bin" / name
    keys = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")
    program.chmod(0o700)


@pytest.mark.parametrize("name", EXAMPLES)
def test_used_by_botocore_agrees_with_botocore(aws_home: Home, name: str) -> None:
    aws_home.copy(name)
    files = aws_home.files()
    for profile in files.profiles.values():
        if (process := profile.value("credential_process")) is not None:
            install_credential_process(aws_home, shlex.split(process)[0])
    misplaced = [f"profile {each}" for each in files.misplaced]
    assert {*files.profiles, *misplaced} == {*Session().full_config["profiles"]}
    for profile in files.profiles.values():
        expected, found = used_by_botocore(profile).kind, resolve_with_botocore(profile.name)
        # botocore raises an error for a role whose source is missing.
        is_broken_role = (found, expected) == (CredentialKind.BROKEN, CredentialKind.ROLE)
        assert found is expected or is_broken_role, profile.name


def with_region(world: World) -> Path:
    role = role_profile("reports", world.add_role(), SOURCE).rstrip("\n")
    return write_aws_config(world, f"{role}\nregion = eu-west-3\noutput = text\n")


SECTION = "[profile reports-fresh]\nregion = eu-west-3\noutput = text\n"


def test_the_new_name_has_the_region_of_the_old_one(world: World) -> None:
    aws_config = with_region(world)
    before = aws_config.read_text()
    made = world.run("init", "--write-aws-config")
    assert made.returncode == 0, made.stderr
    assert made.stdout.endswith(f"{SECTION}{aws_config}: 1 section appended\n")
    assert aws_config.read_text() == f"{before}\n{SECTION}"
    assert world.run("refresh").returncode == 0
    world.environ.pop("AWS_DEFAULT_REGION")
    for name in ("reports", "reports-fresh"):
        assert world.aws("configure", "get", "region", "--profile", name).stdout == "eu-west-3\n"
    assert world.aws("sts", "get-caller-identity", "--profile", "reports-fresh").returncode == 0
    again = world.run("init", "--write-aws-config")
    assert again.returncode == 0
    assert again.stdout == (
        f"{world.config} already exists, and is not changed\n{aws_config}: no section is missing\n"
    )
    assert world.run("check").returncode == 0


def test_without_a_terminal_the_sections_are_shown_and_not_written(world: World) -> None:
    aws_config = with_region(world)
    before = aws_config.read_bytes()
    made = world.run("init", "--suffix", ".live", "--config", "mine.yaml")
    assert made.returncode == 0
    assert SECTION.replace("-fresh", ".live") in made.stdout
    command = f"init --write-aws-config --suffix .live --config {world.home / 'mine.yaml'}"
    assert made.stdout.endswith(f"append them yourself, or with `assumed {command}`\n")
    printed = world.run("init", "--output", "-")
    assert SECTION in printed.stderr
    assert SECTION not in printed.stdout
    assert aws_config.read_bytes() == before
    assert world.run(*command.split()).returncode == 0
    assert aws_config.read_text().endswith(SECTION.replace("-fresh", ".live"))


@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_init_asks_before_it_writes_the_sections(world: World, answer: str) -> None:
    aws_config = with_region(world)
    before = aws_config.read_text()
    with terminal(world, *world.assumed, "init") as shown:
        shown.wait_for("Append them? [y/N]")
        shown.type(f"{answer}\n")
        assert shown.process.wait(30) == 0
    expected = f"{before}\n{SECTION}" if answer == "y" else before
    assert aws_config.read_text() == expected


@pytest.mark.parametrize("answer", ["y", "n"])
def test_without_aws_files_init_offers_a_configuration_to_complete(
    world: World, answer: str
) -> None:
    world.credentials.unlink()
    refused = world.run("init")
    assert refused.returncode == 1
    assert "`assumed init --output -` prints a configuration to complete" in refused.stderr
    printed = world.run("init", "--output", "-")
    assert printed.returncode == 0
    assert "  #   role_arn: arn:aws:iam::111122223333:role/my-role\n" in printed.stdout
    with terminal(world, *world.assumed, "init") as shown:
        shown.wait_for("Write a configuration to complete")
        shown.type(f"{answer}\n")
        assert shown.process.wait(30) == (0 if answer == "y" else 1)
    assert world.config.exists() is (answer == "y")
    if answer == "y":
        assert world.config.read_text() == printed.stdout
