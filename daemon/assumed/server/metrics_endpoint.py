"""Metrics on a port of the loopback, for a Prometheus of this machine.

Any process of any user can ask, as at each port of the loopback; there is no secret in the answer.
A page in a browser can't (see `MetricsHandler` of the endpoint), and whoever asks without a pause
gets the text of a second ago.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus

import h11

from assumed.logs.events import event
from assumed.server.loopback_http import ADDRESS, HttpResponse, LoopbackServer, listen

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text format of Prometheus, which its client library writes."""
_PATH = b"/metrics"
_GOOD_FOR_SECONDS = 1.0


class MetricsServer:
    """The port, where there is one; used by one thread.

    Args:
        text: returns what is answered; called from the server's thread.
    """

    def __init__(self, text: Callable[[], bytes]) -> None:
        self._text = text
        self._port: int | None = None
        self._server: LoopbackServer | None = None

    def open(self, port: int | None) -> None:
        """Answer at this port from now on and at no other; where it is another's, tell.

        Args:
            port: of 127.0.0.1; None to answer nowhere.
        """
        if port == self._port and self._server is not None:
            return
        self.close()
        self._port = port
        if port is None:
            return
        try:
            listener = listen(port)
        except OSError as error:
            event(
                logging.WARNING,
                "metrics_listen_failed",
                address=f"{ADDRESS}:{port}",
                error=error.strerror,
                hint="set another `metrics: port:`; all else goes on",
            )
            return
        self._server = LoopbackServer(listener, MetricsHandler(self._text, port=port).answer)
        self._server.start()

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.stop()
            self._server = None


class MetricsHandler:
    """What is answered: one path, one method, nothing else.

    Args:
        text: returns the metrics.
        port: a request has to name it in `Host`, behind 127.0.0.1 or localhost.
    """

    def __init__(self, text: Callable[[], bytes], *, port: int) -> None:
        self._text = text
        self._hosts = {f"{name}:{port}".encode() for name in (ADDRESS, "localhost")}
        self._made: tuple[float, bytes] | None = None

    async def answer(self, request: h11.Request) -> HttpResponse:
        """Return the answer to a request."""
        if request.method != b"GET":
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET is answered\n", Allow="GET")
        hosts = [value for name, value in request.headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _plain(HTTPStatus.FORBIDDEN, b"another Host than this one's\n")
        if request.target != _PATH:
            return _plain(HTTPStatus.NOT_FOUND, b"there is /metrics, and nothing else\n")
        try:
            return _plain(HTTPStatus.OK, self._recent())
        except Exception as error:  # noqa: BLE001 - whoever asks must not wait for ever
            event(logging.ERROR, "internal_error", exc_info=error)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR, b"a mistake in assumed\n")

    def _recent(self) -> bytes:
        now = time.monotonic()
        if self._made is None or now >= self._made[0] + _GOOD_FOR_SECONDS:
            self._made = time.monotonic(), self._text()
        return self._made[1]


def _plain(status: HTTPStatus, text: bytes, **headers: str) -> HttpResponse:
    return HttpResponse(status, text, {"Content-Type": CONTENT_TYPE, **headers})
