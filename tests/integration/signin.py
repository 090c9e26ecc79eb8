"""A stub of the AWS sign-in service over HTTP: it refreshes the sessions of `aws login`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.http_stub import Stub, StubHandler

SESSION = "arn:aws:iam::123456789012:user/jane"
PROFILE = f"[profile people]\nlogin_session = {SESSION}\nregion = us-east-1\n"


class SignIn(Stub):
    """Returns `credentials` and the next refresh token for the right refresh token."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.refresh_token = "refresh-token-0"
        self.credentials: Mapping[str, Any] = {}
        key = ec.generate_private_key(ec.SECP256R1())
        self.key = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()

    def log_in(self, home: Path, *, lasts: timedelta = timedelta(minutes=15)) -> None:
        """Write the token's cache as `aws login` does."""
        cache = home / ".aws" / "login" / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        expires_at = (datetime.now(UTC) + lasts).strftime("%Y-%m-%dT%H:%M:%SZ")
        (cache / f"{hashlib.sha256(SESSION.encode()).hexdigest()}.json").write_text(
            json.dumps(
                {
                    "accessToken": {
                        **self.credentials,
                        "accountId": "123456789012",
                        "expiresAt": expires_at,
                    },
                    "tokenType": "aws_sigv4",
                    "clientId": "arn:aws:signin:::devtools/same-device",
                    "refreshToken": self.refresh_token,
                    "idToken": "",
                    "dpopKey": self.key,
                }
            )
        )


class _Handler(StubHandler):
    server: SignIn

    def do_POST(self) -> None:  # noqa: N802 - the name of http.server
        signin = self.server
        body = json.loads(self.body())
        signin.requests.append(self.path)
        assert self.headers["DPoP"].count(".") == 2, "a token signed with the key of the login"
        if body["refreshToken"] != signin.refresh_token:
            self._answer(403, {"error": "TOKEN_EXPIRED", "message": "the login has expired"})
            return
        signin.refresh_token = f"refresh-token-{len(signin.requests)}"
        self._answer(
            200,
            {
                "accessToken": signin.credentials,
                "tokenType": "aws_sigv4",
                "expiresIn": 900,
                "refreshToken": signin.refresh_token,
            },
        )

    def _answer(self, status: int, shape: Mapping[str, Any]) -> None:
        headers = {"Content-Type": "application/json"}
        if status != 200:
            headers["x-amzn-ErrorType"] = "AccessDeniedException"
        self.answer(status, json.dumps(shape), headers)
