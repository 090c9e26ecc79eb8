"""Direct calls beside botocore's client on the wire, also through proxies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from botocore.config import Config
from botocore.session import Session

from assumed.sts.direct_calls import DirectClient

BODY = b"<GetCallerIdentityResponse><GetCallerIdentityResult/></GetCallerIdentityResponse>"
# What differs from one request to the next.
CHANGING = re.compile(rb"(?im)^(x-amz-date|amz-sdk-invocation-id): .*|Signature=\w+")


class Recorder(BaseHTTPRequestHandler):
    """Records the bytes of each request, and answers it."""

    protocol_version = "HTTP/1.1"
    requests: list[bytes]

    def do_POST(self) -> None:
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.requests.append(f"{self.requestline}\r\n{head}\r\n".encode() + body)
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


class RecordingServer(ThreadingHTTPServer):
    daemon_threads = True


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    Recorder.requests = []
    with RecordingServer(("127.0.0.1", 0), Recorder) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:{}", "http://me:a%20secret@127.0.0.1:{}"])
def test_the_bytes_on_the_wire_are_the_same(server: RecordingServer, proxy: str) -> None:
    own = f"http://127.0.0.1:{server.server_port}"
    client = Session().create_client(
        "sts",
        "us-east-1",
        endpoint_url="http://sts.example.com" if proxy else own,
        config=Config(
            proxies={"http": proxy.format(server.server_port)} if proxy else {},
            retries={"total_max_attempts": 1},
        ),
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="long-term-secret",
    )
    made: list[str] = []
    client.meta.events.register("before-parameter-build.sts", lambda model, **_: made.append(model))
    direct = DirectClient(client)
    for _ in range(2):
        direct.get_caller_identity()
    client.close()
    assert len(made) == 1, "the second one was not direct"
    first, second = (CHANGING.sub(b"", request) for request in Recorder.requests)
    assert first == second
    assert (b"\r\nProxy-Authorization: Basic " in first) == ("@" in proxy)
