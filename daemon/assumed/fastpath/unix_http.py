"""Where a client finds the daemon's socket, whom it trusts there, and one request over it.

As all that `quick` needs, this imports only what costs nothing: `_socket` and `_json`, the C halves
of `socket` and `json`, whose other halves take as long to import as Python takes to start.
"""

import os
import sys

try:
    import _socket as plain_socket
except ImportError:  # another Python than CPython
    import socket as plain_socket  # type: ignore[no-redef]

from assumed.paths import MAX_SOCKET_PATH_BYTES, client_sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_READ_BYTES = 1 << 16
_PLAIN_IN_A_QUERY = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
)


class DaemonNotAnsweringError(Exception):
    """A daemon seems to be there and gives no answer, or it would be another user's."""

    def __init__(
        self,
        message: str,
        *,
        hint: str = "see its log: `journalctl --user -u assumed`; and restart it",
    ) -> None:
        super().__init__(message)
        self.hint = hint


def owner(connection: "plain_socket.socket", path: str) -> int:
    """Return the user who listens at the other end of `connection`."""
    if not hasattr(plain_socket, "SO_PEERCRED"):
        return os.lstat(path).st_uid
    # struct ucred of unix(7): process, user, group.
    asked = plain_socket.SOL_SOCKET, plain_socket.SO_PEERCRED, 12
    return int.from_bytes(connection.getsockopt(*asked)[4:8], sys.byteorder)


def ask(
    environ: "Mapping[str, str]",
    user: str,
    target: str,
    query: "Mapping[str, object]",
    *,
    timeout_seconds: float,
) -> "tuple[int, Any] | None":
    """Ask the daemon of `user` with a GET; return the HTTP status and the JSON of its answer.

    None where no daemon runs.

    Args:
        environ: says where sockets are.
        user: a name.
        target: the path of a route.
        query: values by name; a list for many of one name, None for none.
        timeout_seconds: how long to wait for the answer; positive.

    Raises:
        DaemonNotAnsweringError: none that makes sense, or it would be another user's.
    """
    for path in client_sockets(environ, user):
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            continue
        connection = plain_socket.socket(plain_socket.AF_UNIX, plain_socket.SOCK_STREAM)
        # A daemon that is stopped takes no connections, and its queue may be full.
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            connection.close()
            continue
        except OSError as error:
            connection.close()
            raise DaemonNotAnsweringError(
                f"the daemon at {path} does not answer: {error.strerror}"
            ) from error
        try:
            if owner(connection, path) != os.geteuid():
                raise DaemonNotAnsweringError(
                    f"{path} is another user's, not yours: it is not trusted",
                    hint="run this as the user whose daemon it is",
                )
            return _answer(connection, f"{target}?{_query(query)}")
        except (OSError, ValueError) as error:
            raise DaemonNotAnsweringError(
                f"the daemon at {path} does not answer: {error}"
            ) from error
        finally:
            connection.close()
    return None


def _answer(connection: "plain_socket.socket", target: str) -> "tuple[int, Any]":
    connection.sendall(
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    parts = []
    while part := connection.recv(_READ_BYTES):
        parts.append(part)
    head, end_of_head, body = b"".join(parts).partition(b"\r\n\r\n")
    protocol, _, status = head.partition(b" ")
    if not end_of_head or not protocol.startswith(b"HTTP/1."):
        raise ValueError("this is no HTTP")
    return int(status[:3]), _from_json(body.decode())


def _query(values: "Mapping[str, object]") -> str:
    pairs = [
        (name, str(value))
        for name, given in values.items()
        if given is not None
        for value in (given if isinstance(given, list) else [given])
    ]
    return "&".join(f"{name}={_escaped(value)}" for name, value in pairs)


def _escaped(text: str) -> str:
    return "".join(
        chr(byte) if byte in _PLAIN_IN_A_QUERY else f"%{byte:02X}" for byte in os.fsencode(text)
    )


def to_json(value: object) -> str:
    """Return a value as JSON, in one line."""
    try:
        from _json import encode_basestring_ascii, make_encoder  # noqa: PLC0415 - see above
    except ImportError:
        from json import dumps  # noqa: PLC0415

        return dumps(value)
    # As `json.JSONEncoder` sets it up.
    encode: Any = make_encoder(
        None, repr, encode_basestring_ascii, None, ": ", ", ", False, False, True
    )
    return "".join(encode(value, 0))


class _Scanner:
    """How `json.JSONDecoder` sets the scanner up, which does all of its work."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _from_json(text: str) -> "Any":
    try:
        from _json import make_scanner  # noqa: PLC0415 - see above
    except ImportError:
        from json import loads  # noqa: PLC0415

        return loads(text)
    scan: Any = make_scanner(_Scanner())  # type: ignore[arg-type]
    try:
        value, end = scan(text, 0)
    except StopIteration:
        raise ValueError("this is no JSON") from None
    if text[end:].strip():
        raise ValueError("this is no JSON")
    return value
