"""A role profile keeps its name: `adopt`, the AWS CLI, `release`; and killed at any system call."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from assumed.app.adopt import Adoption
from assumed.app.release import Release
from assumed.aws_files.profiles import read_aws_files
from assumed.aws_files.sdk_precedence import CredentialKind, used_by_botocore, used_by_javascript
from assumed.client.api_client import DaemonClient
from assumed.errors import UsageError
from assumed.models import Outcome
from assumed.storage import CredentialsFile, atomic_replace
from tests.credentials_files import OTHER_UID, credentials
from tests.integration import test_crash
from tests.integration.test_crash import calls_of, kill, kill_at, kill_half_way
from tests.integration.world import SOURCE, World

BOTOCORE, REFRESHED = "/botocore-session-", "/assumed-"


def write_aws_config(world: World, **roles: tuple[str, str]) -> Path:
    """Write an AWS config file with Windows line ends and no final one."""
    path = world.home / ".aws" / "config"
    text = "# mine\n[default]\nregion = us-east-1\ns3 =\n  max_concurrent_requests = 5\n"
    for name, (role_arn, source) in roles.items():
        text += f"\n[profile {name}]\noutput = json\nrole_arn={role_arn}\nsource_profile={source}"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    return path


def test_the_aws_cli_uses_the_refreshed_keys_between_adopt_and_release(world: World) -> None:
    role = world.add_role()
    aws_config = write_aws_config(world, dev=(role, SOURCE))
    before = aws_config.read_bytes(), world.credentials.read_bytes()
    assert BOTOCORE in world.caller("dev")

    adopted = world.run("adopt", "dev", "--yes")
    assert adopted.returncode == 0, adopted.stderr
    assert "no daemon is running, so the sessions expire" in adopted.stderr
    assert f"\n-role_arn={role}\n" in adopted.stdout
    assert f"\n+# adopted by assumed: role_arn={role}\n" in adopted.stdout
    calls = world.server.calls(role)
    assert REFRESHED in world.caller("dev")
    assert world.server.calls(role) == calls
    region = world.aws("configure", "get", "output", "--profile", "dev")
    assert region.stdout == "json\n"
    assert world.run("check").returncode == 0
    original = aws_config.with_name("config.assumed-original")
    assert original.read_bytes() == before[0]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (original, aws_config)] == [0o600, 0o640]

    again = world.run("adopt", "dev", "--yes")
    assert (again.returncode, again.stdout) == (0, "dev: already adopted\n")
    original.write_text("kept")

    released = world.run("release", "dev", "--yes")
    assert released.returncode == 0, released.stderr
    assert released.stdout.endswith("dev: released\n")
    assert BOTOCORE in world.caller("dev")
    assert before == (aws_config.read_bytes(), world.credentials.read_bytes())
    assert not world.config.exists()
    assert world.run("release", "dev", "--yes").returncode == 2
    assert world.run("adopt", "dev", "--yes").returncode == 0
    assert original.read_text() == "kept"
    assert world.user_secret not in world.config.read_text()


def test_a_running_daemon_takes_the_definition_over_and_forgets_it(world: World) -> None:
    role, other = world.add_role(), world.add_role()
    hub_role, far = role, world.add_role(trusts=role)
    aws_config = write_aws_config(world, hub=(hub_role, SOURCE), far=(far, "hub"))
    before = aws_config.read_bytes()
    world.write_config(
        f"# mine\nprofiles:\n  other:\n    role_arn: {other}\n    source_profile: {SOURCE}\n"
    )
    config = world.config.read_text()
    with world.running() as daemon:
        adopted = world.run("adopt", "far", "hub", "--yes")
        assert adopted.returncode == 0, adopted.stderr
        assert "no daemon" not in adopted.stderr
        assert world.states() == dict.fromkeys(("other", "far", "hub"), "valid")
        assert REFRESHED in world.caller("far")
        assert REFRESHED in world.caller("hub")

        refused = world.run("release", "hub", "--yes")
        assert refused.returncode == 1
        assert "it is the source_profile of far" in refused.stderr
        released = world.run("release", "far", "hub", "--yes")
        assert released.returncode == 0, released.stderr
        assert list(world.states()) == ["other"]
        assert BOTOCORE in world.caller("far")
        assert (aws_config.read_bytes(), world.config.read_text()) == (before, config)
        assert "[far]" not in world.credentials.read_text()
        assert daemon.stop() == 0


def test_a_failed_refresh_leaves_the_role_keys_active(world: World) -> None:
    role = world.add_role(trusts="arn:aws:iam::123456789012:user/another")
    aws_config = write_aws_config(world, dev=(role, SOURCE))
    before = aws_config.read_bytes()
    failed = world.run("adopt", "dev", "--yes")
    assert failed.returncode == 1
    assert "AccessDenied" in failed.stderr
    assert "dev: its role keys stay active" in failed.stderr
    assert aws_config.read_bytes() == before
    assert f"role_arn: {role}" in world.config.read_text()
    assert world.run("release", "dev", "--yes").returncode == 0
    assert not world.config.exists()


def test_without_a_terminal_nothing_changes_unless_yes_is_given(world: World) -> None:
    aws_config = write_aws_config(world, dev=(world.add_role(), SOURCE))
    before = aws_config.read_bytes()
    for arguments in (("adopt", "dev"), ("release", "dev")):
        asked = world.run(*arguments)
        assert asked.returncode == 2
        if arguments[0] == "adopt":
            assert "+# adopted by assumed: role_arn" in asked.stdout
            assert "run the command again with --yes" in asked.stderr
    assert aws_config.read_bytes() == before
    assert not world.config.exists()


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 1), (b"y\n", 0)], ids=["no", "yes"])
def test_on_a_terminal_the_changes_are_confirmed(world: World, answer: bytes, status: int) -> None:
    aws_config = write_aws_config(world, dev=(world.add_role(), SOURCE))
    before = aws_config.read_bytes()
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        done = subprocess.run(  # noqa: S603
            [*world.assumed, "adopt", "dev"],
            env=world.environ,
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Change these files?" in done.stdout
    assert done.returncode == status, done.stderr
    assert (aws_config.read_bytes() == before) is bool(status)
    assert ("nothing was changed" in done.stderr) is bool(status)


def test_a_configuration_of_another_shape_is_rejected_with_the_lines_to_add(world: World) -> None:
    role = world.add_role()
    aws_config = write_aws_config(world, dev=(role, SOURCE))
    world.configure({"other": role})
    before = aws_config.read_bytes(), world.config.read_bytes()
    rejected = world.run("adopt", "dev", "--yes")
    assert rejected.returncode == 78
    assert f"  dev:\n    role_arn: {role}\n" in rejected.stderr
    assert before == (aws_config.read_bytes(), world.config.read_bytes())


def test_init_adopts_every_role_and_never_overwrites_a_configuration(world: World) -> None:
    hub = world.add_role()
    far = world.add_role(trusts=hub)
    aws_config = write_aws_config(world, far=(far, "hub"), hub=(hub, SOURCE), lost=(hub, "missing"))
    before = aws_config.read_bytes()
    shown = world.run("init", "--adopt")
    assert shown.returncode == 2
    assert "profile lost is skipped" in shown.stderr
    assert not world.config.exists()
    made = world.run("init", "--adopt", "--yes")
    assert made.returncode == 0, made.stderr
    assert REFRESHED in world.caller("far")
    assert REFRESHED in world.caller("hub")
    assert world.run("check").returncode == 0
    again = world.run("init", "--adopt", "--yes")
    assert again.returncode == 2
    assert "`assumed adopt PROFILE` adds profiles to it" in again.stderr
    assert world.run("release", "far", "hub", "--yes").returncode == 0
    assert aws_config.read_bytes() == before


# Killed at any system call

ROLE_KEYS = "role_arn = arn:aws:iam::222222222222:role/deploy\nsource_profile = base\n"
BASE = "[base]\naws_access_key_id = AKIABASE\naws_secret_access_key = the/only/copy\n"
OTHER = (
    "profiles:\n  other:\n    role_arn: arn:aws:iam::222222222222:role/o\n"
    "    source_profile: base\n"
)


class InstantDaemon:
    """Answers as a daemon that has read the configuration, and writes credentials at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self, profiles: Sequence[str] = ()) -> object:
        @dataclass
        class Status:
            profiles: tuple[()] = ()

        return Status()

    def refresh(self, profiles: Sequence[str], *, force: bool) -> tuple[Outcome, ...]:
        file = CredentialsFile(self._path, sleep=_no_sleep)
        for profile in profiles:
            file.write(profile, credentials()).result()
        return tuple(
            Outcome(profile=profile, expires_at=credentials().expiration) for profile in profiles
        )


def _no_sleep(seconds: float) -> None:
    return


class CrashHome:
    """The files of a user with a role profile `dev`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.credentials = path / "credentials"

    def reset(self, contents: Mapping[str, bytes]) -> None:
        for file in self.path.iterdir():
            file.unlink()
        for name, data in contents.items():
            (self.path / name).write_bytes(data)
            (self.path / name).chmod(0o600)

    def contents(self) -> dict[str, bytes]:
        """Return every file but the lock files, which stay for the next write."""
        return {
            file.name: file.read_bytes()
            for file in sorted(self.path.iterdir())
            if not file.name.endswith("-lock")
        }

    def check_works(self) -> None:
        """Check that `dev` has credentials: by its role, or by keys that assumed manages."""
        profile = read_aws_files(self.path / "config", self.credentials).profiles["dev"]
        for use in (used_by_botocore, used_by_javascript):
            kind = use(profile).kind
            assert kind in {CredentialKind.ROLE, CredentialKind.KEYS}
            if kind is CredentialKind.KEYS:
                stored = CredentialsFile(self.credentials).read()["dev"].credentials()
                assert stored == credentials()
            else:
                assert profile.value("source_profile") == "base"
        assert profile.value("region") == "eu-west-1"

    def adopt(self) -> None:
        with self._environ() as (config_path, environ):
            adoption = Adoption(config_path, environ)
            daemon = cast(DaemonClient, InstantDaemon(self.credentials))
            outcomes, failures = adoption.adopt(adoption.plan(["dev"]), daemon)
        assert not failures
        assert all(outcome.ok for outcome in outcomes)

    def release(self) -> None:
        # A release that was killed at its very end has nothing left to do.
        with self._environ() as (config_path, environ), suppress(UsageError):
            release = Release(config_path, environ)
            release.release(release.plan(["dev"]), None)

    @contextmanager
    def _environ(self) -> Iterator[tuple[Path, Mapping[str, str]]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_CONFIG_FILE", str(self.path / "config"))
            patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(self.credentials))
            yield self.path / "config.yaml", os.environ


HOMES = {
    "a role in the config file": {
        "config": f"[profile dev]\r\n{ROLE_KEYS}region = eu-west-1".encode(),
        "credentials": BASE.encode(),
    },
    "a role in the credentials file": {
        "config": b"[profile dev]\nregion = eu-west-1\nsource_profile = base\n",
        "credentials": f"{BASE}[dev]\n{ROLE_KEYS}role_session_name = kim\n".encode(),
        "config.yaml": OTHER.encode(),
    },
}
ORIGINALS = {"config.assumed-original", "credentials.assumed-original"}


# Killed before one of these, the disk is as it is before the next call that changes it.
_READING = {"close", "fstat", "stat", "lstat", "read", "pread", "getxattr", "listxattr", "fsync"}

# The process that forks one for each kill has this module imported too.
test_crash._PROCESSES.set_forkserver_preload([test_crash.__name__, __name__])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_replace, "_LATE_OPENER_CHECKS", 2)


@pytest.mark.parametrize("name", HOMES)
@pytest.mark.parametrize("command", ["adopt", "release"])
def test_killed_at_any_call_the_profile_works_and_the_next_run_completes(
    name: str, command: str, tmp_path: Path
) -> None:
    home = CrashHome(tmp_path)
    home.reset(HOMES[name])
    home.adopt()
    adopted = home.contents()
    home.release()
    released = home.contents()
    assert {name: data for name, data in released.items() if name not in ORIGINALS} == HOMES[name]
    before, after, action = {
        "adopt": (HOMES[name], adopted, home.adopt),
        "release": (adopted, released, home.release),
    }[command]

    home.reset(before)
    calls = calls_of(action)
    assert home.contents() == after
    states = set()
    for at, call in enumerate(calls):
        if call in _READING and at < len(calls) - 1:
            continue
        for fault in (kill, kill_half_way) if call == "pwrite" else (kill,):
            home.reset(before)
            kill_at(action, at, fault)
            home.check_works()
            aws_config = (tmp_path / "config").read_bytes()
            assert aws_config in {before["config"], after["config"]}
            states.add(aws_config)
            action()
            assert home.contents() == after
    assert len(states) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to work in a directory of another user")
def test_root_is_shown_how_to_adopt_in_a_directory_of_another_user(world: World) -> None:
    theirs = world.home / "theirs"
    theirs.mkdir()
    written = write_aws_config(world, dev=(world.add_role(), SOURCE)).rename(theirs / "config")
    before = written.read_bytes()
    os.chown(theirs, OTHER_UID, OTHER_UID)

    refused = world.run("adopt", "dev", "--yes", AWS_CONFIG_FILE=str(written))

    assert refused.returncode == 1
    assert f"{theirs} belongs to nobody" in refused.stderr
    assert "run it as that user: `sudo -u nobody assumed …`" in refused.stderr
    assert written.read_bytes() == before
