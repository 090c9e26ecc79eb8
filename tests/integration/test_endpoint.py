"""The container credentials endpoint, with real connections."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.credentials import ContainerProvider

from assumed.errors import (
    AssumedError,
    DaemonUnreachableError,
    RefreshFailedError,
    UnexpectedError,
    UsageError,
)
from assumed.logs import timestamp
from assumed.models import Credentials, EndpointAddress
from assumed.server.container_credentials import (
    MIN_LEFT,
    ContainerCredentialsEndpoint,
    CredentialsHandler,
)
from assumed.server.http import HttpServer, Limits, listen_on_loopback
from assumed.server.tokens import TokenStore
from tests.fakes import issued, role

OTHER_UID = 65534
HOUR = timedelta(hours=1)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


class FakeSource:
    """Has the credentials of every profile, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, timedelta]] = []
        self.failure: AssumedError | None = None
        self.is_slow = False
        self.expiration = datetime.now(UTC) + HOUR

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        self.calls.append((profile, min_left))
        future: Future[Credentials] = Future()
        if self.failure is not None:
            future.set_exception(self.failure)
        elif not (self.is_slow and min_left):
            future.set_result(issued(role(profile), self.expiration))
        return future


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def endpoint(source: FakeSource, directory: Path) -> Iterator[ContainerCredentialsEndpoint]:
    endpoint = ContainerCredentialsEndpoint(source, directory)
    yield endpoint
    endpoint.close()


class Client:
    """Sends the requests of an SDK, changed by the arguments."""

    def __init__(self, address: EndpointAddress) -> None:
        url = urlsplit(address.url)
        assert url.hostname is not None
        assert url.port is not None
        self.host, self.port, self.path = url.hostname, url.port, url.path
        self.token = address.token_file.read_text()

    def request(
        self, path: str | None = None, *, method: str = "GET", **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        connection = HTTPConnection(self.host, self.port, timeout=30)
        try:
            sent = {"Authorization": self.token, **headers}
            connection.putrequest(method, path or self.path, skip_host="Host" in headers)
            for name, value in sent.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            response = connection.getresponse()
            body = response.read()
            headers = dict(response.getheaders())
            return response.status, json.loads(body) if body else None, headers
        finally:
            connection.close()

    def status(self, path: str | None = None, *, method: str = "GET", **headers: str) -> int:
        return self.request(path, method=method, **headers)[0]

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=30)


@pytest.fixture
def client(endpoint: ContainerCredentialsEndpoint) -> Client:
    return Client(endpoint.address("deploy"))


def assert_rejected(client: Client, source: FakeSource, status: int, **headers: str) -> None:
    found, content, _ = client.request(**headers)
    assert found == status
    assert set(content) == {"code", "message"}
    assert source.calls == []


def test_the_token_of_a_profile_gives_its_credentials(client: Client, source: FakeSource) -> None:
    status, content, headers = client.request()
    assert status == 200
    assert content == {
        "AccessKeyId": "ASIADEPLOY1",
        "SecretAccessKey": "secret-deploy-1",
        "Token": "token-deploy-1",
        "Expiration": timestamp(source.expiration),
        "AccountId": "111122223333",
        "RoleArn": "arn:aws:sts::111122223333:assumed-role/deploy/assumed-me@here",
    }
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert not {name for name in headers if name.lower().startswith("access-control-")}
    assert source.calls == [("deploy", MIN_LEFT)]


@pytest.mark.parametrize("profile", ["deploy", "a b", "a/b", "käse", "a%20b", "x" * 60])
def test_botocore_fetches_the_credentials(
    endpoint: ContainerCredentialsEndpoint, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = endpoint.address(profile)
    environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": address.url,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(address.token_file),
    }
    loaded = ContainerProvider(environ=environ).load()
    assert loaded.token == f"token-{profile}-1"
    assert loaded.account_id == "111122223333"


def test_the_endpoint_listens_on_no_other_address_than_loopback(client: Client) -> None:
    assert client.host == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", client.port), timeout=30)


def test_each_profile_keeps_a_token_of_its_own(
    endpoint: ContainerCredentialsEndpoint,
) -> None:
    deploy, reports = endpoint.address("deploy"), endpoint.address("reports")
    assert endpoint.address("deploy") == deploy
    tokens = {deploy.token_file.read_text(), reports.token_file.read_text()}
    assert len(tokens) == 2
    for token in tokens:
        assert len(token) == 43
        assert token.strip() == token


def test_only_this_user_can_read_a_token_file(endpoint: ContainerCredentialsEndpoint) -> None:
    before = os.umask(0)
    try:
        file = endpoint.address("deploy").token_file
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "Bearer TOKEN", "TOKENx", "token", "ä"])
def test_a_wrong_token_is_rejected(client: Client, source: FakeSource, token: str) -> None:
    sent = token.replace("TOKEN", client.token).replace("token", client.token.swapcase())
    assert_rejected(client, source, 401, Authorization=sent)


def test_a_request_without_a_token_is_rejected(client: Client, source: FakeSource) -> None:
    with client.connect() as connection:
        sent = f"GET {client.path} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n"
        connection.sendall(sent.encode())
        assert read_all(connection).startswith(b"HTTP/1.1 401 ")
    assert source.calls == []


def test_a_request_with_two_tokens_is_rejected(client: Client, source: FakeSource) -> None:
    header = f"Authorization: {client.token}\r\n"
    with client.connect() as connection:
        sent = (
            f"GET {client.path} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n{header}{header}\r\n"
        )
        connection.sendall(sent.encode())
        assert read_all(connection).startswith(b"HTTP/1.1 401 ")
    assert source.calls == []


def test_the_token_of_another_profile_is_rejected(
    client: Client, endpoint: ContainerCredentialsEndpoint, source: FakeSource
) -> None:
    assert_rejected(
        client, source, 401, Authorization=endpoint.address("reports").token_file.read_text()
    )


def test_an_unknown_profile_looks_like_a_wrong_token(client: Client, source: FakeSource) -> None:
    unknown = client.request("/v1/credentials/reports")
    wrong = client.request(Authorization="wrong")
    assert unknown[:2] == wrong[:2]
    assert unknown[0] == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:PORT",
        "",
        "127.0.0.1:",
        "127.0.0.1:1",
        "127.0.0.1:PORT.evil.example",
        "localhost.evil.example:PORT",
        "127.0.0.2:PORT",
        "0.0.0.0:PORT",
        "[::1]:PORT",
        "user@127.0.0.1:PORT",
    ],
)
def test_a_foreign_host_is_rejected_as_dns_rebinding(
    client: Client, source: FakeSource, host: str
) -> None:
    assert_rejected(client, source, 403, Host=host.replace("PORT", str(client.port)))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT", "127.0.0.1", "localhost", "LOCALHOST"],
)
def test_a_host_of_the_endpoint_is_accepted_with_and_without_its_port(
    client: Client, host: str
) -> None:
    """The AWS CRT sends no port."""
    assert client.status(Host=host.replace("PORT", str(client.port))) == 200


@pytest.mark.parametrize("profile", ["account/Role", "jane@corp", "a b", "käse", "a%20b"])
def test_a_path_that_the_client_encoded_again_is_accepted(
    endpoint: ContainerCredentialsEndpoint, profile: str
) -> None:
    """The C++ SDK encodes the path of the URL, which is encoded already."""
    client = Client(endpoint.address(profile))
    again = client.path.replace("%", "%25")
    for path in (client.path, again):
        assert client.request(path)[1]["Token"] == f"token-{profile}-1"
    for path in (again.replace("%", "%25"), again + "/", again + "?", again.lower()):
        if path != again:
            assert client.status(path) == 401


def test_the_token_decides_between_two_profiles_of_one_path(
    endpoint: ContainerCredentialsEndpoint,
) -> None:
    """`a%2520b` is the profile `a%20b`, or `a b` encoded twice."""
    plain, encoded = (Client(endpoint.address(name)) for name in ("a b", "a%20b"))
    path = encoded.path
    assert plain.path.replace("%", "%25") == path
    assert plain.request(path)[1]["Token"] == "token-a b-1"
    assert encoded.request(path)[1]["Token"] == "token-a%20b-1"
    assert Client(endpoint.address("other")).status(path) == 401


def test_a_request_of_http_1_0_without_a_host_is_rejected(client: Client) -> None:
    with client.connect() as connection:
        sent = f"GET {client.path} HTTP/1.0\r\nAuthorization: {client.token}\r\n\r\n"
        connection.sendall(sent.encode())
        assert read_all(connection).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/credentials",
        "/v1/credentials/",
        "/v1/credentials/deploy/",
        "/v1/credentials//deploy",
        "//v1/credentials/deploy",
        "/v1/credentials/./deploy",
        "/v1/credentials/reports/../deploy",
        "/v1/credentials/%64eploy",
        "/v1/credentials/deploy%00",
        "/v1/credentials/deploy%2F",
        "/v1/credentials/..%2Fcredentials%2Fdeploy",
        "/v1/credentials/DEPLOY",
        "/v1/credentials/deploy?",
        "/v1/credentials/deploy?profile=reports",
        "/v1/credentials/deploy;x",
        "/v1/credentials/deploy#x",
        "/V1/credentials/deploy",
        "/v1/status",
        "http://127.0.0.1:PORT/v1/credentials/deploy",
        "*",
    ],
)
def test_any_other_path_is_rejected_and_not_redirected(
    client: Client, source: FakeSource, path: str
) -> None:
    status, _, headers = client.request(path.replace("PORT", str(client.port)))
    assert status == 401
    assert "Location" not in headers
    assert source.calls == []


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_any_other_method_than_get_is_rejected(
    client: Client, source: FakeSource, method: str
) -> None:
    status, _, headers = client.request(method=method, Origin="https://evil.example")
    assert status == 405
    assert headers["Allow"] == "GET"
    assert not {name for name in headers if name.lower().startswith("access-control-")}
    assert source.calls == []


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection, with or without a reset."""
    received = b""
    try:
        while part := connection.recv(1 << 16):
            received += part
    except ConnectionResetError:
        pass
    return received


def head(client: Client, *lines: str) -> bytes:
    first = [f"GET {client.path} HTTP/1.1", f"Host: 127.0.0.1:{client.port}"]
    return "\r\n".join([*first, f"Authorization: {client.token}", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    "lines", [["Content-Length: 1073741824"], ["Transfer-Encoding: chunked"], ["Content-Length: 0"]]
)
def test_a_request_with_a_body_is_rejected_before_the_body_arrives(
    client: Client, source: FakeSource, lines: list[str]
) -> None:
    with client.connect() as connection:
        connection.sendall(head(client, *lines))
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")
    assert source.calls == []


def test_a_body_of_a_gigabyte_is_not_read(client: Client) -> None:
    sent = 0
    with client.connect() as connection:
        connection.sendall(head(client, "Content-Length: 1073741824"))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < 1 << 30:
                sent += connection.send(b"x" * (1 << 16))
    assert client.status() == 200


def test_endless_headers_are_cut_off(client: Client) -> None:
    with client.connect() as connection:
        connection.sendall(head(client).removesuffix(b"\r\n"))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                connection.sendall(b"X: " + b"x" * (1 << 16) + b"\r\n")
    assert client.status() == 200


def test_malformed_requests_do_no_harm(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    for nonsense in (
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ):
        with client.connect() as connection:
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            assert b" 200 " not in read_all(connection)
    assert client.status() == 200
    assert caplog.records == []


def test_a_websocket_is_an_ordinary_get(client: Client) -> None:
    with client.connect() as connection:
        connection.sendall(
            head(
                client,
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            )
        )
        # Like any other GET: the server knows no WebSocket.
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_hundreds_of_silent_connections_do_not_block_a_client(client: Client) -> None:
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(client.connect())
        assert client.status() == 200


def test_the_oldest_silent_connection_is_closed_when_there_are_too_many(
    source: FakeSource, directory: Path
) -> None:
    listener = listen_on_loopback()
    port = listener.getsockname()[1]
    handler = CredentialsHandler(source, TokenStore(directory), port=port)
    server = HttpServer(listener, handler.handle, name="test", limits=Limits(connections=3))
    server.start()
    try:
        with ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                for _ in range(5)
            ]
            assert [read_all(connection) for connection in connections[:2]] == [b"", b""]
            connections[4].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_all(connections[4]).startswith(b"HTTP/1.1 403 ")
    finally:
        server.stop()


@pytest.mark.parametrize("sent", [b"", b"GET "])
def test_a_request_that_does_not_arrive_in_time_is_given_up(
    source: FakeSource, directory: Path, sent: bytes
) -> None:
    listener = listen_on_loopback()
    port = listener.getsockname()[1]
    handler = CredentialsHandler(source, TokenStore(directory), port=port)
    server = HttpServer(listener, handler.handle, name="test", limits=Limits(timeout_seconds=0.01))
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(sent)
            assert read_all(connection) == b""
    finally:
        server.stop()


@as_root
def test_another_user_can_read_no_token_and_gets_no_credentials(
    client: Client, directory: Path
) -> None:
    files = list(directory.rglob("*.token"))
    assert files
    # The directories above are closed to others by pytest. The other user starts in the directory
    # of the endpoint, so that its own modes are tested.
    script = f"""
import os, urllib.request, urllib.error
os.chdir({str(directory)!r})
"".encode("idna")  # a later import may be closed to that user
os.setgroups([])
os.setgid({OTHER_UID})
os.setuid({OTHER_UID})
for path in {[str(path.relative_to(directory)) for path in files]!r} + ["."]:
    try:
        os.listdir(path) if path == "." else open(path)
    except PermissionError:
        print("closed")
try:
    urllib.request.urlopen("http://127.0.0.1:{client.port}{client.path}")
except urllib.error.HTTPError as error:
    print(error.code)
    error.close()
"""
    # An empty environment: started by `make coverage`, that user could not write what it measures.
    done = subprocess.run(  # noqa: S603 - of this very file
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={}
    )
    assert (done.stdout, done.stderr) == ("closed\nclosed\n401\n", "")


def test_a_failure_is_reported_only_to_a_client_with_the_token(
    client: Client, source: FakeSource
) -> None:
    source.failure = RefreshFailedError("profile deploy: no", hint="ask", code="AccessDenied")
    status, content, _ = client.request()
    assert status == 503
    assert content == {"code": "AccessDenied", "message": "profile deploy: no; ask"}
    assert client.request(Authorization="x")[0] == 401


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("profile deploy is not in the configuration", hint="see it"), 404),
        (RefreshFailedError("the SSO login has expired", hint="log in", code="SourceMissing"), 403),
        (RefreshFailedError("no MFA session", hint="log in", code="MfaCodeNeeded"), 403),
        (RefreshFailedError("keys do not expire", hint="assume", code="LongTermKeys"), 403),
        (RefreshFailedError("expired", hint="log in", code="ExpiredToken"), 403),
        (RefreshFailedError("unavailable", hint="wait", code="StsUnavailable"), 503),
        (RefreshFailedError("throttled", hint="wait", code="Throttling"), 503),
        (RefreshFailedError("no longer refreshed", hint="stopping", code="Usage"), 503),
        (UnexpectedError("a bug", hint="report it"), 503),
    ],
)
def test_the_status_says_whether_the_failure_is_final(
    client: Client, source: FakeSource, error: AssumedError, status: int
) -> None:
    """The SDKs report 4xx at once, and after 5xx they keep what they have and try again."""
    source.failure = error
    found, content, _ = client.request()
    assert found == status
    assert content == {"code": error.code, "message": f"{error.message}; {error.hint}"}


def test_a_slow_refresh_gives_the_old_session(source: FakeSource, directory: Path) -> None:
    source.is_slow = True
    tokens = TokenStore(directory)
    listener = listen_on_loopback()
    port = listener.getsockname()[1]
    handler = CredentialsHandler(source, tokens, port=port, refresh_timeout_seconds=0.01)
    server = HttpServer(listener, handler.handle, name="test")
    server.start()
    try:
        url = f"http://127.0.0.1:{port}/v1/credentials/deploy"
        client = Client(EndpointAddress(url=url, token_file=tokens.path("deploy")))
        assert client.request()[1]["AccessKeyId"] == "ASIADEPLOY1"
    finally:
        server.stop()
    assert source.calls == [("deploy", MIN_LEFT), ("deploy", timedelta(0))]


def test_restore_listens_on_the_same_port_with_new_tokens(
    source: FakeSource, directory: Path
) -> None:
    first = ContainerCredentialsEndpoint(source, directory)
    address = first.address("deploy")
    token = address.token_file.read_text()
    assert Client(address).status() == 200
    first.close()
    with pytest.raises(ConnectionRefusedError):
        Client(address).status()

    second = ContainerCredentialsEndpoint(source, directory)
    second.restore()
    assert Client(address).status() == 200
    assert second.address("deploy") == address
    # Another process may have listened there meanwhile, and received the token.
    assert Client(address).status(Authorization=token) == 401
    second.close()


def test_restore_removes_the_tokens_if_another_process_took_the_port(
    source: FakeSource, directory: Path
) -> None:
    first = ContainerCredentialsEndpoint(source, directory)
    address = first.address("deploy")
    first.close()
    with listen_on_loopback(urlsplit(address.url).port or 0):
        second = ContainerCredentialsEndpoint(source, directory)
        second.restore()
        assert not address.token_file.exists()
        assert second.address("deploy").url != address.url
        second.close()


def test_restore_opens_nothing_without_a_directory(source: FakeSource, directory: Path) -> None:
    endpoint = ContainerCredentialsEndpoint(source, directory)
    endpoint.restore()
    endpoint.close()
    assert not directory.exists()


@pytest.mark.parametrize("name", ["endpoint-", "endpoint-x", "endpoint-99999", "endpoint--1"])
def test_restore_removes_a_directory_without_a_port(
    source: FakeSource, directory: Path, name: str
) -> None:
    (directory / name).mkdir(parents=True)
    endpoint = ContainerCredentialsEndpoint(source, directory)
    endpoint.restore()
    endpoint.close()
    assert list(directory.iterdir()) == []


def test_a_token_store_replaces_the_tokens_of_existing_files(
    directory: Path, tmp_path: Path
) -> None:
    token = "x" * 43
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(token)
    directory.mkdir(mode=0o700)
    (directory / "link.token").symlink_to(elsewhere)
    (directory / "hard.token").hardlink_to(elsewhere)
    (directory / "open.token").write_text(token)
    (directory / "open.token").chmod(0o666)
    tokens = TokenStore(directory)
    for name in ("link", "hard", "open"):
        path = tokens.path(name)
        assert path.read_bytes() == tokens.get(name)
        assert path.read_text() != token
        assert not path.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert elsewhere.read_text() == token


def test_a_deleted_token_file_is_created_again(
    endpoint: ContainerCredentialsEndpoint,
) -> None:
    address = endpoint.address("deploy")
    address.token_file.unlink()
    assert endpoint.address("deploy") == address
    assert Client(address).status() == 200


def test_a_directory_that_is_a_link_is_rejected(
    endpoint: ContainerCredentialsEndpoint, directory: Path, tmp_path: Path
) -> None:
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises((DaemonUnreachableError, FileExistsError)):
        endpoint.address("deploy")


def test_a_directory_that_cannot_be_created_is_an_error(source: FakeSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    endpoint = ContainerCredentialsEndpoint(source, tmp_path / "file")
    with pytest.raises(
        DaemonUnreachableError, match="profile deploy: cannot open the container cred"
    ):
        endpoint.address("deploy")
    endpoint.close()
