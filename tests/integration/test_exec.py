from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests.integration.terminal import terminal
from tests.integration.world import SOURCE, World, wait_until

HERE = "-".join(
    [
        str(Path("/proc/self/ns/pid").stat().st_ino),
        f"{crc32(os.uname().nodename.encode()):08x}",
    ]
)
"""The name of this host and PID namespace in the directories of commands."""

MODES = ["daemon", "standalone"]


@contextmanager
def mode(world: World, name: str) -> Iterator[None]:
    if name == "standalone":
        yield
        return
    with world.running() as daemon:
        yield
        assert daemon.process.poll() is None


def exec_directory(world: World) -> Path:
    return world.home / ".local" / "state" / "assumed" / "exec"


def remaining_directories(world: World) -> list[Path]:
    directory = exec_directory(world)
    return list(directory.iterdir()) if directory.exists() else []


def start(world: World, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [*world.assumed, "exec", *arguments],
        env=world.environ,
        cwd=world.home,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def python(world: World, script: str, *options: str, **environ: str) -> Any:
    """Run a script under `exec` and return what it prints as JSON."""
    done = world.run("exec", "reports", *options, "--", sys.executable, "-c", script, **environ)
    assert done.returncode == 0, done.stderr
    world.outputs.remove(done.stdout)
    return json.loads(done.stdout)


def test_a_command_continues_after_a_restart_of_the_daemon(hasty: World) -> None:
    hasty.configure({"reports": hasty.add_role()})
    script = """
import sys, boto3
client = boto3.client("sts")
for line in sys.stdin:
    print(client.get_caller_identity()["Arn"], flush=True)
"""
    with hasty.running() as first:
        command = start(hasty, "reports", "--", sys.executable, "-c", script, stdin=subprocess.PIPE)
        assert command.stdin is not None
        assert command.stdout is not None

        def ask() -> str:
            assert command.stdin is not None
            assert command.stdout is not None
            command.stdin.write("\n")
            command.stdin.flush()
            return command.stdout.readline()

        before = ask()
        assert ":assumed-role/" in before
        first.stop()
    with hasty.running():
        assert ask() == before
        assert ask() == before
    command.stdin.close()
    assert command.wait() == 0
    command.stdout.close()
    assert command.stderr is not None
    assert command.stderr.read() == ""
    command.stderr.close()


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("options", [[], ["--env"]], ids=["endpoint", "static"])
def test_exec_exits_with_the_status_of_the_command(
    world: World, how: str, options: list[str]
) -> None:
    world.configure({"reports": world.add_role()})
    with mode(world, how):
        assert world.run("exec", "reports", *options, "--", "sh", "-c", "exit 7").returncode == 7
        assert world.run("exec", "reports", *options, "--", "true").returncode == 0
        killed = world.run("exec", "reports", *options, "--", "sh", "-c", "kill -KILL $$")
        assert killed.returncode == -signal.SIGKILL


@pytest.mark.parametrize("how", MODES)
def test_a_command_that_cannot_be_executed_has_the_status_of_a_shell(
    world: World, how: str
) -> None:
    world.configure({"reports": world.add_role()})
    with mode(world, how):
        missing = world.run("exec", "reports", "--", "no-such-command", "x")
        assert missing.returncode == 127
        assert missing.stderr.startswith(
            "assumed: CommandNotStarted: no-such-command: there is no such command\n"
        )
        directory = world.run("exec", "reports", "--", str(world.home))
        assert directory.returncode == 126
        assert "cannot be executed: Permission denied" in directory.stderr
    wait_until(lambda: remaining_directories(world) == [], "the removal of the files")


@pytest.mark.parametrize("how", MODES)
def test_exec_starts_nothing_without_credentials(world: World, how: str) -> None:
    denied = world.add_role(trusts="arn:aws:iam::123456789012:user/other")
    disabled = {"role_arn": denied, "source_profile": SOURCE, "enabled": "false"}
    world.configure({"denied": denied, "disabled": disabled})
    with mode(world, how):
        for profile, status, expected in (
            ("denied", 1, "sts:AssumeRole"),
            ("disabled", 2, "profile disabled is disabled in the configuration"),
            ("nowhere", 2, "profile nowhere is not in the configuration\n  defined profiles: deni"),
        ):
            for option in ([], ["--env"]):
                done = world.run("exec", profile, *option, "--", "echo", "started")
                assert (done.returncode, done.stdout) == (status, "")
                assert expected in done.stderr
    wait_until(lambda: remaining_directories(world) == [], "the removal of the files")


def test_standalone_exec_does_not_change_the_credentials_file_and_cleans_up(world: World) -> None:
    world.configure({"reports": world.add_role()})
    before = world.credentials.read_bytes()
    assert world.run("exec", "reports", "--", "true").returncode == 0
    assert world.credentials.read_bytes() == before
    wait_until(lambda: remaining_directories(world) == [], "the removal of the files")


def test_exec_uses_a_fresh_session_of_the_file(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    assert world.run("refresh").returncode == 0
    assert world.run("exec", "reports", "--", "true").returncode == 0
    assert world.server.calls(role) == 1


def test_exec_assumes_a_chain_from_its_start(world: World) -> None:
    first = world.add_role()
    second = world.add_role(trusts=first)
    world.configure({"first": first, "reports": {"role_arn": second, "source_profile": "first"}})
    arn = python(
        world,
        "import boto3, json; print(json.dumps(boto3.client('sts').get_caller_identity()['Arn']))",
    )
    assert f":assumed-role/{second.rpartition('/')[2]}/" in arn


@pytest.mark.parametrize("how", MODES)
def test_the_files_of_a_killed_command_are_removed(world: World, how: str) -> None:
    world.configure({"reports": world.add_role()})
    with mode(world, how):
        command = start(world, "reports", "--", "sh", "-c", "echo started; exec sleep 600")
        assert command.stdout is not None
        assert command.stdout.readline() == "started\n"
        assert len(remaining_directories(world)) == 1
        command.kill()
        assert command.communicate()[1] == ""
        if how == "standalone":
            wait_until(lambda: remaining_directories(world) == [], "the removal of the files")
        else:
            # The daemon removes them at a heartbeat, and the next command at its start.
            assert world.run("exec", "reports", "--", "true").returncode == 0
            names = [each.name for each in remaining_directories(world)]
            assert not any(name.startswith(f"{command.pid}-") for name in names)


def test_the_next_command_removes_the_files_of_a_killed_server(world: World) -> None:
    world.configure({"reports": world.add_role()})
    directory = exec_directory(world)
    # A process that has ended, and two whose PID another process has by now. Kept: a process on
    # another host or in a container that shares this home, and an unrelated directory.
    gone = [f"999999999-1-{HERE}-0a", f"1-0-{HERE}-0b", f"{os.getpid()}--{HERE}-0c"]
    kept = ["1-0-1-00000000-0d", "notes"]
    for name in [*gone, *kept]:
        (directory / name / "endpoint-1").mkdir(parents=True)
    assert world.run("exec", "reports", "--", "true").returncode == 0
    wait_until(
        lambda: {path.name for path in remaining_directories(world)} == {*kept},
        "the removal of the files",
    )


def test_the_daemon_removes_the_files_of_ended_commands(world: World) -> None:
    world.configure({"reports": world.add_role()})
    stale = exec_directory(world) / f"999999999-1-{HERE}-0a"
    stale.mkdir(parents=True)
    with world.running():
        wait_until(lambda: not stale.exists(), "the removal")


@pytest.mark.parametrize("how", MODES)
def test_a_command_inherits_nothing_from_assumed(world: World, how: str) -> None:
    world.configure({"reports": world.add_role()})
    script = """
import json, os, resource, signal
try:
    child = os.waitpid(-1, 0)
except ChildProcessError:
    child = None
ignored = [number.name for number in signal.Signals
           if number not in (signal.SIGPIPE, signal.SIGXFSZ)
           and signal.getsignal(number) is signal.SIG_IGN]
files = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
print(json.dumps([child, ignored, sorted(files), os.umask(0),
                  resource.getrlimit(resource.RLIMIT_CORE)]))
"""
    with mode(world, how):
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", script],
            env=world.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert python(world, script) == json.loads(done.stdout)


@pytest.mark.parametrize("how", MODES)
def test_exec_works_with_a_profile_in_memory(world: World, how: str) -> None:
    role = world.add_role()
    in_memory = {"role_arn": role, "source_profile": SOURCE, "store": "memory"}
    world.configure({"reports": in_memory})
    before = world.credentials.read_bytes()
    with mode(world, how):
        environ = python(world, SHOW_ENVIRONMENT, "--env")
        assert environ["AWS_ACCESS_KEY_ID"].startswith("ASIA")
        assert world.run("exec", "reports", "--", "true").returncode == 0
    assert world.credentials.read_bytes() == before


SHOW_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("how", MODES)
def test_exec_removes_the_credentials_of_the_user_and_keeps_other_variables(
    world: World, how: str
) -> None:
    world.configure({"reports": world.add_role()})
    mine = {
        "AWS_ACCESS_KEY_ID": "AKIAMINE",
        "AWS_SECRET_ACCESS_KEY": "mine",
        "AWS_SESSION_TOKEN": "mine",
        "AWS_PROFILE": SOURCE,
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/mine",
        "AWS_MAX_ATTEMPTS": "2",
        "EDITOR": "ed",
    }
    with mode(world, how):
        shown = python(world, SHOW_ENVIRONMENT, **mine)
        static = python(world, SHOW_ENVIRONMENT, "--env", **mine)
    for environ in (shown, static):
        assert environ["AWS_MAX_ATTEMPTS"] == "2"
        assert environ["EDITOR"] == "ed"
        assert "AWS_PROFILE" not in environ
        assert "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" not in environ
        assert "mine" not in environ.values()
    assert shown["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} & {*shown}
    assert static["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert static["AWS_CREDENTIAL_EXPIRATION"].endswith("Z")
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in static


def test_the_settings_of_the_profile_apply_and_no_other_key_takes_precedence(world: World) -> None:
    role = world.add_role()
    world.configure({"reports": role})
    with world.credentials.open("a") as file:
        file.write("[default]\naws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n")
    (world.home / ".aws" / "config").write_text(
        "[default]\nregion = eu-north-1\ncredential_process = false\n"
        "[profile reports]\nregion = eu-west-3\noutput = yaml\nretry_mode = adaptive\n"
        f"role_arn = {role}\nsource_profile = {SOURCE}\n"
        "s3 =\n  max_concurrent_requests = 3\nservices = local\n"
        "[services local]\nsqs =\n  endpoint_url = http://127.0.0.1:1\n"
    )
    (world.home / ".boto").write_text("[Credentials]\naws_access_key_id = AKIAOLD\n")
    script = """
import json, boto3, botocore.session
found = []
for profile in (None, "reports"):
    session = botocore.session.Session(profile=profile)
    config = session.get_scoped_config()
    found.append([
        session.get_credentials().method, session.get_config_variable("region"),
        config["output"], config["retry_mode"], config["s3"],
        session.full_config["services"][config["services"]],
        boto3.Session(profile_name=profile).client(
            "sts", endpoint_url=session.create_client("s3").meta.endpoint_url
        ).get_caller_identity()["Arn"].split("/")[1],
    ])
print(json.dumps(found))
"""
    world.environ.pop("AWS_DEFAULT_REGION")
    expected = [
        "container-role",
        "eu-west-3",
        "yaml",
        "adaptive",
        {"max_concurrent_requests": "3"},
        {"sqs": {"endpoint_url": "http://127.0.0.1:1"}},
        role.rpartition("/")[2],
    ]
    assert python(world, script) == [expected, expected]
    static = python(world, SHOW_ENVIRONMENT, "--env")
    assert (static["AWS_REGION"], static["AWS_DEFAULT_REGION"]) == ("eu-west-3", "eu-west-3")


def test_assumed_under_exec_sees_the_files_of_the_user(world: World) -> None:
    world.configure({"reports": world.add_role(), "other": world.add_role()})
    script = " ".join([*world.assumed, "exec", "other", "--", "env"])
    done = world.run("exec", "reports", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert "/v1/credentials/other\n" in done.stdout
    assert "/v1/credentials/reports\n" not in done.stdout
    script = " ".join([*world.assumed, "check"])
    assert world.run("exec", "reports", "--", "sh", "-c", script).returncode == 0


@pytest.mark.parametrize("how", MODES)
def test_a_command_receives_its_signals(world: World, how: str) -> None:
    world.configure({"reports": world.add_role()})
    script = "trap 'echo stopped; exit 3' TERM; echo started; while :; do sleep 0.01; done"
    with mode(world, how):
        command = start(world, "reports", "--", "sh", "-c", script)
        assert command.stdout is not None
        assert command.stdout.readline() == "started\n"
        command.terminate()
        assert command.communicate() == ("stopped\n", "")
        assert command.returncode == 3


def test_a_closed_pipe_ends_the_command(world: World) -> None:
    world.configure({"reports": world.add_role()})
    command = f"{' '.join(world.assumed)} exec reports -- yes | head -1"
    done = subprocess.run(  # noqa: S602
        command, shell=True, env=world.environ, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("y\n", "")


def test_a_reader_of_the_output_waits_only_for_the_command(world: World) -> None:
    world.configure({"reports": world.add_role()})
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    script = f"exec >&- {writer}>&-; read line"
    command = start(
        world, "reports", "--", "bash", "-c", script, stdin=subprocess.PIPE, pass_fds=[writer]
    )
    os.close(writer)
    assert command.stdout is not None
    assert command.stdout.read() == ""
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert command.poll() is None
    command.communicate("\n")


def test_the_server_process_survives_a_signal_to_all_processes(world: World) -> None:
    world.configure({"reports": world.add_role()})
    script = """
import signal, sys, boto3
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("started", flush=True)
signal.sigwait({signal.SIGTERM})
print(boto3.client("sts").get_caller_identity()["Arn"])
"""
    command = start(world, "reports", "--", sys.executable, "-c", script)
    assert command.stdout is not None
    assert command.stdout.readline() == "started\n"
    for pid in other_processes(command.pid, world):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGHUP)
    command.terminate()
    stdout, stderr = command.communicate()
    assert (command.returncode, stderr) == (0, "")
    assert ":assumed-role/" in stdout


def other_processes(pid: int, world: World) -> list[int]:
    """Return the processes of this world other than `pid`: the credential servers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"HOME={world.home}\0".encode() in environ and int(process.name) != pid:
            found.append(int(process.name))
    return found


BASH = ["bash", "--norc", "--noprofile", "-i"]


def test_a_shell_has_its_terminal_and_job_control(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with terminal(world, *world.assumed, "exec", "reports", "--", *BASH) as shell:
        shell.wait_for_foreground("bash")
        shell.type("tty; set -o | grep monitor\n")
        shell.wait_for("\n/dev/pts/")
        shell.wait_for("monitor        \ton")
        shell.type("sleep 600\n")
        shell.wait_for_foreground("sleep")
        shell.type("\x1a")
        shell.wait_for("Stopped")
        shell.wait_for_foreground("bash")
        shell.type("kill %1; fg; echo status $?\n")
        shell.wait_for("status 143")
        shell.type("exit 5\n")
        assert shell.status() == 5


def test_ctrl_c_and_ctrl_z_reach_the_command(world: World) -> None:
    """No process stands between the terminal and the command."""
    world.configure({"reports": world.add_role()})
    exec_it = " ".join([*world.assumed, "exec", "reports", "--", "sleep", "600"])
    with terminal(world, *BASH) as shell:
        shell.wait_for_foreground("bash")
        shell.type(f"{exec_it}\n")
        shell.wait_for_foreground("sleep")
        shell.type("\x03")
        shell.wait_for_foreground("bash")
        shell.type("echo ended $?\n")
        shell.wait_for("ended 130")
        shell.type(f"{exec_it}\n")
        shell.wait_for_foreground("sleep")
        shell.type("\x1a")
        shell.wait_for("Stopped")
        shell.wait_for_foreground("bash")
        shell.type("kill %1; fg; echo status $?\n")
        shell.wait_for("status 143")
        shell.type("exit 6\n")
        assert shell.status() == 6


def test_the_socket_of_a_killed_daemon_is_not_a_daemon(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with world.running() as daemon:
        daemon.signal(signal.SIGKILL)
        daemon.process.wait()
    assert (world.home / "run" / "assumed" / "assumed.sock").is_socket()
    done = world.run("exec", "reports", "--", "env")
    assert done.returncode == 0
    assert f"_FILE={exec_directory(world)}/" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_link_to_the_socket_of_another_user_is_not_trusted(world: World) -> None:
    world.configure({"reports": world.add_role()})
    socket_path = world.home / "run" / "assumed" / "assumed.sock"
    socket_path.parent.mkdir(parents=True, mode=0o700)
    script = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind("theirs.sock")
os.setgid(65534)
os.setuid(65534)
listener.listen()
print("listening", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", script],
        cwd=socket_path.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as theirs:
        assert theirs.stdout is not None
        assert theirs.stdout.readline() == "listening\n"
        socket_path.symlink_to("theirs.sock")
        done = world.run("exec", "reports", "--", "echo", "started")
        assert (done.returncode, done.stdout) == (1, "")
        assert "belongs to user 65534, not to you: it is not trusted" in done.stderr
        # A daemon that starts replaces the link, and does not touch its target.
        with world.running():
            assert socket_path.is_socket()
            assert not socket_path.is_symlink()
            assert world.run("exec", "reports", "--", "true").returncode == 0
        theirs.communicate()


METHODS = """
import json, boto3, botocore.session
found = []
for profile in (None, "reports"):
    session = botocore.session.Session(profile=profile)
    arn = boto3.Session(botocore_session=session).client("sts").get_caller_identity()["Arn"]
    found.append([session.get_credentials().method, arn.split("/")[1]])
print(json.dumps(found))
"""


def test_exec_with_a_daemon_offers_a_credential_process_too(world: World) -> None:
    """Some clients look for no endpoint if they find a profile; all of them run a process."""
    role = world.add_role()
    world.configure({"reports": role})
    name = role.rpartition("/")[2]
    with world.running():
        assert python(world, METHODS) == [["custom-process", name]] * 2
    assert world.server.calls(role) == 1


def test_exec_without_a_daemon_offers_only_the_endpoint(world: World) -> None:
    """A credential_process would assume the role again."""
    role = world.add_role()
    world.configure({"reports": role})
    name = role.rpartition("/")[2]
    assert python(world, METHODS) == [["container-role", name]] * 2
    assert world.server.calls(role) == 1


REGION = """
import json, os, botocore.session
session = botocore.session.Session()
print(json.dumps([
    session.get_config_variable("region"), os.environ.get("AWS_REGION"),
    os.environ.get("AWS_DEFAULT_REGION"), session.get_scoped_config().get("output"),
]))
"""


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("options", [[], ["--env"]], ids=["endpoint", "static"])
def test_exec_passes_the_region_and_the_settings_of_the_definition(
    world: World, how: str, options: list[str]
) -> None:
    role = world.add_role()
    world.environ.pop("AWS_DEFAULT_REGION")
    plain = {"role_arn": role, "source_profile": SOURCE}
    world.configure(
        {
            "by the region": plain | {"region": "eu-west-1"},
            "by-config": plain | {"region": "eu-west-1", "config_profile": "corp net"},
            "by-name": plain | {"region": "eu-west-1"},
            "by-source": plain,
        }
    )
    (world.home / ".aws" / "config").write_text(
        f"[profile {SOURCE}]\nregion = eu-west-2\noutput = text\n"
        "[profile 'corp net']\nregion = eu-west-3\noutput = yaml\n"
        "[profile by-name]\noutput = json\n"
    )
    with mode(world, how):
        for profile, region, output in (
            ("by the region", "eu-west-1", "text"),
            ("by-config", "eu-west-3", "yaml"),
            ("by-name", "eu-west-1", "json"),
            ("by-source", "eu-west-2", "text"),
        ):
            done = world.run("exec", profile, *options, "--", sys.executable, "-c", REGION)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == [region, region, region, output], profile
    signed_for = {sent["signed for"] for sent in world.server.requests(role)}
    assert signed_for == {"eu-west-1", "eu-west-2"}


def test_a_reload_picks_up_changed_settings_of_the_aws_config_file(world: World) -> None:
    role = world.add_role()
    world.environ.pop("AWS_DEFAULT_REGION")
    world.configure({"reports": role})
    aws_config = world.home / ".aws" / "config"
    aws_config.write_text("[profile reports]\nregion = eu-west-1\n")
    with world.running():
        for region in ("eu-west-2", "eu-west-3"):
            aws_config.write_text(f"[profile reports]\nregion = {region}\n")
            assert world.run("refresh", "--force", "reports").returncode == 0
    used = [sent["signed for"] for sent in world.server.requests(role)]
    assert used == ["eu-west-1", "eu-west-2", "eu-west-3"]
