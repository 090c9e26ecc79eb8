"""A daemon of one version, and the files and commands of another one."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path

import assumed
from assumed import __version__
from tests.integration.world import SOURCE, World, wait_until

OTHER_VERSION = """
import sys
import assumed
assumed.__version__ = "0.0.9"
from assumed.__main__ import main
sys.exit(main())
"""


def test_commands_report_a_daemon_of_another_version(world: World) -> None:
    world.configure({"reports": world.add_role()})
    this = world.assumed
    world.assumed = [sys.executable, "-c", OTHER_VERSION]
    with world.running() as daemon:
        world.assumed = this
        note = (
            f"note: the daemon is of version 0.0.9, this command of {__version__}: "
            f"stop it (`kill {daemon.pid}`) and start it again\n"
        )
        for command in (["status"], ["refresh"], ["wait"]):
            done = world.run(*command)
            assert (done.returncode, done.stderr) == (0, note)
        # What a program reads has nothing but the result.
        exported = world.run("export-credentials", "--profile", "reports")
        assert (exported.returncode, exported.stderr) == (0, "")
        world.outputs.clear()


def test_commands_say_nothing_about_a_daemon_of_the_same_version(world: World) -> None:
    world.configure({"reports": world.add_role()})
    with world.running():
        assert world.run("status").stderr == ""


def test_a_running_daemon_needs_no_file_of_its_package(world: World) -> None:
    """Without its files, which an upgrade replaces one by one, it does everything until it stops.

    The libraries stay: the trace of imports shows that nothing of theirs is imported late.
    """
    copy = world.home / "copy"
    package = copy / "assumed"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(assumed.__file__).parent, package, ignore=ignored)
    with (package / "__init__.py").open("a") as module:
        module.write('\n__version__ = "0.0.9"\n')
    textfile = world.home / "metrics.prom"
    role = world.add_role()
    chained = world.add_role(trusts=role)
    hook = world.home / "hooked"
    world.write_config(
        json.dumps(
            {
                "profiles": {"reports": {"role_arn": role, "source_profile": SOURCE}},
                "hooks": {"on_refresh": ["touch", str(hook)]},
                "metrics": {"textfile": str(textfile)},
            }
        )
    )
    with world.running(PYTHONPATH=str(copy), PYTHONPROFILEIMPORTTIME="1") as daemon:
        before = daemon.log.read_text()
        assert "import time:" in before
        assert world.status()["daemon"]["version"] == "0.0.9", "it runs from the copy"
        for file in package.rglob("*"):
            if file.is_file():
                file.write_text("replaced(")
        shutil.rmtree(package)
        assert world.run("refresh", "--force").returncode == 0
        wait_until(hook.exists, "the hook")
        world.server.disturb(role, "throttle")
        world.run("refresh", "--force")
        world.server.disturb(role, "break")
        world.run("refresh", "--force")
        world.server.disturb(role, "")
        process = ["sh", "-c", "exit 3"]
        world.write_config(
            json.dumps(
                {
                    "profiles": {
                        "reports": {"role_arn": role, "source_profile": SOURCE},
                        "chained": {"role_arn": chained, "source_profile": "reports"},
                        "denied": {"role_arn": role + "-no", "source_profile": SOURCE},
                        "mfa": {
                            "role_arn": role,
                            "source_profile": SOURCE,
                            "mfa_serial": "arn:aws:iam::123456789012:mfa/none",
                            "mfa_process": process,
                        },
                        "web": {"role_arn": role, "web_identity_token_file": "/nowhere"},
                        "machine": {"role_arn": role, "credential_source": "Environment"},
                        "memory": {"role_arn": role, "source_profile": SOURCE, "store": "memory"},
                    },
                    "metrics": {"textfile": str(textfile)},
                }
            )
        )
        daemon.wait_for("config_reloaded")
        wait_until(lambda: world.states().get("chained") == "valid", "the chained profile")
        world.write_config("nonsense")
        daemon.wait_for("config_rejected")
        ran = world.run("exec", "reports", "--", sys.executable, "-c", FETCH)
        assert ran.returncode == 0, ran.stderr
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for("daemon_state")
        after = daemon.log.read_text().removeprefix(before)
        assert daemon.stop() == 0
    assert "internal_error" not in after
    late = [
        line.rpartition("|")[2].strip() for line in after.splitlines() if "import time:" in line
    ]
    assert [name for name in late if name.partition(".")[0] not in sys.stdlib_module_names] == []


FETCH = """
import os, urllib.request
token = open(os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]).read()
request = urllib.request.Request(
    os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={"Authorization": token}
)
assert urllib.request.urlopen(request).status == 200
"""
