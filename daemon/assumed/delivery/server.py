"""Serves an ASGI application on a listening socket, from a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.types import ASGIApp

_STOP_SECONDS = 0.2


class Server:
    """A hypercorn server. It is idle at no wake-ups: nothing in it polls."""

    def __init__(self, application: ASGIApp, listener: socket.socket) -> None:
        self._application: Any = application
        self._config = Config()
        # hypercorn takes the descriptor over and closes it.
        self._config.bind = [f"fd://{listener.detach()}"]
        self._config.accesslog = None
        self._config.errorlog = logging.getLogger("hypercorn.error")
        self._config.include_server_header = False
        self._config.graceful_timeout = _STOP_SECONDS
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_tell)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="socket", daemon=True)

    def start(self) -> None:
        """Serve from now on; connections made before wait in the socket's backlog."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and return within a moment even if a request is under way."""
        with suppress(RuntimeError):  # the loop is closed: the server has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(2 * _STOP_SECONDS)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(
                serve(
                    self._application, self._config, shutdown_trigger=self._stop.wait, mode="asgi"
                )
            )


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # asyncio takes a connection that a stop cuts off for a defect.
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)
