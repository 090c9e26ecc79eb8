"""`assumed check` as a command, and its verdict where other commands show it."""

from __future__ import annotations

import json

from tests.integration.terminal import terminal
from tests.integration.world import SOURCE, World

READER = "arn:aws:iam::123456789012:role/reader"


def shadow(world: World, *profiles: str) -> None:
    """Give profiles of the AWS config file a role, which AWS tools prefer to refreshed keys."""
    (world.home / ".aws/config").write_text(
        "".join(
            f"[profile {name}]\nrole_arn = {READER}\nsource_profile = {SOURCE}\n"
            for name in profiles
        )
    )


def test_check_json_has_the_verdict_of_each_profile_and_every_finding(world: World) -> None:
    world.configure({"reports": world.add_role(), "broken": world.add_role()})
    with world.credentials.open("a") as file:
        file.write("[broken]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = x\n")
    done = world.run("check", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["working"], found["needing_you"]) == (1, 1)
    assert found["profiles"] == [
        {"profile": "reports", "works": True, "live": None},
        {"profile": "broken", "works": False, "live": None},
    ]
    (finding,) = found["findings"]
    assert finding["where"] == f"{world.credentials}:6"
    assert finding["problem"] == "profile broken holds long-term keys"
    assert finding["profiles"] == ["broken"]
    # The refresh that it predicts.
    refreshed = world.run("refresh")
    assert "broken: ProfileNotManaged" in refreshed.stderr
    assert "reports: refreshed" in refreshed.stdout
    # One profile alone is fine.
    assert world.run("check", "reports").stdout.endswith("\n1 of 1 works\n")


def test_check_live_json_has_the_session_and_the_statement_for_the_caller(world: World) -> None:
    denied = world.add_role(trusts="arn:aws:iam::123456789012:user/another")
    world.configure({"reports": world.add_role(), "denied": denied})
    done = world.run("check", "--live", "--json")
    assert done.returncode == 1
    reports, refused = (each["live"] for each in json.loads(done.stdout)["profiles"])
    assert reports["ok"]
    assert reports["caller_arn"] == world.user_arn
    # The Date of a response has whole seconds, and is older by the time that it took.
    assert abs(reports["lifetime_seconds"] - 3600) <= 1
    assert refused["error"]["code"] == "AccessDenied"
    assert json.loads(refused["statement"])["Principal"] == {"AWS": world.user_arn}
    only = world.run("check", "reports", "--live", "--json")
    assert only.returncode == 0
    assert [each["profile"] for each in json.loads(only.stdout)["profiles"]] == ["reports"]


def test_check_json_of_an_invalid_configuration_has_every_error(world: World) -> None:
    world.write_config("profiles:\n  a:\n    role_arn: nonsense\n    source_profile: nowhere\n")
    done = world.run("check", "--json")
    assert (done.returncode, done.stderr) == (78, "")
    assert len(json.loads(done.stdout)["errors"]) == 2


def test_check_proposes_the_profile_that_was_probably_meant(world: World) -> None:
    world.configure({"reports": world.add_role()})
    done = world.run("check", "report")
    assert done.returncode == 2
    assert "did you mean reports? defined profiles: reports" in done.stderr


def test_refresh_status_and_the_log_say_that_aws_tools_ignore_a_profile(world: World) -> None:
    world.configure({"reports": world.add_role(), "fine": world.add_role()})
    shadow(world, "reports")
    verdict = "valid, but `aws --profile reports` uses role/reader (~/.aws/config:2)"
    refreshed = world.run("refresh")
    assert refreshed.returncode == 0
    assert refreshed.stderr == f"  {verdict}\n"
    assert f"reports: {verdict}\n" in world.run("status").stdout
    assert "aws --profile fine" not in world.run("status").stdout
    with world.running() as daemon:
        assert f"reports: {verdict}\n" in world.run("status").stdout
        assert f"  {verdict}\n" in world.run("refresh", "--force").stderr
        daemon.wait_for("profile_shadowed")
        shadow(world, "reports", "fine")
        world.configure({"reports": world.add_role(), "fine": world.add_role()})
        daemon.wait_for("profile=fine problem=")
    assert daemon.log.read_text().count("profile_shadowed") == 2


def test_check_marks_each_profile_on_a_terminal(world: World) -> None:
    world.configure(
        {
            "reports": world.add_role(),
            "broken": {"role_arn": READER, "source_profile": "half"},
            "child": {"role_arn": READER, "source_profile": "broken"},
        }
    )
    with world.credentials.open("a") as file:
        file.write("[half]\naws_access_key_id = AKIAHALF\n")
    with terminal(world, *world.assumed, "check", kind="xterm", columns=200) as shell:
        assert shell.status() == 1
        shown = shell.read().replace("\r", "")
    green, red = "\x1b[32m✔ \x1b[0m", "\x1b[31m✘ \x1b[0m"
    assert f"{red}{world.credentials}:7: profile half has aws_access_key_id, but no aws_secret" in (
        shown
    )
    assert f"{green}reports\n{red}broken\n{red}child\n" in shown
    assert shown.endswith("\n1 of 3 works, 2 need you\n")
    assert "\x1b" not in world.run("check").stdout


def test_check_live_of_a_chained_profile_assumes_what_it_is_chained_to(world: World) -> None:
    hub = world.add_role()
    far = {"role_arn": world.add_role(trusts=hub), "source_profile": "hub"}
    world.configure({"hub": hub, "far": far, "other": world.add_role()})
    done = world.run("check", "far", "--live")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("far: arn:aws:sts::")
    assert "other" not in done.stdout
    assert done.stdout.endswith("\n1 of 1 works\n")
