"""Where the requests of botocore's clients go, and how much of a response is read."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assumed.clock import SystemClock
from assumed.credential_sources.ambient import AmbientCredentialSource
from assumed.credential_sources.base import SourceProfiles
from assumed.errors import AssumedError, StsRequestRejectedError
from assumed.models import CredentialSource
from assumed.sts import response_limits
from assumed.sts.client import StsClient
from tests.fakes import LONG_TERM, role
from tests.integration.raw_server import serve_connections
from tests.source_profiles import KEYS, AwsFiles

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SSO_TOKEN = "sso-access-token-0123456789"
CONFIG = f"""\
[default]
region = us-east-1
[profile keys]
region = us-east-1
{KEYS}
[profile role]
region = us-east-1
role_arn = arn:aws:iam::111122223333:role/r
source_profile = keys
[profile people]
region = us-east-1
sso_start_url = https://example.awsapps.com/start
sso_region = us-east-1
sso_account_id = 111122223333
sso_role_name = reader
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AwsFiles:
    found = AwsFiles(tmp_path, monkeypatch)
    found.config(CONFIG)
    token = {"accessToken": SSO_TOKEN, "expiresAt": "2099-01-01T00:00:00Z"}
    found.sso_token("https://example.awsapps.com/start", json.dumps(token))
    return found


class Server:
    """A TCP server that answers each request with `send`, and records the requests."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.send: Callable[[socket.socket], None] = lambda _: None
        self.requests: list[bytes] = []
        self._stopped = threading.Event()
        self._listener = socket.create_server((host, 0))
        self.netloc = f"{host}:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.netloc}"
        serve_connections(self._listener, self._serve)

    def close(self) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def drip(self, connection: socket.socket, head: bytes) -> None:
        """Send a byte every 50 ms, until the client gives up."""
        connection.sendall(head)
        while not self._stopped.wait(0.05):
            connection.sendall(b"x")

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.requests.append(connection.recv(65536))
                self.send(connection)
            except OSError:
                return


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A proxy that the environment names for everything, without an exception."""
    found = Server("127.0.0.2")
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, found.url)
    yield found
    found.close()


def assume_role() -> None:
    StsClient(SystemClock()).assume_role(
        role("deploy"), LONG_TERM, SourceProfiles().plain_botocore_session()
    )


def resolve(name: str) -> Callable[[], object]:
    return lambda: SourceProfiles().resolve(name).credentials()


def ask_metadata() -> None:
    AmbientCredentialSource(
        CredentialSource.EC2, SourceProfiles().plain_botocore_session()
    ).credentials()


def ask_container() -> None:
    AmbientCredentialSource(
        CredentialSource.ECS, SourceProfiles().plain_botocore_session()
    ).credentials()


CALLS = {
    "AssumeRole": assume_role,
    "SSO portal": resolve("people"),
    "STS of a source profile": resolve("role"),
    "EC2 metadata": ask_metadata,
    "ECS credentials": ask_container,
}


def lead_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        monkeypatch.setenv(name, url)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/task")


def endless(head: bytes, chunk: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(chunk)

    return send


ENDLESS = {
    "body": endless(HEAD + b'\r\n{"infinite": "', b"x" * 65536),
    "chunks": endless(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n%b\r\n" % (b"x" * 4096)
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("send", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_response_is_read_up_to_a_mebibyte(
    send: Callable[[socket.socket], None],
    call: Callable[[], object],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.send = send
    lead_to(server.url, monkeypatch)
    with pytest.raises(AssumedError, match="the response is larger than 1 MiB"):
        call()
    assert len(server.requests) == 1, "it is not tried again"


SLOW_HEADS = {
    "body": HEAD + b"Content-Length: 1000000\r\n\r\n",
    "headers": HEAD + b"X-Slow: ",
    "status line": b"",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("head", SLOW_HEADS.values(), ids=SLOW_HEADS)
def test_a_response_that_arrives_byte_by_byte_times_out(
    head: bytes, call: Callable[[], object], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_limits, "MAX_SECONDS", 0.3)
    server.send = lambda connection: server.drip(connection, head)
    lead_to(server.url, monkeypatch)
    with pytest.raises(AssumedError, match=r"the response is not complete after 0\.3 s"):
        call()
    assert len(server.requests) == 1, "it is not tried again"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_loopback_interface_and_metadata_services_are_reached_without_a_proxy(
    call: Callable[[], object], server: Server, proxy: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_to(server.url, monkeypatch)
    with pytest.raises(AssumedError):
        call()
    assert server.requests
    assert proxy.requests == []


def test_a_metadata_service_elsewhere_is_reached_without_a_proxy(
    proxy: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name that no resolver knows: only a proxy would be asked for it.
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://metadata.invalid")
    with pytest.raises(AssumedError):
        ask_metadata()
    assert proxy.requests == []


AMBIGUOUS = {
    "backslash": "http://{other}\\@{loopback}",
    "user": "http://me@{loopback}",
    "password": "http://{other}:secret-password@{loopback}",
    "blank": "http://{loopback}/a b",
    "control character": "http://{loopback}/\x07",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("url", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_ambiguous_endpoint_is_rejected(
    url: str, call: Callable[[], object], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Server("127.0.0.3")
    lead_to(url.format(other=other.netloc, loopback=server.netloc), monkeypatch)
    with pytest.raises(AssumedError) as raised:
        call()
    other.close()
    assert server.requests == other.requests == []
    assert "secret-password" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    status: int, call: Callable[[], object], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Server("127.0.0.4")
    head = f"HTTP/1.1 {status} -\r\nLocation: {target.url}/\r\nContent-Length: 0\r\n"
    server.send = lambda connection: connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
    lead_to(server.url, monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(AssumedError):
        call()
    with warnings.catch_warnings(action="ignore"):
        # urllib3 forgets the response to a POST with status 303.
        gc.collect()
    target.close()
    assert server.requests
    assert target.requests == []


def test_an_sso_token_with_a_line_break_is_sent_to_no_one_and_shown_nowhere(
    files: AwsFiles, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_to(server.url, monkeypatch)
    token = {"accessToken": f"{SSO_TOKEN}\n", "expiresAt": "2099-01-01T00:00:00Z"}
    files.sso_token("https://example.awsapps.com/start", json.dumps(token))
    with pytest.raises(AssumedError) as raised:
        resolve("people")()
    assert "x-amz-sso_bearer_token" in raised.value.message
    assert SSO_TOKEN not in raised.value.message + raised.value.hint
    assert server.requests == []


def test_plain_http_beyond_this_machine_is_rejected_for_every_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lead_to("http://192.0.2.1", monkeypatch)
    for call in (assume_role, resolve("people"), resolve("role")):
        with pytest.raises(StsRequestRejectedError) as raised:
            call()
        assert raised.value.code == "PlainHttp"
