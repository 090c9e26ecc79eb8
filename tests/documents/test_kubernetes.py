"""The manifest of config/ holds a configuration that loads, and a pod in which it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from assumed.cli.run import command as run
from assumed.cli.wait import command as wait
from assumed.config import loader
from assumed.models import Configuration, StorageMode, WebIdentity
from tests.repository import REPOSITORY

MANIFEST = REPOSITORY / "config" / "kubernetes.yaml"
OBJECTS = {shape["kind"]: shape for shape in yaml.safe_load_all(MANIFEST.read_text())}
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
(SIDECAR,), (APP,) = POD["initContainers"], POD["containers"]
VOLUMES = {volume["name"]: volume for volume in POD["volumes"]}


def test_the_manifest_conforms_to_the_schemas_of_kubernetes() -> None:
    for shape in OBJECTS.values():
        for version in ("1.29", kubernetes_validate.latest_version()):
            kubernetes_validate.validate(shape, version, strict=True)


def mounts(container: Any) -> dict[str, Any]:
    return {mount["name"]: mount for mount in container["volumeMounts"]}


def variables(container: Any) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container["env"]}


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    file = tmp_path / "config.yaml"
    file.touch(mode=0o600)
    file.write_text(OBJECTS["ConfigMap"]["data"]["config.yaml"])
    # There are no AWS files in that pod.
    return loader.load(file, user="10001", host="pod", source_exists=lambda _: False)


def test_the_configuration_is_mounted_where_the_daemon_looks_for_it() -> None:
    mount = mounts(SIDECAR)["config"]
    assert mount["mountPath"] == "/etc/assumed/config.yaml"
    # Without it the folder would be the volume's own, which everybody in the pod may write.
    assert mount["subPath"] in OBJECTS["ConfigMap"]["data"]
    assert VOLUMES["config"]["configMap"]["name"] == OBJECTS["ConfigMap"]["metadata"]["name"]


def test_the_first_role_is_assumed_with_the_token_that_is_mounted(
    configuration: Configuration,
) -> None:
    hub = configuration.profiles["hub"]
    (source,) = VOLUMES["token"]["projected"]["sources"]
    token = Path(mounts(SIDECAR)["token"]["mountPath"]) / source["serviceAccountToken"]["path"]
    assert hub.source == WebIdentity(token)
    assert source["serviceAccountToken"]["audience"] == "sts.amazonaws.com"
    assert POD["serviceAccountName"] == OBJECTS["ServiceAccount"]["metadata"]["name"]
    assert "token" not in mounts(APP)


def test_the_file_is_in_memory_and_where_the_application_reads_it(
    configuration: Configuration,
) -> None:
    file = configuration.credentials_file
    assert file is not None
    assert VOLUMES["aws"]["emptyDir"]["medium"] == "Memory"
    for container in (SIDECAR, APP):
        assert mounts(container)["aws"]["mountPath"] == str(file.parent)
    assert mounts(APP)["aws"]["readOnly"]
    assert variables(APP)["AWS_SHARED_CREDENTIALS_FILE"] == str(file)
    shown = configuration.profiles[variables(APP)["AWS_PROFILE"]]
    assert shown.store is StorageMode.FILE
    # What is stored is private to its owner.
    assert isinstance(POD["securityContext"]["runAsUser"], int)
    assert not {"runAsUser"} & (SIDECAR["securityContext"].keys() | APP["securityContext"].keys())


def test_the_application_starts_when_its_profiles_are_there(configuration: Configuration) -> None:
    assert SIDECAR["restartPolicy"] == "Always"
    program, name, *arguments = SIDECAR["startupProbe"]["exec"]["command"]
    assert (program, name) == ("assumed", "wait")
    waits_for = wait.make_context("wait", arguments).params["profiles"]
    stored = [
        name for name, role in configuration.profiles.items() if role.store is StorageMode.FILE
    ]
    assert [*waits_for] == stored
    subcommand, *options = SIDECAR["args"]
    assert subcommand == "run"
    run.make_context("run", options)


@pytest.mark.parametrize("container", [SIDECAR, APP], ids=["assumed", "app"])
def test_each_container_may_do_as_little_as_can_be(container: Any) -> None:
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["securityContext"]["runAsNonRoot"]
