"""Both clients of the API socket, that of the fast path and `DaemonClient`, on a failing daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from assumed.client import api_client
from assumed.client.api_client import DaemonClient
from assumed.errors import AssumedError
from assumed.fastpath import main as fastpath
from assumed.fastpath.main import CommandFailedError, format_status
from assumed.server.unix_socket import listen
from tests.integration.test_socket import answering, as_another_user, as_root, http_response

SHORT_SECONDS = 0.2


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("ASSUMED_CONFIG", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "assumed" / "assumed.sock"


def of_fast_path(path: Path) -> tuple[str, str]:
    with pytest.raises(CommandFailedError) as raised:
        format_status("{profile}", [], config=None)
    return raised.value.message, raised.value.hint


def of_daemon_client(path: Path) -> tuple[str, str]:
    with pytest.raises(AssumedError) as raised:
        DaemonClient(path).status()
    return raised.value.message, raised.value.hint


INVALID = "the daemon at {} sent an invalid response"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "the daemon at {} does not answer: it closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n", INVALID),
        (http_response("<html>"), INVALID),
        (http_response("[]"), INVALID),
        (http_response('{"daemon": null}'), INVALID),
        (http_response('{"daemon": null, "profiles": 5}'), INVALID),
        (http_response('{"daemon": null, "profiles": [{"profile": "a"}]}'), INVALID),
        (http_response('{"error": "no"}', "400 Bad"), INVALID),
        (http_response('{"error": {"code": "X", "message": "m", "hint": "h"}}', "500 Bad"), "m"),
    ],
)
def test_both_clients_report_an_answer_in_the_same_words(
    path: Path, answer: bytes, message: str
) -> None:
    found = []
    for report in (of_fast_path, of_daemon_client):
        with answering(path, answer):
            found.append(report(path))
    assert found[0] == found[1]
    assert found[0][0] == message.format(path)


def test_both_clients_report_a_daemon_that_hangs_in_the_same_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastpath, "_STATUS_TIMEOUT_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(api_client, "_STATUS_TIMEOUT_SECONDS", SHORT_SECONDS)
    with listen(path):
        found = [of_fast_path(path), of_daemon_client(path)]
    assert found[0] == found[1]
    assert found[0][0] == f"the daemon at {path} has not answered in time"


@as_root
def test_both_clients_report_a_socket_of_another_user_in_the_same_words(path: Path) -> None:
    path.parent.mkdir(0o700)
    with as_another_user("listen", path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "listening\n"
        found = [of_fast_path(path), of_daemon_client(path)]
    assert found[0] == found[1]
    assert found[0][0] == f"{path} belongs to user 65534, not to you: it is not trusted"
