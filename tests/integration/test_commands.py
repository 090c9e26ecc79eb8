from __future__ import annotations

import json
import subprocess

import pytest

from assumed.cli.main import _COMMANDS
from tests.integration.world import SOURCE, World


def test_refresh_and_status_work_without_a_daemon(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    refreshed = world.run("refresh")
    assert (refreshed.returncode, refreshed.stdout) == (0, "reports: refreshed, expires in 59m\n")
    again = world.run("refresh", "reports")
    assert (again.returncode, again.stdout) == (0, "reports: still fresh, expires in 59m\n")
    assert world.run("refresh", "--force").stdout == refreshed.stdout
    assert world.server.calls(role) == 2
    status = world.run("status")
    assert status.returncode == 0
    assert status.stdout.splitlines()[0].split()[:2] == ["PROFILE", "ROLE"]
    assert f"profile {SOURCE}  valid  59m" in status.stdout
    assert "no daemon is running" in status.stderr


def test_refresh_uses_the_running_daemon(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    with world.running() as daemon:
        assert world.run("refresh", "reports").stdout.startswith("reports: still fresh")
        assert world.run("refresh", "reports", "--force").stdout.startswith("reports: refreshed")
        assert world.status()["profiles"][0]["refreshes"] == 2
        assert world.status()["daemon"]["pid"] == daemon.pid


def test_status_json_has_the_documented_fields(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    alone = world.status()
    assert alone["daemon"] is None
    with world.running():
        status = world.status()
    assert list(status) == ["version", "daemon", "profiles"]
    assert status["version"] == 1
    assert list(status["daemon"]) == [
        "pid",
        "version",
        "started_at",
        "config",
        "config_error",
        "clock_skew_seconds",
        "endpoint_clock_skew_seconds",
        "log_error",
        "local_fault",
    ]
    keys = [
        "profile", "role_arn", "source", "store", "state", "expires_at", "seconds_left",
        "lifetime_seconds", "refreshed_at", "next_attempt_at", "refreshes",
        "consecutive_failures", "last_error",
        "mfa_serial", "login_expires_at", "waiting_for", "waiting_seconds", "region",
        "config_profiles",
    ]  # fmt: skip
    assert list(status["profiles"][0]) == keys
    assert list(alone["profiles"][0]) == keys
    assert status["profiles"][0]["source"] == f"profile {SOURCE}"


def test_check_sends_no_request(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    checked = world.run("check")
    assert checked.returncode == 0
    assert checked.stdout == f"checked {world.config}\n1 of 1 works\n"
    assert world.server.calls(role) == 0


def test_check_live_prints_each_role_session_and_stores_nothing(world: World) -> None:
    role = world.add_role()
    denied = world.add_role(trusts="arn:aws:iam::123456789012:user/another")
    world.configure({"reports": role, "denied": denied})
    before = world.credentials.read_bytes()
    checked = world.run("check", "--live")
    assert checked.returncode == 1
    arn = role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    assert f"reports: {arn}/assumed-" in checked.stdout
    assert "denied: AccessDenied" in checked.stderr
    assert world.credentials.read_bytes() == before


def test_check_syntax_reads_no_aws_file(world: World) -> None:
    """Root checks a configuration before it is installed for others, whose AWS files it needs."""
    world.write_config(
        "profiles: {a: {role_arn: arn:aws:iam::123456789012:role/r, source_profile: x}}"
    )
    assert world.run("check").returncode == 78
    accepted = world.run("check", "--syntax", AWS_CONFIG_FILE="/proc/self/mem")
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert accepted.stdout == f"{world.config}: 1 profile, no problems in this file\n"
    world.write_config("profiles: {a: {role_arn: nonsense, source_profile: x}}")
    rejected = world.run("check", "--syntax")
    assert rejected.returncode == 78
    assert f"{world.config}:1: profiles.a.role_arn: not an ARN" in rejected.stderr
    assert world.run("check", "--syntax", "--live").returncode == 2


def test_check_finds_a_profile_whose_keys_aws_tools_ignore(world: World) -> None:
    world.configure({"reports": world.add_role()})
    (world.home / ".aws" / "config").write_text(
        "[profile reports]\nrole_arn = arn:aws:iam::123456789012:role/x\n"
        f"source_profile = {SOURCE}\n"
    )
    checked = world.run("check")
    assert checked.returncode == 1
    aws_config = world.home / ".aws" / "config"
    assert checked.stderr.startswith(f"{aws_config}:2: profile reports: because of role_arn, boto3")
    assert f"from profile {SOURCE} ({aws_config}:2)" in checked.stderr
    assert f"in {world.config}, give profile reports another name" in checked.stderr


def test_check_succeeds_with_notes_about_the_environment(world: World) -> None:
    world.configure({"reports": world.add_role()})
    checked = world.run("check", AWS_ACCESS_KEY_ID="AKIASHOWN", AWS_PROFILE="reports")
    assert checked.returncode == 0
    assert "note: AWS_ACCESS_KEY_ID: it is set in this shell" in checked.stderr
    assert "note: AWS_PROFILE: it is set in this shell, to reports" in checked.stderr
    assert "AKIASHOWN" not in checked.stderr


def test_an_invalid_configuration_makes_every_command_exit_with_78(world: World) -> None:
    world.write_config("profiles:\n  a:\n    role_arn: nonsense\n    source_profile: nowhere\n")
    for command in ("run", "check", "status", "refresh"):
        done = world.run(command)
        assert done.returncode == 78
        assert done.stderr.startswith("assumed: Configuration: 2 problems\n")
        assert f"\n{world.config}:3: profiles.a.role_arn: not an ARN" in done.stderr
        advice = "fix the file, then "
        advice += (
            "run this command again" if command == "check" else "verify it with `assumed check`"
        )
        assert done.stderr.endswith(f"\n  {advice}\n")
        assert f"{world.config}:4: profiles.a.source_profile: profile" in done.stderr


def test_a_missing_configuration_is_reported_with_an_example(world: World) -> None:
    done = world.run("run")
    assert done.returncode == 78
    expected = f"assumed: Configuration: there is no configuration file: looked for {world.config}"
    assert done.stderr.startswith(expected)
    assert "profiles:\n  my-profile:\n" in done.stderr


def test_a_configuration_that_others_can_write_is_rejected(world: World) -> None:
    world.configure({"reports": world.add_role()})
    world.config.chmod(0o666)
    done = world.run("check")
    assert done.returncode == 78
    assert f"`chmod go-w {world.config}`" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["refresh", "nope"], "assumed: Usage: profile nope is not in the configuration"),
        (["status", "nope"], "defined profiles: reports"),
        (["sttus"], "No such command 'sttus'"),
        (["run", "--log-level", "loud"], "Invalid value for '--log-level'"),
        (["check", "--log-file", "nowhere/at/all"], "--log-file nowhere/at/all: No such file"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_hint(
    world: World, arguments: list[str], expected: str
) -> None:
    world.configure({"reports": world.add_role()})
    done = world.run(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert not done.stdout


def test_plain_http_to_another_machine_is_rejected(world: World) -> None:
    world.configure({"reports": world.add_role()})
    done = world.run("check", "--live", AWS_ENDPOINT_URL="http://sts.example.com")
    assert done.returncode == 1
    assert "reports: PlainHttp: http://sts.example.com is plain HTTP" in done.stderr


def test_an_unreachable_endpoint_is_reported(world: World) -> None:
    world.configure({"reports": world.add_role()})
    done = world.run("refresh", "--timeout", "1s", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("reports: EndpointConnectionError: ")
    assert "profile reports: " not in done.stderr


def test_a_closed_pipe_causes_no_traceback(world: World) -> None:
    world.configure({"reports": world.add_role()})
    command = f"{' '.join(world.assumed)} status | true"
    done = subprocess.run(  # noqa: S602
        command, shell=True, env=world.environ, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr


def test_version_and_help_of_every_command_are_printed(world: World) -> None:
    assert world.run("--version").stdout.startswith("assumed ")
    listed = world.run("--help").stdout
    for command in _COMMANDS:
        assert f"\n  {command} " in listed
    assert "\n  assumed service install\n" in world.run("service", "--help").stdout
    # `completion` has no options.
    single = [[name] for name in _COMMANDS if name not in {"completion", "service"}]
    service = [["service", each] for each in ("install", "uninstall", "status", "restart", "logs")]
    for words in (*single, *service):
        shown = world.run(*words, "--help").stdout
        assert " ".join(["assumed", *words]) in shown.partition("\nExamples:\n")[2]
        is_without_config = words in (["demo"], *service[1:])
        assert ("--config FILE" in shown) is not is_without_config
        for option in ("--log-level", "--log-format", "--log-file FILE"):
            assert option in shown


def test_json_logs_have_one_object_per_line(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with world.running("--log-format", "json") as daemon:
        daemon.stop()
    lines = [json.loads(line) for line in daemon.log.read_text().splitlines()]
    assert [line["event"] for line in lines] == [
        "daemon_started", "profile_refreshed", "daemon_stopped",
    ]  # fmt: skip


def test_logout_removes_only_what_assumed_wrote(world: World) -> None:
    world.configure({"one": world.add_role(), "two": world.add_role()})
    before = world.credentials.read_bytes()
    assert world.run("refresh").returncode == 0
    assert world.run("logout", "one", "nope").stdout == ("one: removed\nnope: nothing to remove\n")
    assert "[two]" in world.credentials.read_text()
    world.config.unlink()
    assert world.run("logout").stdout == "two: removed\n"
    assert world.credentials.read_bytes() == before
    assert world.run("logout").stdout == "nothing to remove from the credentials file\n"


def test_logout_fails_while_a_daemon_refreshes_the_profile(world: World) -> None:
    role = world.add_role()
    world.configure({"one": role, "two": world.add_role()})
    with world.running() as daemon:
        refused = world.run("logout")
        assert refused.returncode == 1
        assert (
            f"pid {daemon.pid} would write the credentials of one and two again" in refused.stderr
        )
        assert "[one]" in world.credentials.read_text()
        disabled = {"role_arn": role, "source_profile": SOURCE, "enabled": "false"}
        world.configure({"one": disabled, "two": world.add_role()})
        daemon.wait_for("config_reloaded")
        assert world.run("logout", "one").stdout == "one: removed\n"
        assert "[one]" not in world.credentials.read_text()


def test_the_log_says_why_the_daemon_did_not_start(world: World) -> None:
    world.write_config("profiles:\n  a:\n    role_arn: nonsense\n    source_profile: nowhere\n")
    done = world.run("run", "--log-format", "json")
    assert done.returncode == 78
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["daemon_not_started"] * 2
    assert "profiles.a.role_arn: not an ARN" in lines[0]["error"]
    log = world.home / "a.log"
    shown = world.run("run", "--log-file", str(log))
    assert "profiles.a.role_arn: not an ARN" in shown.stderr
    assert log.read_text().count("daemon_not_started") == 2
