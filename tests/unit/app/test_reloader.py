from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from assumed.app.factory import load_configuration
from assumed.app.reloader import ConfigReloader
from assumed.credential_sources.base import SourceProfiles
from assumed.logs import event_fields
from assumed.models import Configuration

ROLE = "arn:aws:iam::111122223333:role/deploy"


class Reloading:
    """A configuration file, and what a reload does with it."""

    def __init__(self, home: Path) -> None:
        self.path = home / "config.yaml"
        self.applied: list[list[str]] = []
        self.requests = 0
        self.write("deploy")
        sources = SourceProfiles()
        self.reloader = ConfigReloader(
            load_configuration(self.path, sources),
            {"HOME": str(home)},
            sources=sources,
            apply=self.apply,
            request_reload=self.request_reload,
        )

    def write(self, *profiles: str, **others: object) -> None:
        definitions = {name: {"role_arn": ROLE, "source_profile": "keys"} for name in profiles}
        self.path.write_text(json.dumps({"profiles": definitions, **others}))
        self.path.chmod(0o600)

    def apply(self, configuration: Configuration) -> None:
        self.applied.append([*configuration.profiles])

    def request_reload(self) -> None:
        self.requests += 1


@pytest.fixture
def reloading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reloading:
    credentials = tmp_path / "credentials"
    credentials.write_text("[keys]\naws_access_key_id = AKIA\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return Reloading(tmp_path)


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [{**event_fields(each)} for each in caplog.records if each.getMessage() == name]


def test_reload_applies_a_valid_configuration(
    reloading: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    reloading.write("deploy", "read")
    reloading.reloader.reload()
    assert reloading.applied == [["deploy", "read"]]
    assert reloading.reloader.error is None
    assert [each["profiles"] for each in events(caplog, "config_reloaded")] == [2]


def test_reload_rejects_an_invalid_configuration_with_every_problem(
    reloading: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    reloading.path.write_text("profiles: {a: {role_arm: x}, b: {duration_seconds: 1}}\n")
    reloading.reloader.reload()
    assert reloading.applied == []
    rejected = events(caplog, "config_rejected")
    assert len(rejected) > 1
    assert all(str(reloading.path) in each["problem"] for each in rejected)
    assert all("do not restart the daemon" in each["hint"] for each in rejected)
    assert reloading.reloader.error is not None
    reloading.write("deploy")
    reloading.reloader.reload()
    assert reloading.reloader.error is None


def test_reload_logs_a_change_that_needs_a_restart(
    reloading: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    reloading.write("deploy", credentials_file={"path": "/elsewhere"})
    reloading.reloader.reload()
    assert len(events(caplog, "restart_needed")) == 1
    assert reloading.applied == [["deploy"]]


@pytest.mark.parametrize("text", ["profiles: {}", "nonsense"])
def test_request_is_done_after_the_reload_whether_or_not_it_is_rejected(
    reloading: Reloading, text: str
) -> None:
    first, second = reloading.reloader.request(), reloading.reloader.request()
    assert reloading.requests == 2
    assert not first.done()
    reloading.path.write_text(text)
    reloading.reloader.reload()
    assert first.done()
    assert second.done()
