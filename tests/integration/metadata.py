"""The endpoints on which a machine gives credentials to what runs on it, as real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROLES = "/latest/meta-data/iam/security-credentials/"
SESSION_TOKEN = "imds-session"
AUTHORIZATION = "container-authorization"


class Metadata(ThreadingHTTPServer):
    """Gives `credentials` to those who ask as they should; None for no role at all.

    An instance takes version 2 of its metadata service alone: a session first, then the rest.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.credentials: Mapping[str, Any] | None = None
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def metadata() -> Iterator[Metadata]:
    with Metadata() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Metadata
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self._note()
        asks = self.path == "/latest/api/token"
        if asks and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]:
            self._answer(200, SESSION_TOKEN)
        else:
            self._answer(400, "")

    def do_GET(self) -> None:
        self._note()
        credentials = self.server.credentials
        is_instance = self.path.startswith(ROLES)
        header = "X-aws-ec2-metadata-token" if is_instance else "Authorization"
        if self.headers[header] != (SESSION_TOKEN if is_instance else AUTHORIZATION):
            self._answer(401, "")
        elif credentials is None:
            self._answer(404, "")
        elif self.path == ROLES:
            self._answer(200, "the-role")
        else:
            self._answer(200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", **credentials}))

    def _note(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass
