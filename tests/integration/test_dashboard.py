"""config/grafana.json: each query, in a real Prometheus that scrapes a real daemon."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.integration.test_metrics import configure, free_port
from tests.integration.world import World, wait_until
from tests.repository import REPOSITORY

DASHBOARD = json.loads((REPOSITORY / "config" / "grafana.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@contextmanager
def prometheus(port: int, directory: Path) -> Iterator[str]:
    """Run Prometheus, which scrapes this port every second; yield its address."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("NOT TESTED: config/grafana.json: Debian's `prometheus` is not installed")
    directory.mkdir()
    config, address = directory / "prometheus.yml", f"127.0.0.1:{free_port()}"
    job = {"job_name": "assumed", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    # JSON is YAML.
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def ask(address: str, query: str) -> list[Any]:
    """Return the result of a query of the dashboard; nothing while Prometheus starts."""
    for name, value in {
        "$__rate_interval": "1m",
        # All hosts and all users.
        "$instance": ".*",
        "$user": ".*",
    }.items():
        query = query.replace(name, value)
    try:
        with urlopen(f"{address}/api/v1/query?{urlencode({'query': query})}") as response:  # noqa: S310
            found: list[Any] = json.load(response)["data"]["result"]
            return found
    except ConnectionError:
        return []
    except OSError as error:
        # A rejected query is an HTTP error, which has a body.
        if (body := getattr(error, "read", None)) is not None:
            raise AssertionError(f"{query}: {body()}") from error
        return []


def test_every_query_of_the_dashboard_has_a_result(world: World, tmp_path: Path) -> None:
    denied = world.add_role(trusts="arn:aws:iam::123456789012:user/none")
    port = free_port()
    configure(world, {"good": world.add_role(), "denied": denied}, port=port)
    with prometheus(port, tmp_path / "prometheus") as address, world.running():
        # Rates need two samples, with a refresh between them for a quantile.
        wait_until(lambda: len(ask(address, "assumed_build_info")) == 1, "the first scrape")
        refreshed = "assumed_profile_refreshes_total{profile='good'} > 1"

        def has_refreshed() -> bool:
            assert world.run("refresh", "--force", "good").returncode == 0
            return len(ask(address, refreshed)) == 1

        wait_until(has_refreshed, "a scrape after a refresh")
        names = set(re.findall(r"assumed_\w+", "\n".join(QUERIES)))
        for query in (*names, *QUERIES):
            wait_until(lambda query=query: ask(address, query) != [], query)  # type: ignore[misc]
        states = ask(address, QUERIES[6])
        failures = ask(address, next(query for query in QUERIES if "by (code)" in query))
    active = {row["metric"]["state"] for row in states if row["value"][1] == "1"}
    assert active == {"valid", "failing"}
    assert [row["metric"]["code"] for row in failures] == ["AccessDenied"]


def test_the_variables_of_the_dashboard_are_labels_of_the_series() -> None:
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r'(\w+)=~"\$(\w+)"', "\n".join(QUERIES)))
    # Prometheus adds the label `instance`.
    assert used == {("instance", "instance"), ("user", "user")}
    assert variables == {"datasource", "instance", "user"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
