"""The metrics endpoint: a port of 127.0.0.1 for a Prometheus server on this machine.

Any process of any user can connect to it, so the metrics contain no secret. A web page in a browser
cannot (see `is_loopback_host`). Clients that ask without a pause get a text of the last second.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from assumed.logs.events import event
from assumed.server.http import (
    LOOPBACK,
    HttpRequest,
    HttpResponse,
    HttpServer,
    is_loopback_host,
)
from assumed.server.listeners import (
    ListenerStore,
    NullListenerStore,
    listen_and_keep,
    take_loopback,
)
from assumed.server.threads import WorkerThreads

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text format of Prometheus."""
_PATH = b"/metrics"
_MAX_AGE_SECONDS = 1.0
_LISTENER = "metrics"


class MetricsServer:
    """The metrics endpoint, if the configuration has a port for it. It is not thread-safe.

    Args:
        text: returns the metrics; called from a thread of its own.
        listeners: keeps the listening socket.
    """

    def __init__(self, text: Callable[[], bytes], listeners: ListenerStore | None = None) -> None:
        self._text = text
        self._listeners = listeners or NullListenerStore()
        self._port: int | None = None
        self._server: HttpServer | None = None

    def open(self, port: int | None) -> None:
        """Serve at this port and no other; log if another process has it.

        Args:
            port: of 127.0.0.1; None to serve nowhere.
        """
        if port == self._port and self._server is not None:
            return
        self.close()
        self._port = port
        if port is None:
            self._listeners.drop(_LISTENER)
            return
        try:
            listener = take_loopback(self._listeners, _LISTENER, port=port) or listen_and_keep(
                self._listeners, _LISTENER, port
            )
        except OSError as error:
            event(
                logging.WARNING,
                "metrics_listen_failed",
                address=f"{LOOPBACK}:{port}",
                error=error.strerror,
                hint="set another `metrics: port:`; profiles are still refreshed",
            )
            return
        handler = MetricsHandler(self._text, port=port)
        self._server = HttpServer(listener, handler.handle, name="metrics")
        self._server.start()

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.stop()
            self._server = None


class MetricsHandler:
    """Answers `GET /metrics`, and rejects everything else.

    Args:
        text: returns the metrics; called from a thread of its own.
        port: `Host` must be this port at 127.0.0.1 or localhost.
    """

    def __init__(self, text: Callable[[], bytes], *, port: int) -> None:
        self._text = text
        self._port = port
        # One thread, so that requests at the same time share one text.
        self._workers = WorkerThreads("metrics-worker", max_threads=1)
        self._last_text = b""
        self._last_text_at = -_MAX_AGE_SECONDS

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Return the response to a request."""
        if request.method != "GET":
            text = b"only GET is supported\n"
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, text, Allow="GET")
        if not is_loopback_host(request.header(b"host"), self._port):
            return _response(HTTPStatus.FORBIDDEN, b"the Host header names another server\n")
        if request.target != _PATH:
            return _response(HTTPStatus.NOT_FOUND, b"the only path is /metrics\n")
        return _response(HTTPStatus.OK, await self._workers.run(self._recent_text))

    def _recent_text(self) -> bytes:
        if time.monotonic() >= self._last_text_at + _MAX_AGE_SECONDS:
            self._last_text = self._text()
            self._last_text_at = time.monotonic()
        return self._last_text


def _response(status: HTTPStatus, text: bytes, **headers: str) -> HttpResponse:
    return HttpResponse(status, text, content_type=CONTENT_TYPE, headers=headers)
