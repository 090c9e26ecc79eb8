from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from assumed.app.factory import load_first_configuration
from assumed.app.source_lookup import SourceLookup
from assumed.app.start_up import StartUp
from assumed.credential_sources.base import SourceProfiles
from assumed.errors import (
    AssumedError,
    ConfigurationMissingError,
    ConfigurationUnavailableError,
    InvalidConfigurationError,
    LocalFaultError,
)
from tests.fakes import FakeClock

ROLE = "arn:aws:iam::111122223333:role/deploy"
MISSING = ConfigurationMissingError(["nowhere: cannot be read"], hint="create it")
UNAVAILABLE = ConfigurationUnavailableError("stale", hint="see `dmesg`")
FAULT = LocalFaultError("no descriptors", hint="raise the limit")


class FakeNotifier:
    def __init__(self, *, is_enabled: bool) -> None:
        self.is_enabled = is_enabled
        self.sent: list[str] = []

    def ready(self) -> None:
        self.sent.append("ready")

    def reloading(self) -> None: ...

    def stopping(self) -> None: ...

    def status(self, text: str) -> bool:
        self.sent.append(text)
        return True

    def keep_alive(self) -> None: ...


class Start:
    """A start whose pauses take no time."""

    def __init__(self, *, is_supervised: bool = False, is_named: bool = False) -> None:
        self.clock = FakeClock()
        self.notifier = FakeNotifier(is_enabled=is_supervised)
        self.pauses: list[float] = []
        self.start_up = StartUp(self.notifier, self.clock, is_named=is_named, wait=self.wait)

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.clock.advance(timedelta(seconds=seconds))
        return False

    def after(self, *errors: AssumedError) -> str | None:
        remaining: Iterator[AssumedError] = iter(errors)

        def create() -> str:
            for error in remaining:
                raise error
            return "created"

        return self.start_up.create(create)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return tmp_path


@pytest.mark.parametrize("error", [UNAVAILABLE, FAULT])
def test_a_fault_is_waited_for_with_one_event_and_growing_pauses(
    error: AssumedError, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "assumed")
    start = Start(is_supervised=True)
    assert start.after(*[error] * 12) == "created"
    assert [record.getMessage() for record in caplog.records] == ["start_delayed"]
    assert start.notifier.sent[0] == f"waiting: {error.message}"
    assert sum(start.pauses) == sum([1, 2, 4, 8, 16, 32, *[60] * 6])
    assert "ready" in start.notifier.sent
    assert max(start.pauses) <= 5


@pytest.mark.parametrize(("is_supervised", "is_named"), [(True, False), (False, True)])
def test_a_missing_configuration_is_waited_for_under_systemd_or_if_it_is_named(
    is_supervised: bool, is_named: bool
) -> None:
    start = Start(is_supervised=is_supervised, is_named=is_named)
    assert start.after(MISSING) == "created"


def test_a_missing_configuration_is_waited_for_while_the_home_directory_is_missing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home / "not mounted"))
    assert Start().after(MISSING) == "created"


def test_a_person_without_a_configuration_gets_the_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigurationMissingError):
        Start().after(MISSING)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(ConfigurationMissingError):
        Start(is_named=True).after(MISSING)
    denied = ConfigurationUnavailableError("denied", hint="make it readable")
    denied.__cause__ = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with pytest.raises(ConfigurationUnavailableError):
        Start(is_named=True).after(denied)


def test_a_wrong_configuration_is_never_waited_for() -> None:
    wrong = InvalidConfigurationError(["line 1"], hint="fix it")
    with pytest.raises(InvalidConfigurationError):
        Start(is_supervised=True, is_named=True).after(wrong)


def configured(path: Path, text: str) -> Callable[[], object]:
    path.write_text(text)
    path.chmod(0o600)
    path.parent.chmod(0o700)
    return lambda: load_first_configuration(path, SourceLookup(SourceProfiles()))


def test_a_source_profile_is_waited_for_only_if_there_are_no_aws_files(home: Path) -> None:
    valid = f"profiles: {{a: {{role_arn: '{ROLE}', source_profile: keys}}}}"
    load = configured(home / "config.yaml", valid)
    with pytest.raises(ConfigurationMissingError, match="keys"):
        load()
    (home / ".aws").mkdir()
    (home / ".aws/config").write_text("[profile other]\n")
    with pytest.raises(InvalidConfigurationError, match="keys"):
        load()


def test_other_problems_of_a_configuration_are_reported_without_the_aws_files(home: Path) -> None:
    text = "profiles: {a: {role_arn: nonsense, source_profile: keys}}"
    with pytest.raises(InvalidConfigurationError, match="not an ARN"):
        configured(home / "config.yaml", text)()
