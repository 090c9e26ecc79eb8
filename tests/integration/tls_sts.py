"""An STS over https that issues a session to every caller, with whatever certificate."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs


class TlsSts(ThreadingHTTPServer):
    """Closes each connection after one answer; use it in a `with`.

    Args:
        certificate: a file with the certificate, its chain and its key.
        host: the address to listen at.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, certificate: Path, *, host: str = "127.0.0.1") -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The thread of each connection does the handshake.
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        self.requests: list[str] = []
        """The actions that were called."""
        self._thread = Thread(target=self.serve_forever, args=(0.01,))

    def url(self, host: str = "") -> str:
        """Return the URL, by another name of this machine if one is given."""
        address: str = self.server_address[0]  # type: ignore[assignment]
        host = host or (f"[{address}]" if ":" in address else address)
        return f"https://{host}:{self.server_port}"

    def __enter__(self) -> TlsSts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that refuses the certificate is an error here."""


class _Handler(BaseHTTPRequestHandler):
    server: TlsSts

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.requests.append(form["Action"][0])
        now = datetime.now(UTC)
        body = _SESSION.format(expiration=now + timedelta(hours=1)).encode()
        self.send_response_only(200)
        self.send_header("Date", format_datetime(now, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


_SESSION = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
  <AssumedRoleUser><AssumedRoleId>AROA:me</AssumedRoleId>
    <Arn>arn:aws:sts::111122223333:assumed-role/deploy/me</Arn></AssumedRoleUser>
  <Credentials><AccessKeyId>ASIAISSUED</AccessKeyId>
    <SecretAccessKey>an-issued-secret-access-key</SecretAccessKey>
    <SessionToken>an-issued-session-token</SessionToken>
    <Expiration>{expiration:%Y-%m-%dT%H:%M:%SZ}</Expiration>
  </Credentials></AssumeRoleResult></AssumeRoleResponse>
"""


class ConnectProxy(ThreadingTCPServer):
    """A proxy that only knows CONNECT; use it in a `with`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.tunnels: list[str] = []
        """The hosts and ports that were asked for."""
        self._thread = Thread(target=self.serve_forever, args=(0.01,))

    def __enter__(self) -> ConnectProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Tunnel(StreamRequestHandler):
    server: ConnectProxy
    rbufsize = 0

    def handle(self) -> None:
        target = self.rfile.readline().split()[1].decode()
        self.server.tunnels.append(target)
        while self.rfile.readline().strip():
            continue
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as behind, suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 -\r\n\r\n")
            _copy_both_ways(self.connection, behind)


def _copy_both_ways(one: socket.socket, other: socket.socket) -> None:
    while True:
        for source in select.select([one, other], [], [])[0]:
            data = source.recv(65536)
            if not data:
                return
            (other if source is one else one).sendall(data)
