from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

from tests.integration.world import SOURCE, World, wait_until


def session_arn(role_arn: str) -> str:
    return role_arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/assumed-"


def test_the_aws_cli_works_with_a_refreshed_profile(world: World) -> None:
    role = world.add_role()
    before = world.credentials.read_text()
    world.configure({"reports": role})
    with world.running() as daemon:
        assert world.caller("reports").startswith(session_arn(role))
        assert world.aws("s3", "ls", "--profile", "reports").returncode == 0
        assert world.aws("s3", "mb", "s3://mine", "--profile", "reports").returncode != 0
        assert daemon.stop() == 0
    assert world.credentials.read_text().startswith(before)
    assert stat.S_IMODE(world.credentials.stat().st_mode) == 0o600
    # Only the credentials and the two lock files remain, and no other user can read them.
    remaining = sorted(path.name for path in world.credentials.parent.iterdir())
    assert remaining == [".credentials.assumed-daemon", ".credentials.assumed-lock", "credentials"]


def test_a_chain_of_three_roles_is_assumed_parents_first(world: World) -> None:
    first = world.add_role()
    second = world.add_role(trusts=first)
    third = world.add_role(trusts=second)
    world.configure(
        {
            "third": {"role_arn": third, "source_profile": "second"},
            "second": {"role_arn": second, "source_profile": "first"},
            "first": first,
        }
    )
    with world.running():
        assert set(world.states().values()) == {"valid"}
        assert world.caller("third").startswith(session_arn(third))
    assert world.server.calls(first, second, third) == 3


def test_sighup_reloads_and_assumes_only_new_roles(world: World) -> None:
    old, kept, new = world.add_role(), world.add_role(), world.add_role()
    world.configure({"old": old, "kept": kept})
    with world.running() as daemon:
        world.configure({"kept": kept, "new": new})
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: world.states() == {"kept": "valid", "new": "valid"}, "the reload")
        assert world.caller("new").startswith(session_arn(new))
        # The session of a removed profile stays in the file until it expires.
        assert world.caller("old").startswith(session_arn(old))
    assert world.server.calls(old, kept, new) == 3


def test_an_invalid_configuration_is_rejected_and_the_old_one_stays_active(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    with world.running() as daemon:
        world.write_config("profiles:\n  reports:\n    role_arm: nonsense\n")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config_rejected")
        status = world.status()
        assert "did you mean role_arn?" in status["daemon"]["config_error"]
        assert status["profiles"][0]["state"] == "valid"
        assert world.run("refresh", "--force").returncode == 0
        shown = world.run("status")
        assert (
            "the configuration file cannot be used, so the previous configuration is used"
            in shown.stderr
        )
        world.configure({"reports": role})
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config_reloaded")
        assert world.status()["daemon"]["config_error"] is None


def test_sigterm_stops_the_daemon_while_sts_hangs(world: World) -> None:
    role = world.add_role()
    world.server.disturb(role, "hang")
    world.configure({"reports": role})
    with world.daemon() as daemon:
        wait_until(lambda: world.server.calls(role) == 1, "the call")
        daemon.signal(signal.SIGTERM)
        # botocore would wait for 10 s.
        assert daemon.process.wait(5) == 0
    world.server.disturb(role, "")
    assert "[reports]" not in world.credentials.read_text()


def test_sigint_stops_the_daemon_with_status_130(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with world.running() as daemon:
        daemon.signal(signal.SIGINT)
        assert daemon.process.wait(30) == 130


def test_a_hanging_and_a_denied_role_delay_no_other(world: World) -> None:
    hanging, good = world.add_role(), world.add_role()
    denied = world.add_role(trusts="arn:aws:iam::123456789012:user/other")
    world.server.disturb(hanging, "hang")
    world.configure({"hanging": hanging, "denied": denied, "good": good})
    with world.daemon() as daemon:
        daemon.wait_for("profile_refreshed profile=good")
        daemon.wait_for("refresh_failed profile=denied")
        assert world.states() == {"hanging": "pending", "denied": "failing", "good": "valid"}
        status = world.run("status")
        assert status.returncode == 1
        assert f"arn:aws:iam::123456789012:user/{world.user_name} is not authorized" in (
            status.stdout
        )
        assert f"the trust policy of {denied}" in status.stdout
    world.server.disturb(hanging, "")


def test_faults_of_sts_are_logged_and_retried(world: World) -> None:
    faults = {"throttle": "Throttling", "break": "InternalFailure", "garbage": "BadAnswer"}
    roles = {fault: world.add_role() for fault in faults}
    for fault, role in roles.items():
        world.server.disturb(role, fault)
    world.configure(roles)
    with world.daemon() as daemon:
        for fault, code in faults.items():
            daemon.wait_for(f"refresh_failed profile={fault} role_arn={roles[fault]} ")
            daemon.wait_for(f"error_code={code}")
        for role in roles.values():
            world.server.disturb(role, "")
        wait_until(lambda: set(world.states().values()) == {"valid"}, "the recovery")
        daemon.wait_for("profile_recovered", times=3)


def test_a_restart_with_fresh_sessions_makes_no_call(world: World) -> None:
    first = world.add_role()
    second = world.add_role(trusts=first)
    world.configure({"first": first, "second": {"role_arn": second, "source_profile": "first"}})
    with world.running() as daemon:
        assert daemon.stop() == 0
    before = world.credentials.read_bytes()
    with world.running():
        assert set(world.states().values()) == {"valid"}
    assert world.server.calls(first, second) == 2
    assert world.credentials.read_bytes() == before


def test_a_daemon_starts_after_another_was_killed(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    with world.running() as daemon:
        daemon.process.kill()
        daemon.process.wait()
    with world.running():
        assert world.states() == {"reports": "valid"}


def test_a_second_daemon_exits_and_names_the_first(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    with world.running() as first:
        other_runtime = world.run("run", XDG_RUNTIME_DIR=str(world.home / "other"))
        other_file = world.config.with_name("other.yaml")
        other_file.touch(mode=0o600)
        other_file.write_text(
            f"{world.config.read_text()}\n".replace(
                '{"profiles"', f'{{"credentials_file": {{"path": "{world.home}/other"}}, "profiles"'
            )
        )
        same_runtime = world.run("run", "--config", str(other_file))
        for second in (other_runtime, same_runtime):
            assert second.returncode == 1
            assert f"pid {first.pid}" in second.stderr
            assert str(world.config) in second.stderr
        assert world.states() == {"reports": "valid"}


def test_a_second_daemon_is_refused_although_the_lock_files_were_removed(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with world.running() as first:
        for lock in world.credentials.parent.glob(".credentials.assumed-*"):
            lock.unlink()
        (world.home / "run" / "assumed" / "assumed.lock").unlink()
        for runtime in ("other", "run"):
            second = world.run("run", XDG_RUNTIME_DIR=str(world.home / runtime))
            assert second.returncode == 1
            assert f"assumed with pid {first.pid} is already running and holds" in second.stderr
        assert world.states() == {"reports": "valid"}
        assert first.stop() == 0
    # The name went with its process.
    with world.running() as third:
        assert third.stop() == 0


def test_a_killed_daemon_leaves_no_lock_behind(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with world.running() as first:
        first.process.kill()
        first.process.wait()
    with world.running():
        assert world.states() == {"reports": "valid"}


def test_credentials_in_the_environment_are_ignored(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    foreign = {
        "AWS_PROFILE": "other",
        "AWS_ACCESS_KEY_ID": "AKIAFOREIGN",
        "AWS_SECRET_ACCESS_KEY": "foreign",
        "AWS_SESSION_TOKEN": "foreign",
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/foreign",
    }
    with world.running(**foreign):
        assert world.states() == {"reports": "valid"}


def test_the_profile_has_the_fields_that_other_tools_read(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    with world.running():
        status = world.status()["profiles"][0]
    section = world.credentials.read_text().partition("[reports]\n")[2]
    keys = dict(line.split(" = ") for line in section.splitlines() if line)
    assert keys["manager"] == "assumed"
    assert keys["x_security_token_expires"] == status["expires_at"]
    assert keys["x_principal_arn"].startswith(session_arn(role))
    assert keys["aws_account_id"] == "123456789012"
    assert 3500 < status["seconds_left"] <= 3600


def test_a_log_file_is_reopened_after_rotation(world: World) -> None:
    world.configure({"reports": world.add_role()})
    log = world.home / "assumed.log"
    with world.running("--log-file", str(log), "--log-format", "json"):
        log.rename(world.home / "assumed.log.1")
        assert world.run("refresh", "--force").returncode == 0
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["event"] for line in lines if line["level"] != "debug"] == [
            "profile_refreshed"
        ]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_daemon_creates_no_core_and_cannot_be_traced(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with world.running() as daemon:
        limits = Path(f"/proc/{daemon.pid}/limits").read_text().splitlines()
        (core,) = [line for line in limits if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]
        # The /proc files of a process that is not dumpable belong to root (proc(5)).
        assert Path(f"/proc/{daemon.pid}/environ").stat().st_uid == 0
        socket = world.home / "run" / "assumed" / "assumed.sock"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert socket.stat().st_uid == os.geteuid()


def test_a_malformed_credentials_file_is_reported_and_then_recovers(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    good = world.credentials.read_text()
    world.credentials.write_text(f"{good}not a key\n")
    with world.daemon() as daemon:
        # No AWS tool can read such a file, not even the keys of the source profile.
        daemon.process.wait(30)
        assert daemon.process.returncode == 1
        assert f"{world.credentials}:6: a line that is no" in daemon.log.read_text()
    world.credentials.write_text(good)
    with world.running() as daemon:
        world.credentials.write_text(f"{world.credentials.read_text()}not a key\n")
        failed = world.run("refresh", "--force")
        assert failed.returncode == 1
        daemon.wait_for("credentials_file_unreadable")
        world.credentials.write_text(good)
        daemon.wait_for("credentials_file_readable")
        wait_until(lambda: world.states() == {"reports": "valid"}, "the recovery")
        assert f"[{SOURCE}]" in world.credentials.read_text()
        assert "[reports]" in world.credentials.read_text()


def test_a_profile_that_another_program_overwrote_is_restored(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    with world.running() as daemon:
        before = world.credentials.read_text()
        world.aws("configure", "set", "aws_session_token", "foreign", "--profile", "reports")
        daemon.wait_for("profile_overwritten profile=reports")
        daemon.wait_for("profile_restored profile=reports")
        assert world.credentials.read_text() == before
        assert world.caller("reports").startswith(session_arn(role))
    assert world.server.calls(role) == 1


def test_a_saved_configuration_is_reloaded_without_a_signal(world: World) -> None:
    first, second = world.add_role(), world.add_role()
    world.configure({"first": first})
    with world.running() as daemon:
        world.write_config("profiles:\n  half")
        daemon.wait_for("config_rejected")
        # As editors do it: a new file replaces the old one.
        new = world.config.with_name("new")
        world.configure({"first": first, "second": second})
        world.config.rename(new)
        new.rename(world.config)
        wait_until(lambda: world.states() == {"first": "valid", "second": "valid"}, "the reload")
    assert world.server.calls(first, second) == 2


def test_new_keys_of_the_source_are_used_at_once(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    good = world.credentials.read_text()
    world.credentials.write_text(good.replace("aws_access_key_id = ", "aws_access_key_id = X"))
    with world.daemon() as daemon:
        daemon.wait_for("error_code=InvalidClientTokenId")
        assert world.states() == {"reports": "needs-login"}
        world.credentials.write_text(good)
        daemon.wait_for("source_changed profile=reports")
        wait_until(lambda: world.states() == {"reports": "valid"}, "the refresh")


def test_forty_hanging_roles_do_not_delay_thirty_others(world: World) -> None:
    hanging = [world.add_role() for _ in range(40)]
    good = {f"good{number}": world.add_role() for number in range(30)}
    for role in hanging:
        world.server.disturb(role, "hang")
    profiles = {f"hanging{number}": role for number, role in enumerate(hanging)}
    world.configure({**profiles, **good})
    with world.daemon() as daemon:
        daemon.wait_for("profile_refreshed profile=good", times=30)
        # None of the hanging calls has timed out yet, so nothing waited for them.
        assert "refresh_failed" not in daemon.log.read_text()
    for role in hanging:
        world.server.disturb(role, "")


def test_a_hundred_rapid_saves_end_with_the_last_configuration_and_no_extra_call(
    world: World,
) -> None:
    first, second = world.add_role(), world.add_role()
    world.configure({"first": first})
    with world.running() as daemon:
        for number in range(100):
            if number % 2:
                world.write_config("profiles:\n  half: {")
            else:
                world.configure({"first": first})
        world.configure({"first": first, "second": second})
        wait_until(lambda: world.states() == {"first": "valid", "second": "valid"}, "the reload")
        assert world.status()["daemon"]["config_error"] is None
        assert daemon.process.poll() is None
    assert world.server.calls(first, second) == 2
