"""A stub of IAM Identity Center over HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.http_stub import Stub, StubHandler

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


class Portal(Stub):
    """Returns a role's credentials for the right token, and refreshes the token."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.token = "sso-token-0"
        self.credentials: Mapping[str, Any] = {}

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


class _Handler(StubHandler):
    server: Portal

    def do_GET(self) -> None:  # noqa: N802 - the name of http.server
        portal = self.server
        url = urlsplit(self.path)
        portal.requests.append(url.path)
        parameters = parse_qs(url.query)
        if self.headers["x-amz-sso_bearer_token"] != portal.token:
            self._answer(401, {"message": "Session token not found or invalid"}, "Unauthorized")
        elif parameters["role_name"] != ["reader"]:
            self._answer(403, {"message": "No access"}, "Forbidden")
        else:
            self._answer(200, {"roleCredentials": portal.credentials})

    def do_POST(self) -> None:  # noqa: N802 - the name of http.server
        portal = self.server
        portal.requests.append(self.path)
        body = json.loads(self.body())
        assert (body["grantType"], body["refreshToken"]) == ("refresh_token", "refresh-token")
        portal.token = f"sso-token-{len(portal.requests)}"
        self._answer(200, {"accessToken": portal.token, "expiresIn": 28800, "tokenType": "Bearer"})

    def _answer(self, status: int, shape: Mapping[str, Any], error: str = "") -> None:
        headers = {"x-amzn-ErrorType": f"{error}Exception"} if error else {}
        self.answer(status, json.dumps(shape), {**headers, "Content-Type": "application/json"})
