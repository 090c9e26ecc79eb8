"""One HTTP request over the API socket of the daemon, and JSON, with almost no imports.

The imports are `_socket` and `_json`, the C halves of `socket` and `json`; importing the other
halves takes as long as starting Python. `client` is the client for all other commands.
"""

import os
import sys

try:
    import _socket as c_socket
except ImportError:  # another Python than CPython
    import socket as c_socket  # type: ignore[no-redef]

from assumed.paths import MAX_SOCKET_PATH_BYTES, client_sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_READ_BYTES = 1 << 16
# RFC 3986: what a query holds without percent-encoding.
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")


class DaemonNotAnsweringError(Exception):
    """A daemon is there but does not answer, or a process of another user is in its place."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Response:
    """The response of the daemon.

    Args:
        path: of the socket.
        status: of HTTP.
        body: the JSON, of any type.
    """

    __slots__ = ("body", "path", "status")

    def __init__(self, path: str, status: int, body: "Any") -> None:
        self.path, self.status, self.body = path, status, body


def peer_uid(connection: "c_socket.socket", path: str) -> int:
    """Return the user ID of the process that listens at the other end of `connection`."""
    if not hasattr(c_socket, "SO_PEERCRED"):
        return os.lstat(path).st_uid
    # struct ucred of unix(7): process, user, group.
    option = c_socket.SOL_SOCKET, c_socket.SO_PEERCRED, 12
    return int.from_bytes(connection.getsockopt(*option)[4:8], sys.byteorder)


def describe_failure(path: str, error: Exception) -> tuple[str, str]:
    """Return the message and the hint for a request that failed; they quote no response.

    Args:
        path: of the socket.
        error: of the operating system, or raised because the response is invalid.
    """
    if isinstance(error, TimeoutError):
        return (
            f"the daemon at {path} has not answered in time",
            f"a refresh may still be running; if `assumed status` gets no answer either, "
            f"{_restart_hint(path)}",
        )
    if isinstance(error, OSError):
        closed = isinstance(error, ConnectionResetError | BrokenPipeError)
        reason = "it closed the connection" if closed else error.strerror or str(error)
        return f"the daemon at {path} does not answer: {reason}", _restart_hint(path)
    return (
        f"the daemon at {path} sent an invalid response",
        f"it may run another version of assumed: {_restart_hint(path)}",
    )


def _restart_hint(path: str) -> str:
    """Return how to restart the daemon that listens at a path, by where that path is."""
    if path.startswith("/run/assumed/"):
        unit = f"assumed@{path.split('/')[3]}"
        return (
            f"see its log (`sudo journalctl -u {unit}`), then restart it (`sudo systemctl restart "
            f"{unit}`)"
        )
    return (
        "see its log (`journalctl --user -u assumed`), then restart it (`systemctl --user restart "
        "assumed`, or `assumed run` again if you started it by hand)"
    )


def request_json(
    environ: "Mapping[str, str]",
    user: str,
    target: str,
    query: "Mapping[str, object]",
    *,
    timeout_seconds: float,
) -> Response | None:
    """Send a GET request to the daemon of `user`; return None if no daemon runs.

    Args:
        environ: names the directories of sockets.
        user: a name.
        target: the path of a route.
        query: values by name; a list stands for several values of one name, None for no value.
        timeout_seconds: for the connection and for each part of the response; positive.

    Raises:
        DaemonNotAnsweringError: there is no valid response, or a process of another user listens.
    """
    for path in client_sockets(environ, user):
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            continue
        connection = c_socket.socket(c_socket.AF_UNIX, c_socket.SOCK_STREAM)
        # A daemon that is stopped (SIGSTOP) accepts nothing, and its queue may be full.
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(path)
            uid = peer_uid(connection, path)
            if uid != os.geteuid():
                raise DaemonNotAnsweringError(
                    f"{path} belongs to user {uid}, not to you: it is not trusted",
                    hint="run this as the user of that daemon",
                )
            status, body = _exchange(connection, f"{target}?{_encode_query(query)}")
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise failed_request(path, error) from error
        finally:
            connection.close()
        return Response(path, status, body)
    return None


def failed_request(path: str, error: Exception) -> DaemonNotAnsweringError:
    """Return the error for a request that failed; see `describe_failure`."""
    message, hint = describe_failure(path, error)
    return DaemonNotAnsweringError(message, hint=hint)


def _exchange(connection: "c_socket.socket", target: str) -> "tuple[int, Any]":
    connection.sendall(
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    parts = []
    while part := connection.recv(_READ_BYTES):
        parts.append(part)
    if not parts:
        raise ConnectionResetError
    head, end_of_head, body = b"".join(parts).partition(b"\r\n\r\n")
    protocol, _, status = head.partition(b" ")
    if not end_of_head or not protocol.startswith(b"HTTP/1."):
        raise ValueError("not HTTP")
    return int(status[:3]), _parse_json(body.decode())


def _encode_query(values: "Mapping[str, object]") -> str:
    pairs = [
        (name, str(value))
        for name, given in values.items()
        if given is not None
        for value in (given if isinstance(given, list) else [given])
    ]
    return "&".join(f"{name}={_percent_encode(value)}" for name, value in pairs)


def _percent_encode(text: str) -> str:
    return "".join(
        chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in os.fsencode(text)
    )


def to_json(value: object) -> str:
    """Return a value as JSON, on one line."""
    try:
        from _json import encode_basestring_ascii, make_encoder  # noqa: PLC0415 - see above
    except ImportError:
        from json import dumps  # noqa: PLC0415

        return dumps(value)
    # The arguments of `json.JSONEncoder`.
    encode: Any = make_encoder(
        None, repr, encode_basestring_ascii, None, ": ", ", ", False, False, True
    )
    return "".join(encode(value, 0))


class _ScannerOptions:
    """The options that `json.JSONDecoder` gives to the scanner, which does all of its work."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _parse_json(text: str) -> "Any":
    try:
        from _json import make_scanner  # noqa: PLC0415 - see above
    except ImportError:
        from json import loads  # noqa: PLC0415

        return loads(text)
    scan: Any = make_scanner(_ScannerOptions())  # type: ignore[arg-type]
    try:
        value, end = scan(text, 0)
    except StopIteration:
        raise ValueError("not JSON") from None
    if text[end:].strip():
        raise ValueError("not JSON")
    return value
