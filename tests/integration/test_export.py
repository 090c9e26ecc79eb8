from __future__ import annotations

import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from bench.export import LIMITS

from assumed.fastpath.formats import FORMATS, format_credentials
from tests.integration.recipes import credential_process
from tests.integration.world import SOURCE, World, wait_until
from tests.repository import REPOSITORY
from tests.unit.fastpath.test_formats import AWKWARD, CREDENTIALS, VARIABLES

CONSOLE_SCRIPT = Path(sys.executable).with_name("assumed")
FAST_PATH = {
    "assumed.__main__", "assumed.fastpath.credentials_reader", "assumed.fastpath.formats",
    "assumed.fastpath.main", "assumed.paths",
}  # fmt: skip
# Each takes as long to import as Python takes to start, or a good part of it; bench/export.py
# measures the whole.
TOO_SLOW = {
    "assumed.cli", "assumed.config", "assumed.errors", "assumed.logs", "assumed.models",
    "boto3", "botocore", "click", "collections", "contextlib", "dataclasses", "datetime", "enum",
    "functools", "http", "json", "logging", "pathlib", "pydantic", "re", "socket", "ssl",
    "subprocess", "threading", "typing", "urllib", "yaml",
}  # fmt: skip


def exporting(world: World, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `export-credentials`; its output is secret and is kept out of `world.outputs`."""
    done = subprocess.run(  # noqa: S603
        [*world.assumed, "export-credentials", *arguments],
        env=world.environ | environ,
        cwd=world.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    world.outputs.append(done.stderr)
    return done


def exported(world: World, profile: str, *arguments: str, **environ: str) -> Any:
    done = exporting(world, "--profile", profile, *arguments, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def stored_key(world: World) -> str:
    (found,) = re.findall(r"aws_access_key_id = (ASIA\w+)", world.credentials.read_text())
    return str(found)


def let_expire(world: World, left: timedelta) -> None:
    """Change the expiration in the file so that `left` remains."""
    text = world.credentials.read_text()
    moment = (datetime.now(UTC) + left).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = re.sub(r"(?<=x_security_token_expires = ).*", moment, text)
    world.credentials.write_text(text)


@contextmanager
def broken_daemon(world: World) -> Iterator[None]:
    """Listen in place of the daemon, accept every connection and close it without an answer."""
    path = world.home / "run" / "assumed" / "assumed.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if not connection.recv(1 << 16):
                        return

        server = Thread(target=serve)
        server.start()
        yield
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
        server.join()


@pytest.fixture
def role(world: World) -> str:
    arn = world.add_role()
    world.configure({"reports": arn})
    return arn


@pytest.fixture
def held(world: World) -> str:
    """A role whose session is stored in the daemon's memory alone."""
    arn = world.add_role()
    world.configure({"held": {"role_arn": arn, "source_profile": SOURCE, "store": "memory"}})
    return arn


class TestWithoutADaemon:
    def test_a_fresh_session_of_the_file_is_printed_without_a_call(
        self, world: World, role: str
    ) -> None:
        assert world.run("refresh").returncode == 0
        assert exported(world, "reports")["AccessKeyId"] == stored_key(world)
        assert world.server.calls(role) == 1

    def test_a_missing_session_is_assumed_and_stored(self, world: World, role: str) -> None:
        shape = exported(world, "reports")
        assert list(shape) == ["Version", *CREDENTIALS]
        assert shape["AccountId"] == "123456789012"
        assert shape["AccessKeyId"] == stored_key(world)
        assert exported(world, "reports") == shape
        assert world.server.calls(role) == 1

    def test_a_session_under_twenty_minutes_is_refreshed_first(
        self, world: World, role: str
    ) -> None:
        before = exported(world, "reports")["AccessKeyId"]
        let_expire(world, timedelta(minutes=20))
        assert exported(world, "reports")["AccessKeyId"] != before
        assert world.server.calls(role) == 2

    def test_while_sts_is_down_the_old_session_is_printed_and_only_a_shell_gets_a_warning(
        self, world: World, role: str
    ) -> None:
        """The C++ SDK reads standard error of a credential_process as well."""
        before = exported(world, "reports")["AccessKeyId"]
        let_expire(world, timedelta(minutes=5))
        world.server.disturb(role, "break")
        done = exporting(world, "--profile", "reports")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["AccessKeyId"] == before
        done = exporting(world, "--profile", "reports", "--log-level", "debug")
        assert (done.returncode, done.stderr) == (0, "")
        done = exporting(world, "--profile", "reports", "--format", "env")
        assert done.returncode == 0
        assert done.stderr.startswith("reports: InternalFailure: ")
        assert "the previous session is still valid, and its credentials are printed" in done.stderr

    def test_a_terminal_gets_the_warning_with_the_format_of_a_credential_process(
        self, world: World, role: str
    ) -> None:
        exported(world, "reports")
        let_expire(world, timedelta(minutes=5))
        world.server.disturb(role, "break")
        terminal_end, of_process = pty.openpty()
        with os.fdopen(terminal_end, "rb", buffering=0) as screen:
            done = subprocess.run(  # noqa: S603
                [*world.assumed, "export-credentials", "--profile", "reports"],
                env=world.environ,
                stdout=subprocess.PIPE,
                stderr=of_process,
                check=True,
            )
            os.close(of_process)
            assert json.loads(done.stdout)["Version"] == 1
            assert b"the previous session is still valid" in screen.read(1 << 16)

    @pytest.mark.parametrize("left", [timedelta(seconds=30), timedelta(hours=-1)])
    def test_a_session_that_expires_within_a_minute_is_never_printed(
        self, world: World, role: str, left: timedelta
    ) -> None:
        exported(world, "reports")
        let_expire(world, left)
        world.server.disturb(role, "break")
        for shape in FORMATS:
            done = exporting(world, "--profile", "reports", "--format", shape)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("assumed: InternalFailure: profile reports: ")

    def test_a_session_of_fifteen_minutes_is_used_again(self, world: World) -> None:
        role = world.add_role()
        shape = {"role_arn": role, "source_profile": SOURCE, "duration_seconds": 900}
        world.configure({"short": shape})
        assert exported(world, "short") == exported(world, "short")
        assert world.server.calls(role) == 1

    def test_a_changed_role_is_assumed_again(self, world: World, role: str) -> None:
        exported(world, "reports")
        other = world.add_role()
        world.configure({"reports": other})
        exported(world, "reports")
        assert (world.server.calls(role), world.server.calls(other)) == (1, 1)

    def test_fifty_processes_on_an_expired_profile_make_one_call(
        self, world: World, role: str
    ) -> None:
        exported(world, "reports")
        let_expire(world, timedelta(hours=-1))
        with ThreadPoolExecutor(50) as threads:
            shapes = list(threads.map(lambda _: exported(world, "reports"), range(50)))
        assert len({shape["AccessKeyId"] for shape in shapes}) == 1
        assert world.server.calls(role) == 2

    def test_a_profile_that_hangs_does_not_delay_another(self, world: World, role: str) -> None:
        hanging = world.add_role()
        world.configure({"reports": role, "hanging": hanging})
        world.server.disturb(hanging, "hang")
        with subprocess.Popen(  # noqa: S603
            [*world.assumed, "export-credentials", "--profile", "hanging"],
            env=world.environ,
            cwd=world.home,
            stdout=subprocess.DEVNULL,
        ) as stuck:
            wait_until(lambda: world.server.calls(hanging) > 0, "the call that hangs")
            exported(world, "reports")
            assert stuck.poll() is None
            stuck.kill()
        world.server.disturb(hanging, "")

    def test_a_source_profile_may_be_the_credential_process_of_another(self, world: World) -> None:
        first = world.add_role()
        second = world.add_role(trusts=first)
        source = {"role_arn": second, "source_profile": "first-live"}
        world.configure({"first": first, "second": source})
        with_credential_process(world, "first")
        assert exported(world, "second")["Version"] == 1
        assert (world.server.calls(first), world.server.calls(second)) == (1, 1)

    def test_a_profile_that_is_its_own_source_is_an_error(self, world: World) -> None:
        role = world.add_role()
        world.configure({"loop": {"role_arn": role, "source_profile": "loop-live"}})
        with_credential_process(world, "loop")
        done = exporting(world, "--profile", "loop")
        assert (done.returncode, done.stdout) == (1, "")
        assert "profile loop is its own source: loop -> loop" in done.stderr

    def test_a_state_directory_that_cannot_be_created_is_not_needed(
        self, world: World, role: str
    ) -> None:
        assert exported(world, "reports", XDG_STATE_HOME="/proc/nowhere")["Version"] == 1

    @pytest.mark.parametrize(
        ("arguments", "status", "expected"),
        [
            (["--profile", "nope"], 2, "profile nope is not in the configuration"),
            ([], 2, "Missing option '--profile'"),
            (["--profile", "reports", "--format", "yaml"], 2, "'yaml' is not one of 'process'"),
            (["--profile", "reports", "--fromat=env"], 2, "No such option"),
            (["--profile", "reports", "extra"], 2, "unexpected extra argument"),
            (["--profile", "reports", "--log-level", "loud"], 2, "'--log-level'"),
            (["--profile"], 2, "requires an argument"),
            (["--profile", "reports", "--config", "nowhere.yaml"], 78, "nowhere.yaml: cannot be"),
        ],
    )
    def test_a_usage_error_is_reported_with_its_exit_status(
        self, world: World, role: str, arguments: Sequence[str], status: int, expected: str
    ) -> None:
        done = exporting(world, *arguments)
        assert (done.returncode, done.stdout) == (status, "")
        assert expected in done.stderr

    def test_the_common_options_are_accepted_in_both_spellings(
        self, world: World, role: str
    ) -> None:
        moved = world.config.rename(world.home / "config.yaml")
        for config in (["--config", str(moved)], [f"--config={moved}"], ["--config", moved.name]):
            exported(world, "reports", *config)
            options = ["--log-level=debug", "--log-format", "json", "--log-file", "export.log"]
            exported(world, "reports", *config, *options)
        assert world.server.calls(role) == 1


class TestThroughTheDaemon:
    def test_a_session_in_memory_is_printed_and_never_written(
        self, world: World, held: str
    ) -> None:
        with world.running():
            shape = exported(world, "held")
            assert exported(world, "held", "--config", str(world.config)) == shape
            assert world.states() == {"held": "valid"}
        assert "ASIA" not in world.credentials.read_text()
        assert "ASIA" not in world.run("status").stdout
        with world.running():
            assert exported(world, "held")["AccessKeyId"] != shape["AccessKeyId"]
        assert world.server.calls(held) == 2

    def test_fifty_processes_on_a_pending_profile_make_one_call(
        self, world: World, held: str
    ) -> None:
        world.server.disturb(held, "hang")
        with world.daemon(), ThreadPoolExecutor(50) as threads:
            wait_until(lambda: world.status()["daemon"] is not None, "the daemon")
            coming = threads.map(lambda _: exported(world, "held"), range(50))
            wait_until(lambda: world.server.calls(held) > 0, "the call")
            world.server.disturb(held, "")
            keys = {shape["AccessKeyId"] for shape in coming}
        assert len(keys) == 1
        assert world.server.calls(held) == 1

    def test_the_errors_of_the_daemon_are_printed_unchanged(self, world: World) -> None:
        denied = world.add_role(trusts="arn:aws:iam::123456789012:user/another")
        world.configure({"denied": denied})
        with world.running():
            done = exporting(world, "--profile", "denied")
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("assumed: AccessDenied: profile denied: User: ")
            assert "sts:AssumeRole must be allowed twice" in done.stderr
            assert exporting(world, "--profile", "nope").returncode == 2

    def test_a_daemon_with_another_configuration_is_not_used(self, world: World, role: str) -> None:
        other = world.add_role()
        file = world.home / "other.yaml"
        file.write_text(json.dumps({"profiles": {"other": {
            "role_arn": other, "source_profile": SOURCE, "store": "memory"}}}))  # fmt: skip
        file.chmod(0o600)
        with world.running():
            assert exported(world, "other", "--config", str(file))["Version"] == 1
        assert world.server.calls(other) == 1

    def test_without_an_answer_of_the_daemon_valid_credentials_are_printed(
        self, world: World, role: str
    ) -> None:
        before = exported(world, "reports")
        with broken_daemon(world):
            let_expire(world, timedelta(minutes=5))
            assert exported(world, "reports")["AccessKeyId"] == before["AccessKeyId"]
            let_expire(world, timedelta(seconds=30))
            done = exporting(world, "--profile", "reports")
        assert (done.returncode, done.stdout) == (1, "")
        assert "does not answer: it closed the connection\n  see its log" in done.stderr


class TestMemory:
    def test_a_profile_that_moves_to_memory_leaves_the_file(self, world: World, role: str) -> None:
        before = world.credentials.read_bytes()
        with world.running() as daemon:
            shape = exported(world, "reports")
            held = {"role_arn": role, "source_profile": SOURCE, "store": "memory"}
            world.configure({"reports": held})
            daemon.wait_for("config_reloaded")
            wait_until(lambda: world.credentials.read_bytes() == before, "the section to go")
            assert exported(world, "reports") == shape
            assert world.status()["profiles"][0]["store"] == "memory"
            assert "valid, in memory" in world.run("status").stdout
            world.configure({"reports": role})
            daemon.wait_for("config_reloaded", times=2)
            wait_until(lambda: shape["AccessKeyId"] in world.credentials.read_text(), "its return")
        assert world.server.calls(role) == 1

    def test_without_a_daemon_it_is_pending_and_a_refresh_reports_why(
        self, world: World, held: str
    ) -> None:
        status = world.run("status")
        assert "pending, in memory" in status.stdout
        assert "only a daemon has the sessions of profiles with `store: memory`" in status.stderr
        assert world.run("refresh").returncode == 0
        refused = world.run("refresh", "held")
        assert refused.returncode == 1
        assert "held: DaemonNeeded: it is kept in memory only" in refused.stderr
        assert world.server.calls(held) == 0

    def test_without_a_daemon_it_is_assumed_at_each_use(self, world: World, held: str) -> None:
        assert exported(world, "held") != exported(world, "held")
        assert world.server.calls(held) == 2
        assert "ASIA" not in world.credentials.read_text()


class TestCost:
    def imported(self, world: World, *arguments: str) -> set[str]:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-X", "importtime", str(CONSOLE_SCRIPT), *arguments],
            env=world.environ,
            cwd=world.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0
        bare = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", "pass"],
            env=world.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        names = [
            {line.rpartition("|")[2].strip() for line in each.stderr.splitlines()}
            for each in (done, bare)
        ]
        return names[0] - names[1]

    def test_the_console_script_starts_the_fast_path_before_click(self) -> None:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
        assert project["project"]["scripts"] == {"assumed": "assumed.__main__:main"}

    @pytest.mark.skipif(not CONSOLE_SCRIPT.exists(), reason="assumed is not installed here")
    def test_from_the_file_only_the_fast_path_is_imported(self, world: World, role: str) -> None:
        exported(world, "reports")
        found = self.imported(world, "export-credentials", "--profile", "reports")
        # The script that an old pip writes imports `re`.
        assert found - {"re"} <= {"assumed", "assumed.fastpath", *FAST_PATH}

    def test_the_readme_of_the_fast_path_states_the_budget_and_the_modules(self) -> None:
        page = (REPOSITORY / "daemon" / "assumed" / "fastpath" / "README.md").read_text()
        rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", page, re.M))
        assert {f"`{name}`" for name in FAST_PATH} <= rows.keys()
        budget = {row.replace("`", ""): limit for row, limit in rows.items() if " x" in limit}
        assert budget == {row: f"{limit} x" for row, limit in LIMITS.items() if limit is not None}

    @pytest.mark.skipif(not CONSOLE_SCRIPT.exists(), reason="assumed is not installed here")
    def test_through_the_socket_no_slow_module_is_imported(self, world: World, held: str) -> None:
        with world.running():
            for arguments in (
                ["export-credentials", "--profile", "held", "--format", "env"],
                ["status", "--format", "{profile} {minutes_left}m"],
            ):
                found = self.imported(world, *arguments)
                assert "assumed.fastpath.unix_http" in found
                assert {name for name in found if name.partition(".")[0] in TOO_SLOW} == set()
                assert not found & TOO_SLOW


def in_a_shell(command: Sequence[str], script: str, *, call: str, home: Path) -> Mapping[str, str]:
    """Run a script and return its environment at the end."""
    print_environment = "import json, os; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(  # noqa: S603
        [*command, f"{script}\n{call}'{sys.executable}' -c '{print_environment}'"],
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    environ: dict[str, str] = json.loads(done.stdout)
    return environ


SHELLS = {
    "bash": (["bash", "--norc", "-c"], "env"),
    "bash without export": (["bash", "--norc", "-a", "-c"], "env-no-export"),
    "sh": (["sh", "-c"], "env"),
    "zsh": (["zsh", "-f", "-c"], "env"),
    "fish": (["fish", "--no-config", "-c"], "fish"),
    "PowerShell": (["pwsh", "-NoProfile", "-Command"], "powershell"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_reads_its_format(shell: str, tmp_path: Path) -> None:
    command, shape = SHELLS[shell]
    if shutil.which(command[0]) is None:
        pytest.skip(f"NOT TESTED: {shape} in {shell}: it is not installed here")
    awkward = {**CREDENTIALS, "SecretAccessKey": AWKWARD, "SessionToken": AWKWARD[::-1]}
    script = format_credentials(awkward, shape)
    call = "& " if shell == "PowerShell" else ""
    environ = in_a_shell(command, script, call=call, home=tmp_path)
    assert [environ[name] for name in VARIABLES] == list(awkward.values())[:4]


def test_a_shell_evaluates_the_output_of_the_documented_command(world: World, role: str) -> None:
    page = (REPOSITORY / "docs" / "cli.md").read_text()
    (recipe,) = re.findall(r'^\$ (eval ".*env\)")$', page, re.M)
    script = recipe.replace("deploy", "reports") + " && aws sts get-caller-identity"
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(  # noqa: S603
        [bash, "-c", script],
        env=world.environ | {"PATH": f"{CONSOLE_SCRIPT.parent}:{world.environ['PATH']}"},
        cwd=world.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f":assumed-role/{role.rpartition('/')[2]}/assumed-" in done.stdout


def with_credential_process(world: World, *profiles: str) -> None:
    """Add an AWS profile `NAME-live` for each managed profile, as the README shows."""
    (world.home / ".aws" / "config").write_text(
        "".join(credential_process(world, name) for name in profiles)
    )


def test_the_aws_cli_uses_the_credential_process(world: World, held: str) -> None:
    with_credential_process(world, "held")
    with world.running():
        assert f":assumed-role/{held.rpartition('/')[2]}/" in world.caller("held-live")
        assert world.server.calls(held) == 1


def test_a_profile_in_memory_may_have_the_name_of_its_credential_process(
    world: World, held: str
) -> None:
    with_credential_process(world, "held")
    config = world.home / ".aws" / "config"
    config.write_text(config.read_text().replace("[profile held-live]", "[profile held]"))
    with world.running():
        assert world.run("check").returncode == 0
        assert f":assumed-role/{held.rpartition('/')[2]}/" in world.caller("held")


def test_the_benchmark_measures_every_command_in_one_run(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "bench.export", "--runs", "1", "--output", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "export.json").read_text())
    measured = [row["command"] for row in results["commands"]]
    # Beyond Python's own, whose number differs; one run says nothing about times.
    bare = [sys.executable, "-c", "import sys; print(len(sys.modules))"]
    own = int(subprocess.run(bare, capture_output=True, check=True).stdout)  # noqa: S603
    assert results["modules_of_export_credentials"] <= own + 8
    committed = json.loads((REPOSITORY / "bench" / "results" / "export.json").read_text())
    assert set(measured) <= {row["command"] for row in committed["commands"]}
    assert committed["aws_cli"].startswith("aws-cli/2")
    limits = {row["command"]: row["limit"] for row in committed["commands"]}
    ratios = {row["command"]: row["ratio"] for row in committed["commands"]}
    page = (REPOSITORY / "docs" / "cli.md").read_text()
    for command, words in {
        "export-credentials, from the file": "{} times as long from the file",
        "export-credentials, through the socket": "{} times through the daemon",
    }.items():
        assert ratios[command] <= limits[command]
        assert words.format(limits[command]) in " ".join(page.split())
    assert ratios["aws configure export-credentials"] > 30


def test_a_named_configuration_is_not_answered_from_the_file(world: World, role: str) -> None:
    assert world.run("refresh").returncode == 0
    before = exported(world, "reports")["AccessKeyId"]
    other = world.config.with_name("other.yaml")
    other.touch(mode=0o600)
    other.write_text(world.config.read_text().replace(role, world.add_role()))
    assert exported(world, "reports", "--config", str(other))["AccessKeyId"] != before
    assert exported(world, "reports", ASSUMED_CONFIG=str(other))["AccessKeyId"] != before


@pytest.mark.parametrize("how", ["--config", "ASSUMED_CONFIG", "saved again"])
def test_a_session_that_was_checked_once_is_printed_without_imports(
    world: World, role: str, how: str
) -> None:
    assert world.run("refresh").returncode == 0
    arguments, environ = [], {}
    if how == "--config":
        arguments = ["--config", str(world.config)]
    elif how == "ASSUMED_CONFIG":
        environ = {"ASSUMED_CONFIG": str(world.config)}
    else:
        world.configure({"reports": role, "unused": role})
    first = exported(world, "reports", *arguments, **environ)
    assert first["AccessKeyId"] == stored_key(world)
    imports = {"PYTHONPROFILEIMPORTTIME": "1"}
    done = exporting(world, "--profile", "reports", *arguments, **environ, **imports)
    assert json.loads(done.stdout) == first
    assert "click" not in done.stderr
    assert world.server.calls(role) == 1
    # A change of the configuration makes it void: the profile is another role now.
    other = world.add_role()
    world.configure({"reports": other})
    assert exported(world, "reports", *arguments, **environ)["AccessKeyId"] != first["AccessKeyId"]
    assert world.server.calls(other) == 1
