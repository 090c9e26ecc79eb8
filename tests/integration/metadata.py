"""A stub of the EC2 metadata service and of the ECS credentials endpoint over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.integration.http_stub import Stub, StubHandler

ROLES = "/latest/meta-data/iam/security-credentials/"
SESSION_TOKEN = "imds-session"
AUTHORIZATION = "container-authorization"


class Metadata(Stub):
    """Returns `credentials` to valid requests; None if the machine has no role.

    The metadata service accepts version 2 only: a session token comes first.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.credentials: Mapping[str, Any] | None = None


class _Handler(StubHandler):
    server: Metadata

    def do_PUT(self) -> None:  # noqa: N802 - the name of http.server
        self._record()
        is_token_request = self.path == "/latest/api/token"
        if is_token_request and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]:
            self.answer(200, SESSION_TOKEN)
        else:
            self.answer(400, "")

    def do_GET(self) -> None:  # noqa: N802 - the name of http.server
        self._record()
        credentials = self.server.credentials
        is_instance = self.path.startswith(ROLES)
        header = "X-aws-ec2-metadata-token" if is_instance else "Authorization"
        if self.headers[header] != (SESSION_TOKEN if is_instance else AUTHORIZATION):
            self.answer(401, "")
        elif credentials is None:
            self.answer(404, "")
        elif self.path == ROLES:
            self.answer(200, "the-role")
        else:
            self.answer(200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", **credentials}))

    def _record(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
