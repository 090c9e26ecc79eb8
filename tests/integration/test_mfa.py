from __future__ import annotations

import json
import os
import pty
import stat
import sys
from pathlib import Path

from tests.integration.terminal import terminal
from tests.integration.test_daemon import session_arn
from tests.integration.world import SOURCE, World, wait_until


def session_files(world: World) -> list[Path]:
    return list((world.home / ".local" / "state" / "assumed" / "mfa").glob("*"))


def with_mfa(world: World, serial: str, *roles: str, **more: object) -> None:
    profiles = {f"role{number}": {"role_arn": role} for number, role in enumerate(roles)}
    defaults = {"source_profile": SOURCE, "mfa_serial": serial, **more}
    world.write_config(json.dumps({"defaults": defaults, "profiles": profiles}))


def test_one_code_serves_every_role_and_survives_a_restart(world: World) -> None:
    mfa = world.add_role()
    roles = [world.add_role(trusts=mfa) for _ in range(3)]
    serial = world.server.add_mfa("980071", role_arn=mfa)
    with_mfa(world, serial, *roles)
    with world.running() as daemon:
        assert set(world.states().values()) == {"needs-login"}
        shown = world.run("status").stdout
        assert f"MfaCodeNeeded: there is no valid MFA session of {serial}" in shown
        assert "enter an MFA code with `assumed login`; the daemon will retry after that" in shown
        done = world.run("login", typed="980071\n")
        assert done.returncode == 0, done.stderr
        assert f"the MFA session of {serial} is valid for 11h59m" in done.stdout
        wait_until(lambda: set(world.states().values()) == {"valid"}, "the refreshes")
        assert world.caller("role2").startswith(session_arn(roles[2]))
        assert world.status()["profiles"][0]["mfa_serial"] == serial
        assert daemon.stop() == 0
    (file,) = session_files(world)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with world.running():
        assert world.run("refresh", "--force").returncode == 0
    (sent,) = world.server.session_tokens(serial)
    assert sent["DurationSeconds"] == "43200"
    assert "980071" not in world.written()
    assert json.loads(file.read_text())["secret_access_key"] not in world.written()


def test_login_without_a_daemon_saves_the_session_for_the_next_command(world: World) -> None:
    mfa = world.add_role()
    role = world.add_role(trusts=mfa)
    serial = world.server.add_mfa("980071", role_arn=mfa)
    with_mfa(world, serial, role, mfa_session="36h")
    failed = world.run("refresh")
    assert failed.returncode == 1
    assert "with `assumed login`; then run the command again" in failed.stderr
    assert world.run("login", "role0", typed="980071").returncode == 0
    assert world.run("refresh").returncode == 0
    assert world.caller("role0").startswith(session_arn(role))
    assert world.server.session_tokens(serial)[0]["DurationSeconds"] == "129600"
    assert "nothing to do" in world.run("login").stdout


def test_a_wrong_code_and_a_used_one_are_rejected_and_not_logged(world: World) -> None:
    mfa = world.add_role()
    role = world.add_role(trusts=mfa)
    serial = world.server.add_mfa("980071", role_arn=mfa)
    with_mfa(world, serial, role)
    with world.running():
        for typed, status, message in [
            ("12345", 2, "an MFA code is six digits"),
            ("654321", 1, "invalid MFA one time pass code"),
            ("654321", 1, "this MFA code was already used"),
        ]:
            refused = world.run("login", "role0", typed=typed)
            assert refused.returncode == status, refused.stderr
            assert message in refused.stderr
        assert len(world.server.session_tokens(serial)) == 1
        assert world.run("login", "role0", typed="980071").returncode == 0
        wait_until(lambda: world.states() == {"role0": "valid"}, "the refresh")
    assert "654321" not in world.written()


def test_an_expiring_session_is_logged_and_needs_the_next_code(world: World) -> None:
    mfa = world.add_role()
    role = world.add_role(trusts=mfa)
    serial = world.server.add_mfa("111111", "222222", role_arn=mfa, seconds=20)
    with_mfa(world, serial, role)
    with world.running() as daemon:
        assert world.run("login", "role0", typed="111111").returncode == 0
        daemon.wait_for("login_expires_soon profile=role0")
        wait_until(lambda: world.states() == {"role0": "valid"}, "the refresh")
        assert f"the MFA session of {serial} expires in" in world.run("status").stdout
        wait_until(
            lambda: world.status()["profiles"][0]["login_expires_at"] is None, "the expiration"
        )
        # The role session is still valid; the next one needs a code.
        assert world.caller("role0").startswith(session_arn(role))
        assert world.run("refresh", "--force").returncode == 1
        assert world.states() == {"role0": "needs-login"}
        assert world.run("login", typed="222222").returncode == 0
        wait_until(lambda: world.states() == {"role0": "valid"}, "the refresh after the login")


def test_mfa_process_gives_the_codes(world: World) -> None:
    mfa = world.add_role()
    roles = [world.add_role(trusts=mfa) for _ in range(2)]
    serial = world.server.add_mfa("980071", role_arn=mfa)
    program = world.home / "device.py"
    program.write_text(
        "import pathlib, sys\n"
        "pathlib.Path(sys.argv[1], 'runs').open('a').write('x')\n"
        "print('touch your key', file=sys.stderr)\n"
        "print('980071')\n"
    )
    command = [sys.executable, str(program), str(world.home)]
    with_mfa(world, serial, *roles, mfa_process=command)
    with world.running():
        assert set(world.states().values()) == {"valid"}
    assert (world.home / "runs").read_text() == "x", "once for both roles"
    assert "touch your key" not in world.written()
    assert "980071" not in world.written()


def test_a_code_goes_with_each_assume_role_without_an_mfa_session(world: World) -> None:
    roles = [world.add_role(), world.add_role()]
    for role in roles:
        world.server.allow_seconds(role, 43200)
    serial = world.server.add_mfa("111111", "222222", "333333", role_arn=roles[0])
    with_mfa(world, serial, *roles, mfa_session="none", duration_seconds="12h")
    with world.running() as daemon:
        assert set(world.states().values()) == {"needs-login"}
        shown = " ".join(world.run("status").stdout.split())
        assert f"the next session needs an MFA code of {serial} (`mfa_session: none`)" in shown
        assert "enter one with `assumed login role0`; the daemon will retry after that" in shown
        # One code each: the first line of standard input is for role0.
        done = world.run("login", typed="111 111\n222222\n")
        assert done.returncode == 0, done.stderr
        assert f"role1: the MFA session of {serial} is valid for 11h59m" in done.stdout
        assert world.states() == {"role0": "valid", "role1": "valid"}
        (status, _) = world.status()["profiles"]
        assert (status["mfa_serial"], status["lifetime_seconds"]) == (serial, 43200)
        assert status["login_expires_at"] == status["expires_at"]
        # It is due two hours before its end, as late as an MFA session is announced.
        assert "in 9h" in world.run("status").stdout
        wrong = world.run("login", "role0", typed="999999")
        assert wrong.returncode == 1
        assert "MfaCodeRejected: " in wrong.stderr
        assert world.run("login", "role0", typed="333333").returncode == 0
        assert daemon.stop() == 0
    sent = world.server.requests(roles[0])
    assert [each.get("TokenCode") for each in sent] == ["111111", "999999", "333333"]
    assert {each["SerialNumber"] for each in sent} == {serial}
    assert {each["DurationSeconds"] for each in sent} == {"43200"}
    assert world.server.session_tokens(serial) == []
    assert session_files(world) == []
    # A restart needs no code.
    with world.running():
        assert set(world.states().values()) == {"valid"}
    assert not any(code in world.written() for code in ("111111", "222222", "333333"))


def test_a_code_without_an_mfa_session_needs_no_daemon(world: World) -> None:
    role = world.add_role()
    serial = world.server.add_mfa("111111", "222222", role_arn=role)
    with_mfa(world, serial, role, mfa_session="none", duration_seconds="12h")
    failed = world.run("refresh")
    assert failed.returncode == 1
    assert "with `assumed login role0`; then run the command again" in failed.stderr
    # This role allows an hour; STS may have used up the code.
    too_long = world.run("login", typed="111111")
    assert too_long.returncode == 1
    assert "enter the next one, whose session lasts an hour; or lower" in too_long.stderr
    world.server.allow_seconds(role, 43200)
    assert world.run("login", typed="222222").returncode == 0
    assert world.caller("role0").startswith(session_arn(role))
    assert world.run("refresh").stdout.startswith("role0: still fresh")


def test_mfa_process_gives_the_code_of_each_assume_role(world: World) -> None:
    role = world.add_role()
    serial = world.server.add_mfa("980071", role_arn=role)
    with_mfa(world, serial, role, mfa_session="none", mfa_process=["echo", "980071"])
    assert world.run("refresh").returncode == 0
    assert world.server.requests(role)[0]["TokenCode"] == "980071"


def test_login_asks_three_times_on_a_terminal(world: World) -> None:
    mfa = world.add_role()
    role = world.add_role(trusts=mfa)
    serial = world.server.add_mfa("980071", role_arn=mfa)
    with_mfa(world, serial, role)
    with terminal(world, *world.assumed, "login") as shell:
        shell.wait_for("(for role0): ")
        shell.type("12345\n")
        shell.wait_for("an MFA code is six digits")
        shell.wait_for("(for role0): ")
        shell.type("654321\n")
        shell.wait_for("MfaCodeRejected: ")
        shell.wait_for("(for role0): ")
        shell.type("980 071\n")
        shell.wait_for("role0: refreshed, expires in")
        assert shell.status() == 0
    assert world.caller("role0").startswith(session_arn(role))


def test_login_gives_up_after_the_third_wrong_code(world: World) -> None:
    mfa = world.add_role()
    serial = world.server.add_mfa(role_arn=mfa)
    with_mfa(world, serial, world.add_role(trusts=mfa))
    with terminal(world, *world.assumed, "login") as shell:
        for code in ("654321", "654322", "654323"):
            shell.wait_for("(for role0): ")
            shell.type(f"{code}\n")
            shell.wait_for("MfaCodeRejected: ")
        assert shell.status() == 1
    assert len(world.server.session_tokens(serial)) == 3


def test_a_profile_can_hold_the_mfa_session_itself(world: World) -> None:
    mfa = world.add_role()
    serial = world.server.add_mfa("980071", role_arn=mfa)
    world.configure({"mfa": {"source_profile": SOURCE, "mfa_serial": serial}})
    assert world.run("login", typed="980071").returncode == 0
    assert world.run("refresh").returncode == 0
    assert world.caller("mfa") == f"{session_arn(mfa).removesuffix('assumed-')}mfa"


def test_login_does_not_echo_the_code(world: World) -> None:
    mfa = world.add_role()
    role = world.add_role(trusts=mfa)
    serial = world.server.add_mfa("980071", role_arn=mfa)
    with_mfa(world, serial, role)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(world.assumed[0], [*world.assumed, "login"], world.environ)  # noqa: S606
    shown = b""
    while b"(for role0): " not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"980071\n")
    try:
        while part := os.read(terminal, 1024):
            shown += part
    except OSError:
        pass  # Linux reports the end of a terminal so
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown
    assert f"MFA code of {serial}".encode() in shown
    assert b"980071" not in shown


def test_logout_removes_the_sessions(world: World) -> None:
    mfa = world.add_role()
    serial = world.server.add_mfa("980071", role_arn=mfa)
    with_mfa(world, serial, world.add_role(trusts=mfa))
    assert world.run("login", typed="980071").returncode == 0
    assert len(session_files(world)) == 1
    assert world.run("logout").returncode == 0
    assert session_files(world) == []
