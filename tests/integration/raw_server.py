"""A TCP server whose answers a test decides byte for byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable


def serve_connections(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Call `serve` with each connection, on threads of their own, until the listener is closed."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
