from __future__ import annotations

import gc
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
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
from assumed.fastpath.unix_http import DaemonNotAnsweringError, ask
from assumed.models import (
    Credentials,
    DaemonStatus,
    EndpointAddress,
    Failure,
    Login,
    Outcome,
    ProfileState,
    ProfileStatus,
    Status,
)
from assumed.paths import daemon_socket
from assumed.server.api import ApiServer
from assumed.server.serialization import (
    outcome_from_json,
    outcome_to_json,
    status_from_json,
    status_to_json,
)
from assumed.server.unix_socket import connect, listen, private_directory
from tests.fakes import NOON

NOBODY = 65534
HOUR = timedelta(hours=1)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root to be another user too")

FAILURE = Failure(code="AccessDenied", message="no", hint="ask", at=NOON)
DEPLOY = ProfileStatus(
    profile="deploy",
    role_arn="arn:aws:iam::111122223333:role/deploy",
    source="profile keys",
    state=ProfileState.FAILING,
    expires_at=NOON + HOUR,
    seconds_left=2710,
    lifetime_seconds=3600,
    refreshed_at=NOON,
    next_attempt_at=NOON + HOUR / 2,
    refreshes=31,
    consecutive_failures=2,
    last_error=FAILURE,
)
FRESH = ProfileStatus(
    profile="fresh",
    role_arn="arn:aws:iam::111122223333:role/fresh",
    source="managed profile deploy",
    state=ProfileState.PENDING,
)
STATUS = Status(
    daemon=DaemonStatus(
        pid=812, version="0.1.0", started_at=NOON, config="config.yaml", config_error="line 3: no"
    ),
    profiles=(DEPLOY, FRESH),
)

CREDENTIALS = Credentials(
    access_key_id="ASIAFRESH",
    secret_access_key="secret/+=",
    session_token="token/+=",
    expiration=NOON + HOUR,
    principal_arn="arn:aws:sts::111122223333:assumed-role/fresh/me",
)


class FakeDaemon:
    """Knows two profiles and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], bool]] = []
        self.outcomes: dict[str, Future[Outcome]] = {}
        self.failure: AssumedError | None = None
        self.min_left: timedelta | None = None
        self.reloads = 0
        self.is_asked = Event()
        for profile, outcome in {
            "deploy": Outcome(profile="deploy", failure=FAILURE),
            "fresh": Outcome(profile="fresh", was_fresh=True, expires_at=NOON + HOUR),
        }.items():
            self.outcomes[profile] = Future()
            self.outcomes[profile].set_result(outcome)

    def status(self, profiles: Sequence[str]) -> Status:
        if self.failure is not None:
            raise self.failure
        wanted = self._known(profiles)
        return replace(
            STATUS, profiles=tuple(row for row in STATUS.profiles if row.profile in wanted)
        )

    def log_in(self, profile: str, code: str) -> Future[Login]:
        self._known([profile])
        answer: Future[Login] = Future()
        if code == "000000":
            answer.set_exception(
                MfaCodeRejectedError(f"profile {profile}: no", hint="the next one")
            )
        else:
            answer.set_result(Login(profile=profile, mfa_serial="a-device", expires_at=NOON))
        return answer

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        self._known([profile])
        self.min_left = min_left
        answer: Future[Credentials] = Future()
        if profile == "fresh":
            answer.set_result(CREDENTIALS)
        else:
            answer.set_exception(RefreshFailedError("no", hint="ask", code="AccessDenied"))
        return answer

    def endpoint(self, profile: str) -> EndpointAddress:
        self._known([profile])
        return EndpointAddress(url="http://127.0.0.1:1/v1/credentials/fresh", token_file=Path("/t"))

    def metrics(self) -> bytes:
        return b"assumed_build_info 1.0\n"

    def reload(self) -> Future[None]:
        self.reloads += 1
        answer: Future[None] = Future()
        answer.set_result(None)
        return answer

    def refresh(
        self, profiles: Sequence[str], *, force: bool, min_left: timedelta | None = None
    ) -> dict[str, Future[Outcome]]:
        self.asked.append((tuple(profiles), force))
        self.min_left = min_left
        self.is_asked.set()
        return {profile: self.outcomes[profile] for profile in self._known(profiles)}

    def _known(self, profiles: Sequence[str]) -> Sequence[str]:
        for profile in profiles:
            if profile not in self.outcomes:
                raise UsageError(f"no profile {profile}", hint="see `assumed status`")
        return profiles or tuple(self.outcomes)


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


def answer_of(path: Path, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
    """Ask without the client: what comes back is looked at as it is."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    try:
        connection.request(method, target, body=body)
        answer = connection.getresponse()
        text = answer.read().decode()
        is_json = answer.getheader("Content-Type", "").startswith("application/json")
        return answer.status, json.loads(text) if is_json else text
    finally:
        connection.close()


def test_a_status_makes_the_round_trip(path: Path, daemon: FakeDaemon) -> None:
    assert DaemonClient(path).status() == STATUS


def test_the_status_of_one_profile_is_of_that_profile_alone(path: Path, daemon: FakeDaemon) -> None:
    assert DaemonClient(path).status(["fresh"]).profiles == (FRESH,)
    assert DaemonClient(path).status(["fresh", "deploy"]).profiles == (DEPLOY, FRESH)


def test_a_refresh_makes_the_round_trip(path: Path, daemon: FakeDaemon) -> None:
    outcomes = DaemonClient(path).refresh(["fresh", "deploy"], force=True)
    assert outcomes == (
        Outcome(profile="fresh", was_fresh=True, expires_at=NOON + HOUR),
        Outcome(profile="deploy", failure=FAILURE),
    )
    assert daemon.asked == [(("fresh", "deploy"), True)]


def test_a_refresh_that_names_nobody_is_of_all(path: Path, daemon: FakeDaemon) -> None:
    assert len(DaemonClient(path).refresh([], force=False)) == 2
    assert daemon.asked == [((), False)]


def test_a_refresh_answers_when_all_are_tried(path: Path, daemon: FakeDaemon) -> None:
    daemon.outcomes["deploy"] = Future()
    answers: list[tuple[Outcome, ...]] = []
    client = Thread(
        target=lambda: answers.append(DaemonClient(path).refresh(["deploy"], force=False))
    )
    client.start()
    daemon.is_asked.wait()
    assert DaemonClient(path).status() == STATUS
    assert answers == []
    daemon.outcomes["deploy"].set_result(Outcome(profile="deploy"))
    client.join()
    assert answers == [(Outcome(profile="deploy"),)]


def test_each_outcome_of_a_refresh_is_told_as_it_comes(path: Path, daemon: FakeDaemon) -> None:
    slow, fresh = Future[Outcome](), daemon.outcomes["fresh"].result()
    daemon.outcomes["deploy"] = slow
    told: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        told.append(outcome)
        if outcome == fresh:
            slow.set_result(Outcome(profile="deploy"))

    outcomes = DaemonClient(path).refresh(["deploy", "fresh"], force=False, told=tell)
    assert told == [fresh, Outcome(profile="deploy")]
    assert outcomes == (Outcome(profile="deploy"), fresh), "in the order in which they were named"


def test_a_refresh_that_ends_with_the_daemon_is_an_error_after_what_was_told(
    path: Path, daemon: FakeDaemon
) -> None:
    daemon.outcomes["deploy"] = Future()
    told: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        told.append(outcome)
        daemon.outcomes["deploy"].set_exception(
            DaemonUnreachableError("it stops", hint="ask later")
        )

    with pytest.raises(DaemonUnreachableError, match="it stops"):
        DaemonClient(path).refresh(["fresh", "deploy"], force=False, told=tell)
    assert [outcome.profile for outcome in told] == ["fresh"]


def test_a_client_that_goes_away_cancels_no_refresh(path: Path, daemon: FakeDaemon) -> None:
    future: Future[Outcome] = Future()
    daemon.outcomes["deploy"] = future
    body = json.dumps({"profiles": ["deploy"], "force": False})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(
            f"POST /v1/refresh HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            f"{body}".encode()
        )
        daemon.is_asked.wait()
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
def test_an_unknown_profile_is_a_mistake_of_the_one_who_asks(
    path: Path, daemon: FakeDaemon, ask: Callable[[DaemonClient], object]
) -> None:
    with pytest.raises(UsageError, match="no profile nowhere") as raised:
        ask(DaemonClient(path))
    assert raised.value.hint == "see `assumed status`"


def test_profiles_may_have_any_name(path: Path, daemon: FakeDaemon) -> None:
    for name in ("a b", "a&profile=b", "käse", "a/b?c#d", "%41"):
        with pytest.raises(UsageError) as raised:
            DaemonClient(path).status([name])
        assert raised.value.message == f"no profile {name}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"profiles": []}',
        b'{"force": true}',
        b'{"profiles": "deploy", "force": false}',
        b'{"profiles": [1], "force": false}',
        b'{"profiles": [["deploy"]], "force": false}',
        b'{"profiles": ["deploy"], "force": 1}',
        b'{"profiles": ["deploy"], "force": "no"}',
        b'{"profiles": null, "force": false}',
        b"[" * 100_000,
    ],
    ids=lambda body: body[:50].decode(errors="replace"),
)
def test_a_body_that_is_no_refresh_is_refused_with_a_hint(
    path: Path, daemon: FakeDaemon, body: bytes
) -> None:
    status, shape = answer_of(path, "POST", "/v1/refresh", body)
    assert status == 400
    assert list(shape) == ["error"]
    assert list(shape["error"]) == ["code", "message", "hint"]
    assert shape["error"]["code"] == "Usage"
    assert shape["error"]["hint"].startswith("send ")
    assert daemon.asked == []


def test_a_body_that_is_too_long_is_refused(path: Path, daemon: FakeDaemon) -> None:
    status, shape = answer_of(path, "POST", "/v1/refresh", b" " * ((1 << 20) + 1))
    assert status == 400
    assert shape["error"]["message"] == "the body is too long"


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/status", 404),
        ("POST", "/v1/nothing", 404),
        ("POST", "/v1/status", 405),
        ("GET", "/v1/refresh", 405),
    ],
)
def test_an_unknown_route_is_told_so(
    path: Path, daemon: FakeDaemon, method: str, target: str, expected: int
) -> None:
    status, _ = answer_of(path, method, target)
    assert status == expected


def test_trouble_of_the_daemon_comes_with_its_message_and_hint(
    path: Path, daemon: FakeDaemon
) -> None:
    daemon.failure = StsUnavailableError("no answer", hint="wait")
    status, shape = answer_of(path, "GET", "/v1/status")
    assert status == 500
    assert shape == {"error": {"code": "StsUnavailable", "message": "no answer", "hint": "wait"}}
    with pytest.raises(DaemonUnreachableError, match="no answer") as raised:
        DaemonClient(path).status()
    assert raised.value.hint == "wait"


def test_credentials_come_as_a_credential_process_prints_them(
    path: Path, daemon: FakeDaemon
) -> None:
    status, shape = answer_of(path, "GET", "/v1/credentials?profile=fresh")
    assert status == 200
    assert shape == {
        "Version": 1,
        "AccessKeyId": "ASIAFRESH",
        "SecretAccessKey": "secret/+=",
        "SessionToken": "token/+=",
        "Expiration": "2026-11-24T13:00:00Z",
        "AccountId": "111122223333",
    }
    assert daemon.min_left == timedelta(minutes=15)
    answer_of(path, "GET", "/v1/credentials?profile=fresh&min_left=60")
    assert daemon.min_left == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("query", "expected", "code"),
    [
        ("profile=deploy", 500, "AccessDenied"),
        ("profile=nowhere", 400, "Usage"),
        ("", 400, "Usage"),
        ("profile=deploy&profile=fresh", 400, "Usage"),
        ("profile=fresh&min_left=much", 400, "Usage"),
        (f"profile=fresh&min_left={'9' * 30}", 400, "Usage"),
        ("profile=fresh&config=/other.yaml", 409, "OtherConfiguration"),
    ],
)
def test_credentials_that_can_not_be_had_are_refused_with_a_reason(
    path: Path, daemon: FakeDaemon, query: str, expected: int, code: str
) -> None:
    status, shape = answer_of(path, "GET", f"/v1/credentials?{query}")
    assert (status, shape["error"]["code"]) == (expected, code)
    assert shape["error"]["hint"]


@pytest.mark.parametrize("route", ["status", "credentials"])
def test_a_daemon_answers_for_its_own_configuration(
    path: Path, daemon: FakeDaemon, route: str
) -> None:
    own = Path("config.yaml").absolute()
    assert answer_of(path, "GET", f"/v1/{route}?profile=fresh&config={own}")[0] == 200
    other = answer_of(path, "GET", f"/v1/{route}?profile=nowhere&config={own}.other")
    assert (other[0], other[1]["error"]["code"]) == (409, "OtherConfiguration")


def test_a_reload_answers_when_it_is_done_with_what_is_wrong(
    path: Path, daemon: FakeDaemon
) -> None:
    assert answer_of(path, "POST", "/v1/reload") == (
        200,
        {"version": 1, "config_error": "line 3: no"},
    )
    assert daemon.reloads == 1


def test_a_refresh_may_say_how_much_is_to_be_left(path: Path, daemon: FakeDaemon) -> None:
    DaemonClient(path).refresh(["fresh"], force=False, min_left=timedelta(minutes=45))
    assert daemon.min_left == timedelta(minutes=45)


def test_who_asks_with_no_library_is_told_the_same(
    path: Path, daemon: FakeDaemon, tmp_path: Path
) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    asked = ask(
        environ,
        "me",
        "/v1/status",
        {"profile": ["fresh", "deploy"], "config": None},
        timeout_seconds=5,
    )
    assert asked == (200, status_to_json(STATUS))
    name = "größe & more=?/%"
    refused = ask(environ, "me", "/v1/credentials", {"profile": name}, timeout_seconds=5)
    assert refused is not None
    assert refused[1]["error"]["message"] == f"no profile {name}"


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n{} x",
     b"HTTP/1.1 x\r\n\r\n{}", b'HTTP/1.1 200 OK\r\n\r\n{"profiles": '],
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_told_so(tmp_path: Path, answer: bytes) -> None:
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
        with pytest.raises(DaemonNotAnsweringError, match="does not answer"):
            ask({"XDG_RUNTIME_DIR": str(tmp_path)}, "me", "/v1/status", {}, timeout_seconds=5)
        server.join()


def test_the_shape_of_a_status_is_the_contract_field_by_field() -> None:
    shape = status_to_json(STATUS)
    assert json.loads(json.dumps(shape)) == shape
    assert list(shape) == ["version", "daemon", "profiles"]
    assert list(shape["daemon"]) == [
        "pid",
        "version",
        "started_at",
        "config",
        "config_error",
        "clock_skew_seconds",
    ]
    assert list(shape["profiles"][0]) == [
        "profile",
        "role_arn",
        "source",
        "store",
        "state",
        "expires_at",
        "seconds_left",
        "lifetime_seconds",
        "refreshed_at",
        "next_attempt_at",
        "refreshes",
        "consecutive_failures",
        "last_error",
        "mfa_serial",
        "login_expires_at",
    ]
    assert shape == {
        "version": 1,
        "daemon": {
            "pid": 812,
            "version": "0.1.0",
            "started_at": "2026-11-24T12:00:00Z",
            "config": "config.yaml",
            "config_error": "line 3: no",
            "clock_skew_seconds": 0,
        },
        "profiles": [
            {
                "profile": "deploy",
                "role_arn": "arn:aws:iam::111122223333:role/deploy",
                "source": "profile keys",
                "store": "file",
                "state": "failing",
                "expires_at": "2026-11-24T13:00:00Z",
                "seconds_left": 2710,
                "lifetime_seconds": 3600,
                "refreshed_at": "2026-11-24T12:00:00Z",
                "next_attempt_at": "2026-11-24T12:30:00Z",
                "refreshes": 31,
                "consecutive_failures": 2,
                "last_error": {
                    "code": "AccessDenied",
                    "message": "no",
                    "hint": "ask",
                    "at": "2026-11-24T12:00:00Z",
                },
                "mfa_serial": None,
                "login_expires_at": None,
            },
            {
                "profile": "fresh",
                "role_arn": "arn:aws:iam::111122223333:role/fresh",
                "source": "managed profile deploy",
                "store": "file",
                "state": "pending",
                "expires_at": None,
                "seconds_left": None,
                "lifetime_seconds": None,
                "refreshed_at": None,
                "next_attempt_at": None,
                "refreshes": 0,
                "consecutive_failures": 0,
                "last_error": None,
                "mfa_serial": None,
                "login_expires_at": None,
            },
        ],
    }


def test_where_no_daemon_runs_the_daemon_is_null() -> None:
    assert status_to_json(Status(daemon=None, profiles=())) == {
        "version": 1,
        "daemon": None,
        "profiles": [],
    }


@pytest.mark.parametrize("state", ProfileState)
def test_a_status_comes_back_from_json_as_it_was(state: ProfileState) -> None:
    status = replace(STATUS, profiles=(replace(DEPLOY, state=state), FRESH))
    assert status_from_json(json.loads(json.dumps(status_to_json(status)))) == status
    empty = Status(daemon=None, profiles=())
    assert status_from_json(status_to_json(empty)) == empty


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(profile="deploy"),
        Outcome(profile="deploy", was_fresh=True, expires_at=NOON),
        Outcome(profile="deploy", failure=FAILURE),
    ],
)
def test_an_outcome_comes_back_from_json_as_it_was(outcome: Outcome) -> None:
    shape = json.loads(json.dumps(outcome_to_json(outcome)))
    assert list(shape) == ["profile", "was_fresh", "expires_at", "failure"]
    assert outcome_from_json(shape) == outcome


def test_the_socket_is_its_makers_alone_in_a_folder_that_is_too(path: Path) -> None:
    before = os.umask(0)
    try:
        with listen(path):
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_folder_that_was_open_to_others_is_closed(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with listen(path):
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_a_link_is_refused(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o755)
    path.parent.symlink_to(elsewhere)
    with pytest.raises(DaemonUnreachableError, match="not a directory of this user"):
        listen(path)
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_a_file_in_the_folders_place_is_an_error_of_the_system(path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(FileExistsError):
        listen(path)


@as_root
def test_a_folder_of_another_user_is_refused(path: Path) -> None:
    path.parent.mkdir(0o700)
    os.chown(path.parent, NOBODY, NOBODY)
    with pytest.raises(DaemonUnreachableError, match="not a directory of this user") as raised:
        private_directory(path.parent)
    assert "XDG_RUNTIME_DIR" in raised.value.hint


@as_root
def test_a_folder_of_root_is_refused_to_anybody_else(tmp_path: Path) -> None:
    folder = tmp_path / "assumed"
    folder.mkdir()
    folder.chmod(0o755)
    with as_another_user("private_directory", folder) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "DaemonUnreachableError\n"


@as_root
def test_a_socket_that_another_user_listens_at_is_not_trusted(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(0o700)
    with as_another_user("listen", path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "listening\n"
        with pytest.raises(DaemonUnreachableError, match="belongs to user 65534, not to you"):
            connect(path)
        with pytest.raises(DaemonUnreachableError, match="not trusted"):
            DaemonClient(path).status()
        with pytest.raises(DaemonUnreachableError, match="not trusted"):
            find_daemon({"XDG_RUNTIME_DIR": str(tmp_path)}, "somebody")
        with pytest.raises(
            DaemonNotAnsweringError, match="another user's, not yours: it is not trusted"
        ):
            ask({"XDG_RUNTIME_DIR": str(tmp_path)}, "somebody", "/v1/status", {}, timeout_seconds=5)


# It is another user from half-way on: the folders of the tests are closed to that one.
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
    command = [sys.executable, "-c", ANOTHER_USER, does, str(path), str(NOBODY)]
    with subprocess.Popen(  # noqa: S603 - of this very file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        yield child


def test_where_there_is_no_daemon_there_is_none(path: Path, tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    assert connect(path) is None
    assert find_daemon(environ, "no-such-user") is None


def test_a_daemon_that_was_killed_leaves_a_socket_that_nobody_answers(path: Path) -> None:
    listen(path).close()
    assert path.is_socket()
    assert connect(path) is None


def test_a_socket_that_a_killed_daemon_left_is_replaced(path: Path) -> None:
    listen(path).close()
    with listen(path):
        connection = connect(path)
        assert connection is not None
        connection.close()


def test_something_else_in_the_sockets_place_is_no_daemon_and_is_replaced(path: Path) -> None:
    path.parent.mkdir(0o700)
    path.write_text("a file")
    assert connect(path) is None
    with listen(path):
        assert path.is_socket()


def test_a_client_finds_the_daemon_where_the_daemon_says_that_it_is(tmp_path: Path) -> None:
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
def test_a_path_that_is_too_long_for_a_socket_is_told_with_the_mend(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(DaemonUnreachableError, match="too long a path for a socket") as raised:
        listen(tmp_path / name / "assumed" / "assumed.sock")
    assert "XDG_RUNTIME_DIR" in raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_where_the_path_is_too_long_for_any_socket_there_is_no_daemon(tmp_path: Path) -> None:
    long = {"XDG_RUNTIME_DIR": str(tmp_path / ("x" * 100)), "XDG_STATE_HOME": str(tmp_path)}
    assert find_daemon(long, "no-such-user") is None


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Answer one request with `answer`, and go away in the middle of whatever it is."""

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


def http_answer(body: str, status: str = "200 OK") -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    ).encode()


ODD_ANSWERS = {
    "nothing": b"",
    "half a status line": b"HTTP/1.1 2",
    "no HTTP": b"hello\r\n\r\n",
    "half a body": http_answer('{"version": 1}')[:-5],
    "no JSON": http_answer("<html>"),
    "no text": http_answer("[]").replace(b"[]", b"\xff\xff"),
    "a list": http_answer("[]"),
    "null": http_answer("null"),
    "an empty object": http_answer("{}"),
    "odd rows": http_answer('{"daemon": null, "profiles": ["x"], "outcomes": ["x"]}'),
    "an odd daemon": http_answer('{"daemon": "x", "profiles": [], "outcomes": "x"}'),
    "odd fields": http_answer('{"daemon": {"a": 1}, "profiles": [], "outcomes": [{"a": 1}]}'),
    "odd times": http_answer(
        '{"daemon": {"started_at": 5}, "profiles": [], "outcomes": [{"expires_at": "soon"}]}'
    ),
    "a refusal of no shape": http_answer("{}", "500 Oops"),
    "a refusal that is a list": http_answer("[]", "500 Oops"),
    "a refusal that is text": http_answer('{"error": "no"}', "400 Bad"),
    "a refusal of half a shape": http_answer('{"error": {"code": "Usage"}}', "400 Bad"),
    "a page": http_answer("<html>", "404 Not Found"),
}


@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
@pytest.mark.parametrize(
    "ask",
    [lambda client: client.status(), lambda client: client.refresh([], force=False)],
    ids=["status", "refresh"],
)
def test_a_daemon_that_dies_or_babbles_in_the_middle_is_unreachable_with_a_hint(
    path: Path, answer: bytes, ask: Callable[[DaemonClient], object]
) -> None:
    with answering(path, answer), pytest.raises(DaemonUnreachableError) as raised:
        ask(DaemonClient(path))
    assert str(path) in raised.value.message
    assert "journalctl" in raised.value.hint


def test_a_daemon_that_has_stopped_since_it_was_found_is_unreachable(path: Path) -> None:
    with pytest.raises(DaemonUnreachableError, match="the daemon has stopped"):
        DaemonClient(path).status()


def test_a_stop_waits_for_no_request(path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
    daemon.is_asked.wait()
    server.stop()
    client.join(30)
    assert [type(error) for error in failures] == [DaemonUnreachableError]
    assert caplog.records == []
    # The refresh itself goes on, and whoever makes it can say how it went.
    daemon.outcomes["deploy"].set_result(Outcome(profile="deploy"))
    assert connect(path) is None


def test_a_stop_cuts_off_whoever_does_not_read_and_tells_no_traceback(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BigDaemon(FakeDaemon):
        def status(self, profiles: Sequence[str]) -> Status:
            return replace(STATUS, profiles=(DEPLOY,) * 5000)

    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    server = ApiServer(BigDaemon(), listen(path))
    server.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /v1/status HTTP/1.1\r\nHost: assumed\r\n\r\n")
        assert client.recv(1) == b"H"
        server.stop()
    server._thread.join(30)
    assert told == []
    with warnings.catch_warnings():
        # What was cut off goes with the process, which ends here but for the test.
        warnings.simplefilter("ignore", ResourceWarning)
        del server
        gc.collect()


def test_a_stop_of_an_idle_server_leaves_nobody_listening(path: Path) -> None:
    server = ApiServer(FakeDaemon(), listen(path))
    server.start()
    assert DaemonClient(path).status() == STATUS
    server.stop()
    assert connect(path) is None


def test_a_stop_that_comes_with_the_start_leaves_nobody_listening(path: Path) -> None:
    server = ApiServer(FakeDaemon(), listen(path))
    server.start()
    server.stop()
    assert connect(path) is None


def test_a_stop_that_comes_before_the_start_leaves_nobody_listening(path: Path) -> None:
    ApiServer(FakeDaemon(), listen(path)).stop()
    assert connect(path) is None


def test_what_was_asked_before_the_start_is_answered_after_it(path: Path) -> None:
    server = ApiServer(FakeDaemon(), listen(path))
    answers: list[Status] = []
    client = Thread(target=lambda: answers.append(DaemonClient(path).status()))
    client.start()
    server.start()
    client.join()
    server.stop()
    assert answers == [STATUS]


def test_many_clients_at_once_are_all_answered(path: Path, daemon: FakeDaemon) -> None:
    answers: list[Status] = []
    clients = [
        Thread(target=lambda: answers.append(DaemonClient(path).status())) for _ in range(20)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == [STATUS] * 20


def test_a_login_is_answered_with_the_end_of_the_session(path: Path, daemon: FakeDaemon) -> None:
    client = DaemonClient(path)
    login = client.log_in("deploy", "492039")
    assert login == Login(profile="deploy", mfa_serial="a-device", expires_at=NOON)
    with pytest.raises(DaemonUnreachableError, match="profile deploy: no"):
        client.log_in("deploy", "000000")
    with pytest.raises(UsageError):
        client.log_in("nowhere", "492039")


@pytest.mark.parametrize("body", [b"{}", b'{"profile": "deploy", "code": 492039}', b"[]"])
def test_a_login_of_another_shape_is_refused_and_quotes_no_code(
    path: Path, daemon: FakeDaemon, body: bytes
) -> None:
    status, answer = answer_of(path, "POST", "/v1/login", body)
    assert status == 400
    assert "492039" not in str(answer)
