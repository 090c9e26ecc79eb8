"""The API socket: its server, its clients and the path of the socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from assumed.client.api_client import DaemonClient, find_daemon
from assumed.errors import (
    AssumedError,
    DaemonUnreachableError,
    MfaCodeRejectedError,
    RefreshFailedError,
    StsUnavailableError,
    UsageError,
)
from assumed.fastpath.unix_http import DaemonNotAnsweringError, request_json
from assumed.models import Login, Outcome, Status
from assumed.paths import daemon_socket
from assumed.server.api import ApiServer
from assumed.server.serialization import status_to_json
from assumed.server.unix_socket import connect, listen, private_directory
from tests.fake_daemon import DEPLOY, FAILURE, FRESH, HOUR, STATUS, FakeDaemon
from tests.fakes import NOON

OTHER_UID = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "assumed" / "assumed.sock"


@pytest.fixture
def daemon(path: Path) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon()
    server = ApiServer(daemon, listen(path))
    server.start()
    yield daemon
    server.stop()


def request(path: Path, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
    """Send a request without the client; return the status and the body as they are."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    try:
        connection.request(method, target, body=body)
        response = connection.getresponse()
        text = response.read().decode()
        is_json = response.getheader("Content-Type", "").startswith("application/json")
        return response.status, json.loads(text) if is_json else text
    finally:
        connection.close()


def test_status_returns_the_status_of_the_daemon(path: Path, daemon: FakeDaemon) -> None:
    assert DaemonClient(path).status() == STATUS


def test_status_returns_only_the_named_profiles(path: Path, daemon: FakeDaemon) -> None:
    assert DaemonClient(path).status(["fresh"]).profiles == (FRESH,)
    assert DaemonClient(path).status(["fresh", "deploy"]).profiles == (DEPLOY, FRESH)


def test_refresh_returns_the_outcomes_in_the_order_of_the_request(
    path: Path, daemon: FakeDaemon
) -> None:
    outcomes = DaemonClient(path).refresh(["fresh", "deploy"], force=True)
    assert outcomes == (
        Outcome(profile="fresh", was_fresh=True, expires_at=NOON + HOUR),
        Outcome(profile="deploy", failure=FAILURE),
    )
    assert daemon.calls == [(("fresh", "deploy"), True)]


def test_refresh_without_profiles_refreshes_all(path: Path, daemon: FakeDaemon) -> None:
    assert len(DaemonClient(path).refresh([], force=False)) == 2
    assert daemon.calls == [((), False)]


def test_refresh_answers_after_all_attempts_and_delays_no_other_request(
    path: Path, daemon: FakeDaemon
) -> None:
    daemon.outcomes["deploy"] = Future()
    answers: list[tuple[Outcome, ...]] = []
    client = Thread(
        target=lambda: answers.append(DaemonClient(path).refresh(["deploy"], force=False))
    )
    client.start()
    daemon.is_called.wait()
    assert DaemonClient(path).status() == STATUS
    assert answers == []
    daemon.outcomes["deploy"].set_result(Outcome(profile="deploy"))
    client.join()
    assert answers == [(Outcome(profile="deploy"),)]


def test_refresh_streams_each_outcome_as_soon_as_it_is_known(
    path: Path, daemon: FakeDaemon
) -> None:
    slow, fresh = Future[Outcome](), daemon.outcomes["fresh"].result()
    daemon.outcomes["deploy"] = slow
    received: list[Outcome] = []

    def receive(outcome: Outcome) -> None:
        received.append(outcome)
        if outcome == fresh:
            slow.set_result(Outcome(profile="deploy"))

    outcomes = DaemonClient(path).refresh(["deploy", "fresh"], force=False, on_outcome=receive)
    assert received == [fresh, Outcome(profile="deploy")]
    assert outcomes == (Outcome(profile="deploy"), fresh), "in the order of the request"


def test_refresh_streams_an_error_if_the_daemon_stops_meanwhile(
    path: Path, daemon: FakeDaemon
) -> None:
    daemon.outcomes["deploy"] = Future()
    received: list[Outcome] = []

    def receive(outcome: Outcome) -> None:
        received.append(outcome)
        daemon.outcomes["deploy"].set_exception(
            DaemonUnreachableError("it stops", hint="ask later")
        )

    with pytest.raises(DaemonUnreachableError, match="it stops"):
        DaemonClient(path).refresh(["fresh", "deploy"], force=False, on_outcome=receive)
    assert [outcome.profile for outcome in received] == ["fresh"]


def test_a_client_that_disconnects_cancels_no_refresh(path: Path, daemon: FakeDaemon) -> None:
    future: Future[Outcome] = Future()
    daemon.outcomes["deploy"] = future
    body = json.dumps({"profiles": ["deploy"], "force": False})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(
            f"POST /v1/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            f"{body}".encode()
        )
        daemon.is_called.wait()
    assert DaemonClient(path).status() == STATUS
    assert future.set_running_or_notify_cancel()
    future.set_result(Outcome(profile="deploy"))
    assert DaemonClient(path).refresh(["deploy"], force=False) == (Outcome(profile="deploy"),)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.status(["nowhere"]),
        lambda client: client.refresh(["nowhere"], force=False),
    ],
    ids=["status", "refresh"],
)
def test_an_unknown_profile_is_a_usage_error(
    path: Path, daemon: FakeDaemon, ask: Callable[[DaemonClient], object]
) -> None:
    with pytest.raises(UsageError, match="no profile nowhere") as raised:
        ask(DaemonClient(path))
    assert raised.value.hint == "see `assumed status`"


def test_a_profile_may_have_any_name(path: Path, daemon: FakeDaemon) -> None:
    for name in ("a b", "a&profile=b", "käse", "a/b?c#d", "%41"):
        with pytest.raises(UsageError) as raised:
            DaemonClient(path).status([name])
        assert raised.value.message == f"no profile {name}"


def test_a_body_over_a_mebibyte_is_rejected(path: Path, daemon: FakeDaemon) -> None:
    status, shape = request(path, "POST", "/v1/refresh", b" " * ((1 << 20) + 1))
    assert status == 400
    assert shape["error"]["message"] == "the body is too long"


def test_an_error_of_the_daemon_keeps_its_message_and_hint(path: Path, daemon: FakeDaemon) -> None:
    daemon.failure = StsUnavailableError("no answer", hint="wait")
    status, shape = request(path, "GET", "/v1/status")
    assert status == 500
    assert shape == {"error": {"code": "StsUnavailable", "message": "no answer", "hint": "wait"}}
    with pytest.raises(RefreshFailedError, match="no answer") as raised:
        DaemonClient(path).status()
    assert (raised.value.code, raised.value.hint) == ("StsUnavailable", "wait")


def test_credentials_have_the_fields_of_a_credential_process(
    path: Path, daemon: FakeDaemon
) -> None:
    status, shape = request(path, "GET", "/v1/credentials?profile=fresh")
    assert status == 200
    assert shape == {
        "Version": 1,
        "AccessKeyId": "ASIAFRESH",
        "SecretAccessKey": "secret/+=",
        "SessionToken": "token/+=",
        "Expiration": "2026-11-24T13:00:00Z",
        "AccountId": "111122223333",
    }
    assert daemon.min_left == timedelta(minutes=21)
    request(path, "GET", "/v1/credentials?profile=fresh&min_left=60")
    assert daemon.min_left == timedelta(minutes=1)


def test_reload_answers_with_the_problems_of_the_configuration(
    path: Path, daemon: FakeDaemon
) -> None:
    assert request(path, "POST", "/v1/reload") == (
        200,
        {"version": 1, "config_error": "line 3: no"},
    )
    assert daemon.reloads == 1


def test_refresh_passes_min_left_on(path: Path, daemon: FakeDaemon) -> None:
    DaemonClient(path).refresh(["fresh"], force=False, min_left=timedelta(minutes=45))
    assert daemon.min_left == timedelta(minutes=45)


def test_the_fast_path_gets_the_same_answers(
    path: Path, daemon: FakeDaemon, tmp_path: Path
) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    found = request_json(
        environ,
        "me",
        "/v1/status",
        {"profile": ["fresh", "deploy"], "config": None},
        timeout_seconds=5,
    )
    assert found is not None
    assert (found.status, found.body) == (200, status_to_json(STATUS))
    name = "größe & more=?/%"
    query = {"profile": name}
    rejected = request_json(environ, "me", "/v1/credentials", query, timeout_seconds=5)
    assert rejected is not None
    assert rejected.body["error"]["message"] == f"no profile {name}"


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n{} x",
     b"HTTP/1.1 x\r\n\r\n{}", b'HTTP/1.1 200 OK\r\n\r\n{"profiles": '],
)  # fmt: skip
def test_the_fast_path_reports_a_malformed_response(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        (tmp_path / "assumed").mkdir()
        listener.bind(str(tmp_path / "assumed" / "assumed.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        server = Thread(target=serve)
        server.start()
        with pytest.raises(DaemonNotAnsweringError, match=r"invalid|closed"):
            request_json(
                {"XDG_RUNTIME_DIR": str(tmp_path)}, "me", "/v1/status", {}, timeout_seconds=5
            )
        server.join()


def test_listen_lets_only_this_user_connect(path: Path) -> None:
    before = os.umask(0)
    try:
        with listen(path):
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_listen_closes_its_directory_to_others(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with listen(path):
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_listen_rejects_a_directory_that_is_a_link(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o755)
    path.parent.symlink_to(elsewhere)
    with pytest.raises(DaemonUnreachableError, match="not a directory of this user"):
        listen(path)
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_listen_raises_an_os_error_if_its_directory_is_a_file(path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(FileExistsError):
        listen(path)


@as_root
def test_private_directory_rejects_a_directory_of_another_user(path: Path) -> None:
    path.parent.mkdir(0o700)
    os.chown(path.parent, OTHER_UID, OTHER_UID)
    with pytest.raises(DaemonUnreachableError, match="another user could redirect it") as raised:
        private_directory(path.parent)
    assert f"{path.parent} belongs to nobody" in raised.value.hint
    assert "`sudo -u nobody assumed …`" in raised.value.hint


@as_root
def test_private_directory_rejects_a_directory_of_root(tmp_path: Path) -> None:
    directory = tmp_path / "assumed"
    directory.mkdir()
    directory.chmod(0o755)
    with as_another_user("private_directory", directory) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "DaemonUnreachableError\n"


@as_root
def test_no_client_trusts_a_socket_of_another_user(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(0o700)
    with as_another_user("listen", path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "listening\n"
        with pytest.raises(DaemonUnreachableError, match="belongs to user 65534, not to you"):
            connect(path)
        with pytest.raises(DaemonUnreachableError, match="not trusted"):
            DaemonClient(path).status()
        with pytest.raises(DaemonUnreachableError, match="not trusted"):
            find_daemon({"XDG_RUNTIME_DIR": str(tmp_path)}, "jane")
        with pytest.raises(
            DaemonNotAnsweringError, match="belongs to user 65534, not to you: it is not trusted"
        ):
            request_json(
                {"XDG_RUNTIME_DIR": str(tmp_path)}, "jane", "/v1/status", {}, timeout_seconds=5
            )


# It becomes another user only after chdir: the directories of the tests are closed to that user.
ANOTHER_USER = """
import os, socket, sys
from pathlib import Path
from assumed.server.unix_socket import private_directory
from assumed.errors import DaemonUnreachableError
does, path, user = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(path if does == "private_directory" else os.path.dirname(path))
listener = socket.socket(socket.AF_UNIX)
if does == "listen":
    listener.bind(path)
os.setgroups([])
os.setgid(user)
os.setuid(user)
if does == "listen":
    listener.listen()
    print("listening", flush=True)
    sys.stdin.read()
else:
    try:
        private_directory(Path("."))
    except DaemonUnreachableError as error:
        print(type(error).__name__, flush=True)
listener.close()
"""


@contextmanager
def as_another_user(does: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", ANOTHER_USER, does, str(path), str(OTHER_UID)]
    with subprocess.Popen(  # noqa: S603 - of this very file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield child


def test_find_daemon_returns_none_if_no_socket_exists(path: Path, tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    assert connect(path) is None
    assert find_daemon(environ, "no-such-user") is None


def test_connect_returns_none_for_the_socket_of_a_killed_daemon(path: Path) -> None:
    listen(path).close()
    assert path.is_socket()
    assert connect(path) is None


def test_listen_replaces_the_socket_of_a_killed_daemon(path: Path) -> None:
    listen(path).close()
    with listen(path):
        connection = connect(path)
        assert connection is not None
        connection.close()


def test_listen_replaces_a_file_at_its_path(path: Path) -> None:
    path.parent.mkdir(0o700)
    path.write_text("a file")
    assert connect(path) is None
    with listen(path):
        assert path.is_socket()


def test_find_daemon_finds_the_socket_of_daemon_socket(tmp_path: Path) -> None:
    for environ in (
        {"XDG_RUNTIME_DIR": str(tmp_path / "run")},
        {"XDG_STATE_HOME": str(tmp_path / "state")},
    ):
        path = Path(daemon_socket(environ))
        with listen(path):
            client = find_daemon(environ, "no-such-user")
            assert client is not None
            assert client.path == path


@pytest.mark.parametrize("name", ["x" * 100, "ö" * 50])
def test_listen_rejects_a_path_that_is_too_long_with_a_hint(tmp_path: Path, name: str) -> None:
    with pytest.raises(DaemonUnreachableError, match="too long a path for a socket") as raised:
        listen(tmp_path / name / "assumed" / "assumed.sock")
    assert "XDG_RUNTIME_DIR" in raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_find_daemon_passes_over_a_path_that_is_too_long(tmp_path: Path) -> None:
    long = {"XDG_RUNTIME_DIR": str(tmp_path / ("x" * 100)), "XDG_STATE_HOME": str(tmp_path)}
    assert find_daemon(long, "no-such-user") is None


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Answer one request with `answer` and close the connection."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    with listen(path) as listener:
        thread = Thread(target=serve)
        thread.start()
        yield
        thread.join()


def http_response(body: str, status: str = "200 OK") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


MALFORMED_RESPONSES = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "not HTTP": b"hello\r\n\r\n",
    "half a body": http_response('{"version": 1}')[:-5],
    "not JSON": http_response("<html>"),
    "not UTF-8": http_response("[]").replace(b"[]", b"\xff\xff"),
    "a list": http_response("[]"),
    "null": http_response("null"),
    "an empty object": http_response("{}"),
    "odd rows": http_response('{"daemon": null, "profiles": ["x"], "outcomes": ["x"]}'),
    "an odd daemon": http_response('{"daemon": "x", "profiles": [], "outcomes": "x"}'),
    "odd fields": http_response('{"daemon": {"a": 1}, "profiles": [], "outcomes": [{"a": 1}]}'),
    "odd times": http_response(
        '{"daemon": {"started_at": 5}, "profiles": [], "outcomes": [{"expires_at": "soon"}]}'
    ),
    "an error without fields": http_response("{}", "500 Oops"),
    "an error that is a list": http_response("[]", "500 Oops"),
    "an error that is text": http_response('{"error": "no"}', "400 Bad"),
    "an error without a message": http_response('{"error": {"code": "Usage"}}', "400 Bad"),
    "a page": http_response("<html>", "404 Not Found"),
}


@pytest.mark.parametrize("answer", MALFORMED_RESPONSES.values(), ids=MALFORMED_RESPONSES.keys())
@pytest.mark.parametrize(
    "ask",
    [lambda client: client.status(), lambda client: client.refresh([], force=False)],
    ids=["status", "refresh"],
)
def test_a_daemon_with_a_malformed_response_is_unreachable(
    path: Path, answer: bytes, ask: Callable[[DaemonClient], object]
) -> None:
    with answering(path, answer), pytest.raises(DaemonUnreachableError) as raised:
        ask(DaemonClient(path))
    assert str(path) in raised.value.message
    assert "journalctl" in raised.value.hint


def test_a_daemon_that_has_stopped_is_unreachable(path: Path) -> None:
    with pytest.raises(DaemonUnreachableError, match="the daemon has stopped"):
        DaemonClient(path).status()


def test_stop_cuts_off_a_request_without_a_log_line(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = FakeDaemon()
    daemon.outcomes["deploy"] = Future()
    server = ApiServer(daemon, listen(path))
    server.start()
    failures: list[AssumedError] = []

    def refresh() -> None:
        try:
            DaemonClient(path).refresh(["deploy"], force=False)
        except AssumedError as error:
            failures.append(error)

    client = Thread(target=refresh)
    client.start()
    daemon.is_called.wait()
    server.stop()
    client.join(30)
    assert [type(error) for error in failures] == [DaemonUnreachableError]
    assert caplog.records == []
    # The refresh itself continues, and its outcome does not disturb the stopped server.
    daemon.outcomes["deploy"].set_result(Outcome(profile="deploy"))
    assert connect(path) is None


def test_stop_cuts_off_a_client_that_does_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class BigDaemon(FakeDaemon):
        def status(self, profiles: Sequence[str]) -> Status:
            return replace(STATUS, profiles=(DEPLOY,) * 5000)

    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    server = ApiServer(BigDaemon(), listen(path))
    server.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /v1/status HTTP/1.1\r\nHost: assumed\r\n\r\n")
        assert client.recv(1) == b"H"
        server.stop()
        with suppress(ConnectionResetError):
            while client.recv(1 << 16):
                pass
    assert errors == []
    assert caplog.records == []


def test_stop_closes_the_listener_of_an_idle_server(path: Path) -> None:
    server = ApiServer(FakeDaemon(), listen(path))
    server.start()
    assert DaemonClient(path).status() == STATUS
    server.stop()
    assert connect(path) is None


def test_stop_right_after_start_closes_the_listener(path: Path) -> None:
    server = ApiServer(FakeDaemon(), listen(path))
    server.start()
    server.stop()
    assert connect(path) is None


def test_stop_before_start_closes_the_listener(path: Path) -> None:
    ApiServer(FakeDaemon(), listen(path)).stop()
    assert connect(path) is None


def test_start_answers_the_requests_that_came_before(path: Path) -> None:
    server = ApiServer(FakeDaemon(), listen(path))
    answers: list[Status] = []
    client = Thread(target=lambda: answers.append(DaemonClient(path).status()))
    client.start()
    server.start()
    client.join()
    server.stop()
    assert answers == [STATUS]


def test_many_clients_at_the_same_time_get_an_answer(path: Path, daemon: FakeDaemon) -> None:
    answers: list[Status] = []
    clients = [
        Thread(target=lambda: answers.append(DaemonClient(path).status())) for _ in range(20)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == [STATUS] * 20


def test_login_answers_with_the_expiration_of_the_session(path: Path, daemon: FakeDaemon) -> None:
    client = DaemonClient(path)
    login = client.log_in("deploy", "492039")
    assert login == Login(profile="deploy", mfa_serial="a-device", expires_at=NOON)
    with pytest.raises(RefreshFailedError, match="profile deploy: no") as raised:
        client.log_in("deploy", "000000")
    assert raised.value.code == MfaCodeRejectedError.code
    with pytest.raises(UsageError):
        client.log_in("nowhere", "492039")
