"""Troubles of a machine that pass: a running daemon heals by itself, a start waits."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.test_systemd import Manager
from tests.integration.test_web_identity import PROVIDER
from tests.integration.world import SOURCE, AwsServer, Daemon, World, wait_until

COMPILER = shutil.which("cc") or shutil.which("gcc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler to make files fail")

# The longest step of the back-off, and a beat.
HEALED_WITHIN_SECONDS = 30


class FailingFiles:
    """Makes calls on files fail in all processes that run in `environ`."""

    def __init__(self, directory: Path) -> None:
        library = directory / "failing_files.so"
        source = Path(__file__).with_name("failing_files.c")
        subprocess.run(  # noqa: S603
            [str(COMPILER), "-shared", "-fPIC", "-O1", "-o", str(library), str(source)],
            check=True,
        )
        self._control = directory / "control"
        self.environ = {"LD_PRELOAD": str(library), "FAILING_FILES": str(self._control)}

    def fail(self, number: int, *paths: Path | str) -> None:
        new = self._control.with_name("new")
        new.write_text("".join(f"{number} {path}\n" for path in paths))
        new.replace(self._control)

    def work(self) -> None:
        self._control.unlink()


@pytest.fixture
def failing(tmp_path_factory: pytest.TempPathFactory) -> FailingFiles:
    return FailingFiles(tmp_path_factory.mktemp("failing"))


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def seconds_until(is_so: Callable[[], bool], what: str) -> float:
    began = time.monotonic()
    wait_until(is_so, what)
    return time.monotonic() - began


def check_healed(seconds: float) -> None:
    print(f"healed in {seconds:.0f} s")  # noqa: T201 - docs/failures.md has it
    assert seconds < HEALED_WITHIN_SECONDS


def events(daemon: Daemon, name: str) -> list[str]:
    return [line for line in daemon.log.read_text().splitlines() if name in line.split()]


def descriptors(daemon: Daemon) -> dict[int, str]:
    directory = Path(f"/proc/{daemon.pid}/fd")
    found = {int(link.name): link for link in directory.iterdir()}
    return {number: str(found[number].readlink()) for number in sorted(found)}


def is_valid(world: World, *profiles: str) -> bool:
    states = world.states()
    return all(states.get(profile) == "valid" for profile in profiles)


@needs_compiler
@pytest.mark.parametrize(
    ("number", "place"),
    [
        (errno.EIO, ".config/assumed"),
        (errno.ESTALE, ".config/assumed"),
        (errno.EMFILE, ".config/assumed/config.yaml"),
        (errno.ESTALE, ".aws"),
        (errno.EIO, ".aws/credentials"),
    ],
)
def test_a_start_waits_for_files_that_cannot_be_read(
    world: World, failing: FailingFiles, number: int, place: str
) -> None:
    world.configure({"reports": world.add_role()})
    failing.fail(number, world.home / place)
    with world.daemon(**failing.environ) as daemon:
        daemon.wait_for("start_delayed")
        assert os.strerror(number) in daemon.log.read_text()
        failing.work()
        check_healed(seconds_until(lambda: is_valid(world, "reports"), "the profile"))
        assert len(events(daemon, "start_delayed")) == 1


@needs_compiler
@pytest.mark.parametrize("command", [["check"], ["refresh"], ["status"], ["wait", "reports"]])
def test_a_stale_configuration_is_an_error_without_a_traceback(
    world: World, failing: FailingFiles, command: list[str]
) -> None:
    world.configure({"reports": world.add_role()})
    failing.fail(errno.ESTALE, world.config)
    done = world.run(*command, **failing.environ)
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1}, done.stderr


@pytest.mark.parametrize("missing", [".config", ".aws"])
def test_under_systemd_a_start_waits_for_a_home_that_is_mounted_late(
    world: World, manager: Manager, missing: str
) -> None:
    world.configure({"reports": world.add_role()})
    away = world.home / "not mounted"
    (world.home / missing).rename(away)
    with world.daemon(NOTIFY_SOCKET=str(manager.path)) as daemon:
        wait_until(lambda: manager.received("STATUS=waiting: "), "the status")
        daemon.wait_for("start_delayed")
        away.rename(world.home / missing)
        check_healed(seconds_until(lambda: is_valid(world, "reports"), "the profile"))
        wait_until(lambda: manager.received("READY=1"), "READY")


def test_a_start_waits_for_a_configuration_that_was_named_and_stops_on_sigterm(
    world: World,
) -> None:
    with world.daemon("--config", str(world.home / "late" / "config.yaml")) as daemon:
        daemon.wait_for("start_delayed")
        daemon.signal(signal.SIGHUP)
        assert daemon.stop() == 0


def test_a_wrong_configuration_and_none_at_all_end_at_once(world: World, manager: Manager) -> None:
    none = world.run("run")
    assert none.returncode == 78
    assert "`assumed init`" in none.stderr
    world.write_config("profiles: {a: {role_arm: x}}\n")
    wrong = world.run("run", NOTIFY_SOCKET=str(manager.path))
    assert wrong.returncode == 78
    world.configure({"reports": {"role_arn": world.add_role(), "source_profile": "nowhere"}})
    assert world.run("run", NOTIFY_SOCKET=str(manager.path)).returncode == 78


@needs_compiler
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_known_source_credentials_are_used_while_the_aws_files_are_unreadable(
    world: World, failing: FailingFiles, number: int
) -> None:
    role = world.add_role()
    world.configure(
        {"kept": {"role_arn": role, "source_profile": SOURCE, "store": "memory"}},
    )
    with world.running(**failing.environ) as daemon:
        failing.fail(number, world.credentials, world.credentials.with_name("config"))
        done = world.run("refresh", "--force", "kept")
        assert done.returncode == 0, done.stderr
        daemon.wait_for("aws_files_unreadable")
        assert is_valid(world, "kept")
        failing.work()
        check_healed(seconds_until(lambda: bool(events(daemon, "aws_files_readable")), "the files"))
        assert len(events(daemon, "aws_files_unreadable")) == 1
        assert "SourceMissing" not in daemon.log.read_text()


@needs_compiler
def test_a_configuration_that_is_unreadable_for_a_while_stays_active_and_is_read_again(
    world: World, failing: FailingFiles
) -> None:
    role = world.add_role()
    world.configure({"one": role})
    with world.running(**failing.environ) as daemon:
        world.configure({"one": role, "two": role})
        failing.fail(errno.ESTALE, world.config)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config_unreadable")
        assert is_valid(world, "one")
        failing.work()
        check_healed(seconds_until(lambda: is_valid(world, "one", "two"), "the new profile"))
        assert len(events(daemon, "config_unreadable")) == 1
        assert not events(daemon, "config_rejected")


def test_a_source_profile_that_is_added_later_makes_a_rejected_configuration_valid(
    world: World,
) -> None:
    role = world.add_role()
    world.configure({"one": role})
    with world.running() as daemon:
        world.configure({"one": role, "two": {"role_arn": role, "source_profile": "later"}})
        daemon.wait_for("config_rejected")
        assert world.run("check").returncode == 78
        text = world.credentials.read_text()
        keys = text[text.index(f"[{SOURCE}]") :].split("\n\n")[0].replace(SOURCE, "later")
        world.credentials.with_name("config").write_text(
            keys.replace("[later]", "[profile later]") + "\n"
        )
        check_healed(seconds_until(lambda: is_valid(world, "one", "two"), "the new profile"))
        assert world.run("check").returncode == 0
        world.credentials.with_name("config").unlink()
        daemon.wait_for("config_rejected", times=2)
        assert world.run("check").returncode == 78
        assert is_valid(world, "one")


@pytest.mark.parametrize("place", ["file", "directory"])
def test_a_mode_that_lets_others_write_the_configuration_is_noticed_and_its_end_too(
    world: World, place: str
) -> None:
    world.configure({"one": world.add_role()})
    path = world.config if place == "file" else world.config.parent
    before = path.stat().st_mode
    with world.running() as daemon:
        path.chmod(0o777)
        check_healed(seconds_until(lambda: bool(events(daemon, "config_rejected")), "it"))
        assert world.run("check").returncode == 78
        assert is_valid(world, "one")
        assert "cannot be used" in world.run("status").stderr
        path.chmod(before)
        check_healed(seconds_until(lambda: bool(events(daemon, "config_reloaded")), "the reload"))
        assert world.run("check").returncode == 0


def test_a_configuration_behind_the_links_of_kubernetes_is_read_again(world: World) -> None:
    role, directory = world.add_role(), world.config.parent
    world.configure({"one": role})
    (directory / "..1").mkdir(mode=0o700)
    world.config.rename(directory / "..1" / "config.yaml")
    (directory / "..data").symlink_to("..1")
    world.config.symlink_to("..data/config.yaml")
    with world.running():
        (directory / "..2").mkdir(mode=0o700)
        both = {name: {"role_arn": role, "source_profile": SOURCE} for name in ("one", "two")}
        (directory / "..2" / "config.yaml").write_text(json.dumps({"profiles": both}))
        (directory / "..2" / "config.yaml").chmod(0o600)
        (directory / "new").symlink_to("..2")
        (directory / "new").rename(directory / "..data")
        check_healed(seconds_until(lambda: is_valid(world, "one", "two"), "the new profile"))


@pytest.fixture
def brief_world(tmp_path: Path) -> Iterator[World]:
    """A world whose sessions last 36 seconds, so that they fall due during the trouble."""
    server = AwsServer(lifetime_scale=0.01)
    world = World(tmp_path, server)
    yield world
    world.check_written()
    server.stop()


def test_a_daemon_without_descriptors_names_the_resource_and_heals(brief_world: World) -> None:
    world = brief_world
    role = world.add_role()
    world.configure(
        {
            name: {"role_arn": role, "source_profile": SOURCE, "store": store}
            for name, store in (("one", "file"), ("two", "memory"))
        }
    )
    with world.running() as daemon:
        before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        # No number is free but that of the descriptor that the API socket has in reserve.
        reserve = next(number for number, path in descriptors(daemon).items() if path == "/")
        assert reserve == len([number for number in descriptors(daemon) if number < reserve])
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (reserve + 1, before[1]))
        # Without the change nothing would have to read the AWS files.
        world.credentials.with_name("config").write_text("[profile unrelated]\n")
        daemon.wait_for("refresh_failed", times=2)
        # The socket answers, one client after the other.
        for _ in range(3):
            assert "Too many open files" in world.status()["daemon"]["local_fault"]
        text = daemon.log.read_text()
        assert len(events(daemon, "resource_exhausted")) == 1
        assert "LocalFault" in text
        assert "Too many open files" in text
        assert "SourceMissing" not in text
        assert len(text) < 100_000, "it logs without a pause"
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
        check_healed(seconds_until(lambda: is_valid(world, "one", "two"), "the profiles"))
        wait_until(lambda: world.status()["daemon"]["local_fault"] is None, "the end of it", 60)
        assert len(events(daemon, "resource_available")) == 1
        assert "Traceback" not in daemon.log.read_text()


@needs_compiler
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_token_that_cannot_be_read_for_a_while_is_a_local_fault_and_heals(
    brief_world: World, failing: FailingFiles, number: int
) -> None:
    world = brief_world
    role = world.add_role(trusts=PROVIDER)
    token = f"eyJhbGciOiJub25lIn0.eyJqdGkiOiJ{uuid.uuid4().hex}.c2ln"
    world.server.accept(token)
    path = world.home / "identity" / "token"
    path.parent.mkdir()
    path.write_text(token)
    world.configure({"pod": {"role_arn": role, "web_identity_token_file": str(path)}})
    with world.running(**failing.environ) as daemon:
        assert is_valid(world, "pod")
        failing.fail(number, path)
        daemon.wait_for("LocalFault")
        assert os.strerror(number) in daemon.log.read_text()
        failing.work()
        check_healed(seconds_until(lambda: is_valid(world, "pod"), "the profile"))


@needs_compiler
def test_an_mfa_session_that_cannot_be_read_asks_for_no_code_and_heals(
    world: World, failing: FailingFiles
) -> None:
    mfa = world.add_role()
    role = world.add_role(trusts=mfa)
    serial = world.server.add_mfa("980071", role_arn=mfa)
    definition = {"role_arn": role, "source_profile": SOURCE, "mfa_serial": serial}
    world.configure({"deploy": {**definition, "store": "memory"}})
    with world.running(**failing.environ) as daemon:
        assert world.run("login", typed="980071\n").returncode == 0
        wait_until(lambda: is_valid(world, "deploy"), "the profile")
        assert daemon.stop() == 0
    (session,) = world.home.rglob("mfa/*.json")
    failing.fail(errno.EIO, session)
    with world.running(**failing.environ) as daemon:
        daemon.wait_for("LocalFault")
        assert "MfaCodeNeeded" not in daemon.log.read_text()
        failing.work()
        check_healed(seconds_until(lambda: is_valid(world, "deploy"), "the profile"))


@needs_compiler
def test_keys_that_appear_on_a_file_system_without_inotify_are_noticed(
    world: World, failing: FailingFiles
) -> None:
    keys = world.credentials.read_text()
    config = world.credentials.with_name("config")
    config.write_text(f"[profile {SOURCE}]\nregion = us-east-1\n")
    world.credentials.write_text("")
    world.configure({"reports": world.add_role()})
    failing.fail(errno.ENOSPC, "inotify:")
    with world.running(**failing.environ):
        assert world.states() == {"reports": "needs-login"}
        world.credentials.write_text(keys)
        check_healed(seconds_until(lambda: is_valid(world, "reports"), "the profile"))
