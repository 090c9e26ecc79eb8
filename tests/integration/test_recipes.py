"""The recipes of docs/recipes.md, with the real tools if they are installed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from shutil import which

import pytest

from tests.integration.recipes import blocks, installed
from tests.integration.world import SOURCE, World, wait_until

EVERYTHING = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
AWS = Path(sys.executable).with_name("aws")
# The environment of programs that a desktop, cron or a systemd unit starts.
BARE = {"PATH": "/usr/bin:/bin"}

# The test ends it after its first session has expired.
SLOW = """
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "while ! test -e done; do sleep 0.1; done"
  }
}
"""


def write_profile(world: World, title: str) -> None:
    (profile,) = (text for text in blocks(title, "ini") if "[profile " in text)
    (world.home / ".aws" / "config").write_text(installed(world, profile))


def deploy(world: World) -> str:
    """Configure the profile of all recipes, and return the ARN of its role."""
    role = world.server.add_role(EVERYTHING, trusts=world.user_arn)
    world.configure({"deploy": role})
    return role


def bare_environ(world: World, more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without that of a shell, except for the address of the test AWS."""
    named = ("HOME", "XDG_RUNTIME_DIR", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "NO_PROXY")
    return {**{name: world.environ[name] for name in named}, **BARE, **more}


class TestTerraform:
    @pytest.fixture
    def terraform(self) -> str:
        command = which("terraform")
        if command is None:
            pytest.skip("NOT TESTED: Terraform through sessions that expire: it is not installed")
        return command

    @pytest.mark.parametrize("way", ["exec", "profile"])
    def test_terraform_apply_may_take_longer_than_a_session(
        self, hasty: World, terraform: str, way: str
    ) -> None:
        role = deploy(hasty)
        bucket = f"state-{uuid.uuid4().hex[:8]}"
        hasty.server.ask("bucket", {"name": bucket})
        backend, _ = blocks("Terraform", "hcl")
        if way == "profile":
            write_profile(hasty, "Terraform")
            command = "terraform apply"
        else:
            (command,) = (line.removeprefix("$ ") for line in blocks("Terraform", "console"))
            backend = "".join(
                line for line in backend.splitlines(keepends=True) if "profile" not in line
            )
        (hasty.home / "main.tf").write_text(backend.replace("my-state", bucket) + SLOW)
        hasty.environ |= {
            "CHECKPOINT_DISABLE": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "TF_CLI_ARGS_init": "-no-color -backend-config=use_path_style=true "
            "-backend-config=use_lockfile=true",
            "TF_CLI_ARGS_apply": "-no-color -auto-approve",
        }
        with hasty.running():
            words = shlex.split(installed(hasty, f" {command}"))
            assert words[-2:] == ["terraform", "apply"]
            begun = hasty.home / "init.log"
            assert self.run(hasty, [*words[:-1], "init"], begun).wait() == 0, begun.read_text()
            log = hasty.home / "terraform.log"
            with self.run(hasty, words, log) as applied:
                wait_until(lambda: "local-exec" in log.read_text(), "the lock, and then the work")
                # The next session starts halfway through the one before.
                enough = hasty.server.calls(role) + 4
                wait_until(lambda: hasty.server.calls(role) >= enough, "its session to expire")
                assert applied.poll() is None
                (hasty.home / "done").touch()
                assert applied.wait() == 0, log.read_text()
        assert "Apply complete! Resources: 1 added" in log.read_text()

    def run(self, world: World, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603
                words,
                env=world.environ,
                cwd=world.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


def test_vs_code_started_from_the_desktop_gets_credentials(world: World) -> None:
    role = deploy(world)
    write_profile(world, "VS Code")
    settings, launch = map(json.loads, blocks("VS Code", "json"))
    assert launch["env"] == settings["terminal.integrated.env.linux"]
    with world.running():
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", f"{AWS} sts get-caller-identity"],
            env=bare_environ(world, launch["env"]),
            capture_output=True,
            text=True,
            check=False,
        )
    assert f":assumed-role/{role.rpartition('/')[2]}/" in done.stdout, done.stderr


WORKER = """
const { spawnSync } = require("node:child_process");
const done = spawnSync(process.argv[1], ["sts", "get-caller-identity"], { stdio: "inherit" });
process.exit(done.status);
"""


def test_jobs_of_a_github_runner_get_credentials(world: World) -> None:
    node = which("node")
    if node is None:
        pytest.skip("NOT TESTED: what a runner of Node starts: node is not installed")
    role = deploy(world)
    write_profile(world, "A self-hosted GitHub runner")
    (text,) = blocks("A self-hosted GitHub runner", "")
    variables = dict(line.split("=", 1) for line in text.splitlines())
    with world.running():
        done = subprocess.run(  # noqa: S603
            [node, "-e", WORKER, str(AWS)],
            env=bare_environ(world, variables),
            capture_output=True,
            text=True,
            check=False,
        )
    assert f":assumed-role/{role.rpartition('/')[2]}/" in done.stdout, done.stderr


def test_builds_of_a_jenkins_agent_get_credentials(world: World) -> None:
    role = deploy(world)
    (unit,) = blocks("A Jenkins agent", "ini")
    (line,) = (line for line in unit.splitlines() if line.startswith("ExecStart="))
    java = world.home / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho $2\nsh -c '{AWS} sts get-caller-identity'\n")
    java.chmod(0o700)
    with world.running():
        done = subprocess.run(  # noqa: S603
            shlex.split(installed(world, line.replace("ExecStart=", " "))),
            env=bare_environ(world, {"PATH": f"{java.parent}:/usr/bin:/bin"}),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.startswith("/opt/jenkins/agent.jar\n"), done.stderr
    assert f":assumed-role/{role.rpartition('/')[2]}/" in done.stdout, done.stderr


def test_a_container_reads_a_file_of_its_own_and_cannot_write_it(world: World) -> None:
    """With the mount of a container, in a namespace, instead of Docker."""
    (configuration,) = blocks("Docker", "yaml")
    role = world.add_role()
    text = configuration.replace("arn:aws:iam::111122223333:role/deploy", role)
    world.write_config(text.replace("source_profile: keys", f"source_profile: {SOURCE}"))
    directory = world.home / ".local" / "share" / "shop"
    directory.mkdir(mode=0o700, parents=True)
    inside = world.home / "inside"
    inside.mkdir()
    mount = f"mount --bind -o ro {directory} {inside}"
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = f"{mount} && cat {inside}/credentials && ! echo '[src]' >> {inside}/credentials"
    with world.running():
        done = subprocess.run(  # noqa: S603
            [*namespace, "sh", "-c", script], capture_output=True, text=True, check=False
        )
    if "unshare" in done.stderr:
        pytest.skip(f"NOT TESTED: no mount namespace: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert "Read-only file system" in done.stderr
    assert "[deploy]" in done.stdout
    assert SOURCE not in done.stdout
    assert world.user_secret not in done.stdout
