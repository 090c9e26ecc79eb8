"""The metrics of a real daemon: at the API socket, at the metrics endpoint and in a file."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from assumed.logs import event_fields
from assumed.observers.metrics_textfile import MetricsTextfile
from assumed.paths import user_name
from tests.fakes import FakeClock
from tests.integration.world import SOURCE, Daemon, World, wait_until
from tests.repository import REPOSITORY

ALERTS = REPOSITORY / "config" / "alerts.yml"
CASES = Path(__file__).with_name("alerts_cases.yml")
Reply = tuple[int, str, str]
"""Status, content type and text."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def scrape(
    port: int, target: str = "/metrics", method: str = "GET", headers: Mapping[str, str] = {}
) -> Reply:
    return reply(HTTPConnection("127.0.0.1", port, timeout=30), target, method, headers)


def scrape_socket(world: World) -> Reply:
    connection = HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(world.home / "run" / "assumed" / "assumed.sock"))
    return reply(connection, "/v1/metrics", "GET", {})


def reply(
    connection: HTTPConnection, target: str, method: str, headers: Mapping[str, str]
) -> Reply:
    try:
        connection.request(method, target, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read().decode()
    finally:
        connection.close()


def configure(world: World, roles: Mapping[str, str], **metrics: Any) -> None:
    profiles = {name: {"role_arn": role, "source_profile": SOURCE} for name, role in roles.items()}
    world.write_config(json.dumps({"profiles": profiles, "metrics": metrics}))


def reload(daemon: Daemon, *, times: int) -> None:
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config_reloaded", times=times)


def test_every_metric_of_the_alert_rules_is_in_each_output(world: World) -> None:
    denied = world.add_role(trusts="arn:aws:iam::123456789012:user/none")
    port, textfile = free_port(), world.home / "metrics" / "assumed.prom"
    textfile.parent.mkdir()
    configure(
        world, {"good": world.add_role(), "denied": denied}, port=port, textfile=str(textfile)
    )
    with world.running():
        is_valid = f'assumed_profile_state{{profile="good",state="valid",user="{user_name()}"}} 1.0'
        wait_until(lambda: textfile.exists() and is_valid in textfile.read_text(), "the file")
        status, content_type, text = scrape(port)
        assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert scrape_socket(world)[:2] == (200, content_type)
        for scraped in (text, scrape_socket(world)[2], textfile.read_text()):
            expressions = "\n".join(re.findall(r"expr: (.*?)\n +for:", ALERTS.read_text(), re.S))
            for name in set(re.findall(r"\bassumed_\w+", expressions)):
                assert re.search(rf"^{name}[ {{]", scraped, re.M), name
        assert is_valid in text
        assert 'assumed_profile_state{profile="denied",state="failing",' in text
        assert re.search(r'^assumed_refresh_failures_total\{code="AccessDenied",', text, re.M)
        assert re.search(r"^assumed_sts_request_duration_seconds_count{.*} [2-9]", text, re.M)
        assert re.search(r"^assumed_refresh_lateness_seconds_count{.*} 1.0$", text, re.M)
        assert re.search(r"^assumed_credentials_file_writes_total{.*} 1.0$", text, re.M)
        assert stat.S_IMODE(textfile.stat().st_mode) == 0o644
        assert [file.name for file in textfile.parent.iterdir()] == ["assumed.prom"]


def test_the_metrics_endpoint_answers_one_path_and_host_on_loopback(world: World) -> None:
    port = free_port()
    configure(world, {"good": world.add_role()}, port=port)
    with world.running():
        assert scrape(port)[0] == 200
        assert scrape(port, headers={"Host": f"localhost:{port}"})[0] == 200
        for response, status in (
            (scrape(port, headers={"Host": "evil.example.com"}), 403),
            (scrape(port, headers={"Host": "127.0.0.1:1"}), 403),
            (scrape(port, "/"), 404),
            (scrape(port, "/metrics/../v1/credentials"), 404),
            (scrape(port, "/v1/credentials?profile=good"), 404),
            (scrape(port, method="POST"), 405),
        ):
            assert response[0] == status
            assert "assumed_" not in response[2]
        listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        addresses = re.findall(rf"^ +\d+: (\w+):{port:04X} \w+:0000 0A", listening, re.M)
        assert addresses == ["0100007F"]


def test_a_port_in_use_is_logged_and_reload_opens_another(world: World) -> None:
    role = world.add_role()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        configure(world, {"good": role}, port=busy)
        with world.running() as daemon:
            daemon.wait_for(f"metrics_listen_failed address=127.0.0.1:{busy}")
            assert world.states() == {"good": "valid"}
            first, second = free_port(), free_port()
            for times, port in enumerate((first, second), 1):
                configure(world, {"good": role}, port=port)
                reload(daemon, times=times)
                assert scrape(port)[0] == 200
            assert not is_open(first)
            configure(world, {"good": role})
            reload(daemon, times=3)
            assert not is_open(second)
            assert scrape_socket(world)[0] == 200


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_metrics_textfile_logs_a_failure_once_until_it_succeeds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics" / "assumed.prom"
    contents = iter([b"one\n", b"one\n", b"one\n", b"one\n", b"two\n", b"three\n"])
    textfile = MetricsTextfile(lambda: next(contents), FakeClock())
    textfile.configure(path)

    def logged() -> list[str]:
        found = [str(event_fields(record)["error"]) for record in caplog.records]
        caplog.clear()
        return found

    for _ in range(3):
        textfile.write()
    assert logged() == [f"{path}: No such file or directory"]
    path.parent.mkdir()
    textfile.write()
    before = path.open("rb")
    textfile.write()
    with before:
        # A reader sees the whole old file or the whole new one.
        assert (before.read(), path.read_bytes()) == (b"one\n", b"two\n")
    path.unlink()
    path.mkdir()
    textfile.write()
    assert logged() == [f"{path}: Is a directory"]
    assert [file.name for file in path.parent.iterdir()] == ["assumed.prom"]


def test_a_daemon_without_a_reader_of_its_metrics_does_not_import_the_library() -> None:
    script = "import sys, assumed.app.daemon; print('prometheus_client' in sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("NOT TESTED: config/alerts.yml by promtool, which is in Debian's `prometheus`")
    return found


@pytest.mark.parametrize("arguments", [["check", ALERTS], ["test", CASES]], ids=["check", "test"])
def test_promtool_accepts_the_alert_rules(promtool: str, arguments: list[str | Path]) -> None:
    command, file = arguments
    done = subprocess.run(  # noqa: S603
        [promtool, command, "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_names_of_the_metrics(world: World, promtool: str) -> None:
    configure(world, {"good": world.add_role()})
    with world.running():
        text = scrape_socket(world)[2]
    done = subprocess.run(  # noqa: S603
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
