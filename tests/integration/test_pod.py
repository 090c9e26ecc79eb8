"""The pod of config/kubernetes.yaml: its commands, users, mounts and variables, in namespaces.

There is no image and no cluster: `assumed` and `aws` are those of this environment.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documents.test_kubernetes import APP, OBJECTS, POD, SIDECAR, VOLUMES
from tests.integration.machine import Machine, why_not
from tests.integration.test_web_identity import PROVIDER
from tests.integration.world import MAY_ASSUME, READ_ONLY, AwsServer

TOKEN = "eyJhbGciOiJub25lIn0.eyJqdGkiOiJwb2QifQ.c2ln"
PROBE = SIDECAR["startupProbe"]
IDS = POD["securityContext"]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if (reason := why_not()) is not None:
        pytest.skip(f"NOT TESTED: config/kubernetes.yaml in namespaces: {reason}")
    machine = Machine(tmp_path)
    yield machine
    machine.power_off()


def make_volumes(machine: Machine, roles: dict[str, str]) -> None:
    """Mount what the kubelet mounts, with its owners and modes."""
    config = OBJECTS["ConfigMap"]["data"]["config.yaml"]
    for profile, role in roles.items():
        # The only changes: roles that exist here.
        (written,) = (line for line in config.splitlines() if f"role/{profile}" in line)
        config = config.replace(written.split()[-1], role)
    group = IDS["fsGroup"]
    for name, volume in VOLUMES.items():
        machine.do("mkdir", "-p", f"/pod/{name}")
        if "emptyDir" in volume:
            size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
            options = f"mode=2777,gid={group},size={size}"
            machine.do("mount", "-t", "tmpfs", "-o", options, "tmpfs", f"/pod/{name}")
        else:
            machine.do("chmod", "2777", f"/pod/{name}")
            machine.do("chgrp", str(group), f"/pod/{name}")
    for mount in SIDECAR["volumeMounts"]:
        path = mount["mountPath"]
        machine.do(
            *(["install", "-D", "/dev/null"] if "subPath" in mount else ["mkdir", "-p"]), path
        )
    machine.write("/pod/config/config.yaml", config)
    machine.write("/pod/token/token", f"{TOKEN}\n")
    machine.do("chmod", "644", "/pod/config/config.yaml")
    machine.do("chown", f"0:{group}", "/pod/token/token")
    machine.do("chmod", "640", "/pod/token/token")


def command_in(container: Any, words: list[str], **more: str) -> list[str]:
    """Return a command that runs `words` in the container, as the runtime would."""
    script = ["mount --make-rprivate /"]
    for mount in container["volumeMounts"]:
        source = f"/pod/{mount['name']}/{mount.get('subPath', '')}".rstrip("/")
        target = shlex.quote(mount["mountPath"])
        script += [f"mount --bind {source} {target}"]
        if mount.get("readOnly"):
            script += [f"mount -o remount,bind,ro {target}"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    # Files of the container must not be seen by another one under the paths of its volumes.
    script += ["mount -t tmpfs -o ro tmpfs /pod", "mount -o remount,bind,ro /"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    given = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **variables, **more}
    setpriv = (
        f"setpriv --reuid={IDS['runAsUser']} --regid={IDS['runAsGroup']} "
        f"--groups={IDS['fsGroup']} --no-new-privs --bounding-set=-all --inh-caps=-all"
    )
    assigned = " ".join(f"{name}={shlex.quote(value)}" for name, value in given.items())
    script += [f"cd / && exec {setpriv} env -i {assigned} {shlex.join(words)}"]
    return ["unshare", "--mount", "sh", "-ec", "\n".join(script)]


def test_the_containers_of_the_pod_work_as_the_manifest_starts_them(
    machine: Machine, aws_server: AwsServer
) -> None:
    aws_server.accept(TOKEN)
    hub = aws_server.add_role(MAY_ASSUME, trusts=PROVIDER)
    billing, archive = (aws_server.add_role(READ_ONLY, trusts=hub) for _ in "ab")
    make_volumes(machine, {"reports": hub, "billing-reader": billing, "archive-writer": archive})
    here = {"AWS_ENDPOINT_URL": aws_server.endpoint_url, "AWS_EC2_METADATA_DISABLED": "true"}

    def probe() -> subprocess.CompletedProcess[str]:
        return machine.run(*command_in(SIDECAR, PROBE["exec"]["command"], **here))

    sidecar = command_in(SIDECAR, ["assumed", *SIDECAR["args"]], **here)
    machine.do("systemd-run", "--unit=sidecar", "--property=KillSignal=SIGTERM", *sidecar)
    for _ in range(PROBE["failureThreshold"]):
        started = time.monotonic()
        probed = probe()
        assert time.monotonic() - started < PROBE["timeoutSeconds"]
        if probed.returncode == 0:
            break
    assert probed.returncode == 0, probed.stderr + machine.journal()[-3000:]

    # Without a daemon, the probe would have assumed the roles itself.
    assert machine.run("systemctl", "is-active", "sidecar").stdout == "active\n"
    caller = machine.do(*command_in(APP, ["aws", "sts", "get-caller-identity"], **here))
    assert f":assumed-role/{billing.rpartition('/')[2]}/" in json.loads(caller)["Arn"]
    path = next(entry["value"] for entry in APP["env"] if "CREDENTIALS_FILE" in entry["name"])
    stored = machine.do(*command_in(APP, ["cat", path]))
    assert "[billing]" in stored
    assert "[archive]" in stored
    assert "[hub]" not in stored
    for refused in (["touch", path], ["cat", "/var/run/secrets/assumed/token"], ["touch", "/x"]):
        assert machine.run(*command_in(APP, refused)).returncode != 0
    # The kubelet stops it after `app`.
    machine.do("systemctl", "stop", "sidecar")
    machine.do("journalctl", "--sync")
    assert '"event": "daemon_stopped"' in machine.journal(), machine.journal()[-1500:]
    assert machine.run("systemctl", "is-failed", "sidecar").stdout != "failed\n"
