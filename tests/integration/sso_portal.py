"""The endpoints of IAM Identity Center that a login's token is used at, as real HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SESSION = "company"
START_URL = "https://example.awsapps.com/start"
PROFILE = f"""\
[profile people]
sso_session = {SESSION}
sso_account_id = 123456789012
sso_role_name = reader
[sso-session {SESSION}]
sso_start_url = {START_URL}
sso_region = us-east-1
sso_registration_scopes = sso:account:access
"""


class Portal(ThreadingHTTPServer):
    """Gives a role's credentials to whoever shows the right token, and the next token too."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = "sso-token-0"
        self.credentials: Mapping[str, Any] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def log_in(self, home: Path, *, lasts: timedelta = timedelta(hours=8)) -> None:
        """Write the token's cache as `aws sso login` does."""

        def moment(ahead: timedelta) -> str:
            return (datetime.now(UTC) + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")

        cache = home / ".aws" / "sso" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha1(SESSION.encode(), usedforsecurity=False).hexdigest()
        (cache / f"{name}.json").write_text(
            json.dumps(
                {
                    "startUrl": START_URL,
                    "region": "us-east-1",
                    "accessToken": self.token,
                    "expiresAt": moment(lasts),
                    "clientId": "client",
                    "clientSecret": "client-secret",
                    "registrationExpiresAt": moment(timedelta(days=90)),
                    "refreshToken": "refresh-token",
                }
            )
        )


@contextmanager
def portal() -> Iterator[Portal]:
    with Portal() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Portal

    def do_GET(self) -> None:
        portal = self.server
        asked = urlsplit(self.path)
        portal.asked.append(asked.path)
        parameters = parse_qs(asked.query)
        if self.headers["x-amz-sso_bearer_token"] != portal.token:
            self._answer(401, {"message": "Session token not found or invalid"}, "Unauthorized")
        elif parameters["role_name"] != ["reader"]:
            self._answer(403, {"message": "No access"}, "Forbidden")
        else:
            self._answer(200, {"roleCredentials": portal.credentials})

    def do_POST(self) -> None:
        portal = self.server
        portal.asked.append(self.path)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (asked["grantType"], asked["refreshToken"]) == ("refresh_token", "refresh-token")
        portal.token = f"sso-token-{len(portal.asked)}"
        self._answer(200, {"accessToken": portal.token, "expiresIn": 28800, "tokenType": "Bearer"})

    def _answer(self, status: int, shape: Mapping[str, Any], error: str = "") -> None:
        body = json.dumps(shape).encode()
        self.send_response(status)
        if error:
            self.send_header("x-amzn-ErrorType", f"{error}Exception")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
