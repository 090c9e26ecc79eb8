"""The embedded AWS as a process of its own, which notes every AssumeRole and can be disturbed.

`python -m tests.integration.aws_server LIFETIME-SCALE` prints its URL and serves until its input is
closed.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sts.models import sts_backends

from assumed.demo.aws import EmbeddedAws, answer_error, form

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HANG_SECONDS = 120


class Server:
    """The embedded AWS, and what a test asks of it under `/_test/`."""

    def __init__(self, lifetime_scale: float) -> None:
        self.aws = EmbeddedAws(lifetime_scale=lifetime_scale, layer=self._layer)
        self._lock = threading.Lock()
        self._calls: list[str] = []
        self._faults: dict[str, str] = {}
        self._changed = threading.Condition()

    def control(self, command: str, asked: Any) -> Any:
        match command:
            case "user":
                user = self.aws.add_user(asked["name"], *asked["statements"])
                return [user.access_key_id, user.secret_access_key]
            case "role":
                return self.aws.add_role(
                    asked["name"], *asked["statements"], trusts=asked["trusts"]
                )
            case "bucket":
                self.aws.add_bucket(asked["name"], {"object": b""})
                return None
            case "fault":
                with self._changed:
                    self._faults[asked["role_arn"]] = asked["fault"]
                    self._changed.notify_all()
                return None
            case "calls":
                with self._lock:
                    return list(self._calls)
            case "secrets":
                sessions = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].assumed_roles
                return [
                    secret
                    for session in sessions
                    for secret in (session.secret_access_key, session.session_token)
                ]
        raise ValueError(command)

    def _layer(self, application: WSGIApplication) -> WSGIApplication:
        def layered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path.startswith("/_test/"):
                length = int(environ.get("CONTENT_LENGTH") or 0)
                asked = json.loads(environ["wsgi.input"].read(length) or b"null")
                body = json.dumps(self.control(path.removeprefix("/_test/"), asked)).encode()
                start_response("200 OK", [("Content-Length", str(len(body)))])
                return [body]
            parameters = form(environ)
            role_arn = parameters.get("RoleArn", [""])[0]
            if role_arn:
                with self._lock:
                    self._calls.append(role_arn)
                refusal = self._disturb(role_arn, start_response)
                if refusal is not None:
                    return refusal
            return application(environ, start_response)

        return layered

    def _disturb(self, role_arn: str, start_response: StartResponse) -> Iterable[bytes] | None:
        match self._faults.get(role_arn):
            case "hang":
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._faults.get(role_arn) != "hang", _HANG_SECONDS
                    )
            case "throttle":
                return answer_error(start_response, "400 Bad", "Throttling", "Rate exceeded")
            case "break":
                return answer_error(start_response, "500 Broken", "InternalFailure", "It broke")
            case "garbage":
                body = b"<html>Please log in to the hotel's network</html>"
                start_response("200 OK", [("Content-Length", str(len(body)))])
                return [body]
        return None


def main() -> None:
    server = Server(float(sys.argv[1]))
    with server.aws:
        sys.stdout.write(f"{server.aws.endpoint_url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
