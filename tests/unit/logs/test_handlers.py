from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from assumed.logs import LogFormat, configure, event
from tests.unit.logs.conftest import Output


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_configure_debug_shows_debug_events_and_warnings_of_libraries(output: Output) -> None:
    configure(level="debug")
    event(logging.DEBUG, "planned", profile="deploy")
    for name in ("botocore", "botocore.parsers", "urllib3.util", "asyncio", "watchdog"):
        logging.getLogger(name).debug("the response is %s", "private")
        logging.getLogger(name).info("the response is %s", "private")
        logging.getLogger(name).warning("pool of %s is full", name)
    assert "planned" in output.text
    assert "private" not in output.text
    assert output.text.count("is full") == 5


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)]
)
def test_configure_leaves_out_events_below_the_level(
    level: str, count: int, output: Output
) -> None:
    configure(level=level)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        event(number, "something")
    assert len(output.text.splitlines()) == count


def test_configure_replaces_an_earlier_configuration(output: Output) -> None:
    configure()
    configure(log_format=LogFormat.JSON)
    event(logging.INFO, "something")
    [line] = output.text.splitlines()
    assert json.loads(line)["event"] == "something"


@pytest.mark.parametrize(
    ("library", "message"),
    [
        ("botocore.credentials", "Refreshing failed: what the process said"),
        ("urllib3.connectionpool", "Connection pool is full, discarding connection"),
    ],
)
def test_configure_silences_expected_warnings_of_libraries(
    library: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(level="debug")
    logging.getLogger(library).warning(message)
    assert capsys.readouterr().err == ""


def test_a_warning_of_a_library_has_no_traceback_and_an_error_has_one(output: Output) -> None:
    configure()
    try:
        json.loads("")
    except ValueError:
        logging.getLogger("botocore.tokens").warning("refresh %s", "failed", exc_info=True)
        logging.getLogger("apscheduler").exception("a job failed")
    first, *rest = output.text.splitlines()
    assert first.endswith("refresh failed JSONDecodeError")
    assert "Traceback" in "\n".join(rest)


def test_a_log_file_is_private_and_appended_to(
    tmp_path: Path, output: Output, usual_umask: None
) -> None:
    log_file = tmp_path / "assumed.log"
    for _ in range(2):
        configure(log_file=log_file)
        event(logging.INFO, "something")
        logging.getLogger().handlers[0].close()
    assert log_file.stat().st_mode & 0o777 == 0o600
    assert len(log_file.read_text().splitlines()) == 2
    assert output.text == ""


def test_a_log_file_is_reopened_after_rotation(tmp_path: Path, usual_umask: None) -> None:
    log_file = tmp_path / "assumed.log"
    configure(log_file=log_file)
    event(logging.INFO, "before")
    log_file.rename(tmp_path / "assumed.log.1")
    event(logging.INFO, "after")
    assert "before" in (tmp_path / "assumed.log.1").read_text()
    assert "after" not in (tmp_path / "assumed.log.1").read_text()
    assert "after" in log_file.read_text()
    assert log_file.stat().st_mode & 0o777 == 0o600


def test_a_log_file_accepts_any_text(tmp_path: Path) -> None:
    log_file = tmp_path / "assumed.log"
    configure(log_file=log_file)
    try:
        raise RuntimeError("half a character \udcff")
    except RuntimeError as error:
        event(logging.ERROR, "internal_error", exc_info=error, path=Path("köln/\udcff"))
    [line, *_, last] = log_file.read_text(encoding="utf-8").splitlines()
    assert line.endswith('path="k\\u00f6ln/\\udcff"')
    assert last == "  | RuntimeError: half a character \\udcff"


def test_configure_fails_if_the_log_file_cannot_be_created(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        configure(log_file=tmp_path / "nowhere" / "assumed.log")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_configure_rejects_a_log_file_of_another_user(tmp_path: Path) -> None:
    log_file = tmp_path / "assumed.log"
    log_file.touch()
    os.chown(log_file, 12345, -1)
    with pytest.raises(PermissionError, match=r"assumed\.log belongs to uid 12345"):
        configure(log_file=log_file)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "mine")
    os.chown(link, 12345, -1, follow_symlinks=False)
    with pytest.raises(PermissionError, match="link is a symbolic link that belongs to uid 12345"):
        configure(log_file=link)
    assert not (tmp_path / "mine").exists()


def test_configure_uses_the_journal_unless_a_file_is_given(tmp_path: Path, output: Output) -> None:
    class Journal(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.events: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.events.append(record.getMessage())

    journal = Journal()
    configure(journal=journal)
    event(logging.INFO, "one")
    configure(journal=journal, log_file=tmp_path / "assumed.log")
    event(logging.INFO, "two")
    assert journal.events == ["one"]
    assert "two" in (tmp_path / "assumed.log").read_text()
    assert output.text == ""
