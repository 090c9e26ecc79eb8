"""The embedded AWS, with a log of whose key signed each request."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import UTC
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sts.models import sts_backends

from tests.integration.aws_server import ApiServer, serve, signature_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class LoggingServer(ApiServer):
    """`requests_for` a bucket: its requests; `sessions`: when those of a role expire."""

    def __init__(self, lifetime_scale: float) -> None:
        self._log: list[dict[str, Any]] = []
        super().__init__(lifetime_scale)

    def control(self, command: str, asked: Any) -> Any:
        match command:
            case "requests_for":
                return [each for each in list(self._log) if each["bucket"] == asked]
            case "sessions":
                sessions = list(sts_backends[DEFAULT_ACCOUNT_ID]["aws"].assumed_roles)
                return {
                    each.access_key_id: each.expiration.replace(tzinfo=UTC).timestamp()
                    for each in sessions
                    if each.role_arn == asked
                }
            case "objects":
                objects = {key: text.encode() for key, text in asked["objects"].items()}
                self.aws.add_bucket(asked["bucket"], objects)
                self._log = [each for each in self._log if each["bucket"] != asked["bucket"]]
                return None
        return super().control(command, asked)

    def _layer(self, application: WSGIApplication) -> WSGIApplication:
        layered = super()._layer(application)

        def logged(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            request = {
                "at": time.time(),
                "bucket": environ["PATH_INFO"].split("/")[1],
                "key": signature_of(environ).get("signed by"),
                "status": 0,
            }
            self._log.append(request)

            def start(status: str, *rest: Any) -> Any:
                request["status"] = int(status.split(maxsplit=1)[0])
                return start_response(status, *rest)

            return layered(environ, start)

        return logged


if __name__ == "__main__":
    serve(LoggingServer(float(sys.argv[1])))
