"""Opens connections within a time limit, whatever the number of addresses of the server.

urllib3 tries one address after the other, each for the whole time-out, and looks up the name
without a limit. Here the next address is tried after a quarter of a second, as in RFC 8305, and the
first that answers is used.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any

_ATTEMPT_DELAY_SECONDS = 0.25
_LOOKUP_SECONDS = 5.0

Address = tuple[Any, ...]
"""As `socket.getaddrinfo` returns it."""


def open_connection(
    host: str, port: int, *, seconds: float, options: Iterable[tuple[Any, ...]] = ()
) -> socket.socket:
    """Return a connection to the first address of a host that answers.

    Args:
        host: a name or an address.
        port: the port.
        seconds: the limit for the lookup of the name and for all addresses.
        options: arguments of `socket.setsockopt`.

    Raises:
        socket.gaierror: the name is not known.
        TimeoutError: the time is over.
        OSError: no address accepts a connection.
    """
    ends_at = time.monotonic() + seconds
    addresses = _look_up(host, port, min(seconds, _LOOKUP_SECONDS))
    return connect_to_first(addresses, ends_at=ends_at, options=options)


def connect_to_first(
    addresses: Iterable[Address], *, ends_at: float, options: Iterable[tuple[Any, ...]] = ()
) -> socket.socket:
    """Return a connection to the first address that answers; see `open_connection`.

    Args:
        addresses: tried in turn, the families of addresses alternately.
        ends_at: by `time.monotonic`.
        options: arguments of `socket.setsockopt`.
    """
    waiting = _interleaved(addresses)
    error = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    pending: dict[int, socket.socket] = {}
    poll, next_at = select.poll(), 0.0
    try:
        while waiting or pending:
            now = time.monotonic()
            if now >= ends_at:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if waiting and (now >= next_at or not pending):
                next_at = now + _ATTEMPT_DELAY_SECONDS
                try:
                    started = _start(waiting.pop(0), options)
                except OSError as failed:
                    error = failed
                    continue
                pending[started.fileno()] = started
                poll.register(started, select.POLLOUT)
            wakes_at = min(ends_at, next_at) if waiting else ends_at
            for descriptor, _ in poll.poll(max(0.0, wakes_at - now) * 1000 + 1):
                poll.unregister(descriptor)
                ready = pending.pop(descriptor)
                number = ready.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not number:
                    return ready
                ready.close()
                error, next_at = OSError(number, os.strerror(number)), now
        raise error
    finally:
        for unused in pending.values():
            unused.close()


def _start(address: Address, options: Iterable[tuple[Any, ...]]) -> socket.socket:
    family, kind, protocol, _, name = address
    started = socket.socket(family, kind, protocol)
    try:
        for option in options:
            started.setsockopt(*option)
        started.setblocking(False)
        with suppress(BlockingIOError):
            started.connect(name)
    except BaseException:
        started.close()
        raise
    return started


def _interleaved(addresses: Iterable[Address]) -> list[Address]:
    by_family: dict[int, list[Address]] = {}
    for address in addresses:
        by_family.setdefault(address[0], []).append(address)
    return [each for each in chain(*zip_longest(*by_family.values())) if each is not None]


_lock = threading.Lock()
_lookups: dict[tuple[str, int], Future[Sequence[Address]]] = {}


def _look_up(host: str, port: int, seconds: float) -> Sequence[Address]:
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    # No call can interrupt getaddrinfo(3); while one hangs, no other is made for that name.
    with _lock:
        lookup = _lookups.get((host, port))
        if lookup is None:
            lookup = Future()
            thread = threading.Thread(
                target=_run_lookup, args=(host, port, lookup), name="lookup", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, "no thread can be started") from error
            _lookups[host, port] = lookup
    return lookup.result(seconds)


def _run_lookup(host: str, port: int, lookup: Future[Sequence[Address]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except Exception as error:  # noqa: BLE001 - the threads that wait get it
        lookup.set_exception(error)
    else:
        lookup.set_result(found)
    finally:
        with _lock:
            _lookups.pop((host, port), None)
