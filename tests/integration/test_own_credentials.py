from __future__ import annotations

import json
import re
import sys

from tests.integration.test_daemon import session_arn
from tests.integration.world import SOURCE, World, wait_until


def process(world: World, role: str) -> None:
    """Make profile `process` a credential_process with a role, which counts its runs."""
    found = world.session(role, "mine")
    (world.home / "answer").write_text(json.dumps({"Version": 1, **found}))
    program = world.home / "program.py"
    program.write_text(
        "import pathlib, sys\n"
        "home = pathlib.Path(sys.argv[1])\n"
        "home.joinpath('runs').open('a').write('x')\n"
        "print(home.joinpath('answer').read_text())\n"
    )
    (world.home / ".aws" / "config").write_text(
        f"[profile process]\ncredential_process = {sys.executable} {program} {world.home}\n"
    )


def test_credentials_of_a_credential_process_are_kept_fresh_in_the_file(world: World) -> None:
    role = world.add_role()
    process(world, role)
    world.configure({"plain": {"source_profile": "process"}})
    with world.running():
        assert world.caller("plain") == f"{session_arn(role).removesuffix('assumed-')}mine"
        (status,) = world.status()["profiles"]
        assert (status["role_arn"], status["state"]) == (None, "valid")
        assert "plain" in world.run("status").stdout
        assert (world.home / "runs").read_text() == "x"
        # The process has new ones: it runs once, and they are written.
        process(world, role)
        assert world.run("refresh", "--force").returncode == 0
        assert (world.home / "runs").read_text() == "xx"
        new = json.loads((world.home / "answer").read_text())
        assert new["AccessKeyId"] in world.credentials.read_text()
    assert new["SecretAccessKey"] not in world.written()


def test_a_restart_runs_the_process_again_and_without_a_daemon_the_state_is_pending(
    world: World,
) -> None:
    process(world, world.add_role())
    world.configure({"plain": {"source_profile": "process"}})
    for runs in ("x", "xx"):
        with world.running():
            assert world.states() == {"plain": "valid"}
        assert (world.home / "runs").read_text() == runs
    assert world.states() == {"plain": "pending"}


def test_check_live_shows_the_identity_and_the_remaining_lifetime(world: World) -> None:
    role = world.add_role()
    process(world, role)
    world.configure({"plain": {"source_profile": "process"}, "keys": {"source_profile": SOURCE}})
    checked = world.run("check", "--live")
    assert checked.returncode == 1
    own = f"{session_arn(role).removesuffix('assumed-')}mine"
    kept, source, *_ = checked.stdout.splitlines()
    assert re.fullmatch(rf"plain: {own}, valid for (59m|1h00m), answered in \d+ ms", kept)
    assert source == f"  from profile process: {own}"
    assert "keys: LongTermKeys: " in checked.stderr
    assert f"\n  from profile {SOURCE}\n" in checked.stderr


def test_long_term_keys_are_rejected_and_their_file_is_unchanged(world: World) -> None:
    before = world.credentials.read_bytes()
    world.configure({"plain": {"source_profile": SOURCE}})
    with world.running() as daemon:
        shown = world.run("status").stdout
        assert f"LongTermKeys: source profile {SOURCE} holds long-term keys" in shown
        assert "give the profile a `role_arn`" in shown
        assert world.credentials.read_bytes() == before
        role = world.add_role()
        world.configure({"plain": {"source_profile": SOURCE, "role_arn": role}})
        wait_until(lambda: world.states() == {"plain": "valid"}, "the reload")
        assert daemon.stop() == 0
