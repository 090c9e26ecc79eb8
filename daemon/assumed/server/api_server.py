"""Serves the routes of `api` on a listening socket, from a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypercorn.config import Config

    from assumed.server.api import DaemonApi

_STOP_SECONDS = 0.2


class ApiServer:
    """A hypercorn server. It is idle at no wake-ups: nothing in it polls.

    What it is made of would be a tenth of a daemon's start, and is imported by the thread.

    Args:
        daemon: is asked.
        listener: is the server's from now on, which closes it.
    """

    def __init__(self, daemon: DaemonApi, listener: socket.socket) -> None:
        self._daemon = daemon
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_tell)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="socket", daemon=True)

    def start(self) -> None:
        """Serve from now on; connections made before wait in the socket's backlog."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and return within a moment even if a request is under way."""
        if self._thread.ident is None:
            self._loop.close()
            self._listener.close()
            return
        with suppress(RuntimeError):  # the loop is closed: the server has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(2 * _STOP_SECONDS)

    def _serve(self) -> None:
        from hypercorn.asyncio import serve  # noqa: PLC0415 - see the class

        from assumed.server.api import application  # noqa: PLC0415

        answer: Any = application(self._daemon)
        config = self._configuration()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            # "lifespan" asks for what is to be done at the start and at the end, which is nothing;
            # starlette would tell a traceback of its wait for the end, where that is cut off.
            if scope["type"] == "http":
                await answer(scope, receive, send)

        async def serve_until_stopped() -> None:
            serving = asyncio.current_task()
            assert serving is not None  # noqa: S101 - this is one

            async def is_stopped() -> None:
                await self._stop.wait()
                # hypercorn's own limit begins once asyncio has closed the listener, and from
                # Python 3.12 on that waits until the last connection has ended by itself.
                self._loop.call_later(_STOP_SECONDS, serving.cancel)

            await serve(app, config, shutdown_trigger=is_stopped, mode="asgi")

        with (
            # hypercorn asks its connections what they ended with before they all have.
            suppress(asyncio.CancelledError, asyncio.InvalidStateError),
            asyncio.Runner(loop_factory=lambda: self._loop) as runner,
        ):
            runner.run(serve_until_stopped())

    def _configuration(self) -> Config:
        from hypercorn.config import Config  # noqa: PLC0415 - see the class

        config = Config()
        # hypercorn takes the descriptor over and closes it.
        config.bind = [f"fd://{self._listener.detach()}"]
        config.accesslog = None
        config.errorlog = logging.getLogger("hypercorn.error")
        config.include_server_header = False
        config.graceful_timeout = _STOP_SECONDS / 2
        return config


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # asyncio takes a connection that a stop cuts off for a defect.
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)
