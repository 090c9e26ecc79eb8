"""An STS with the faults of networks, proxies and of STS itself, by role."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.raw_server import serve_connections

SKEW = timedelta(hours=2)

_Answer = tuple[int, dict[str, str], bytes]


def refusal(status: int, code: str, message: str, **headers: str) -> _Answer:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, headers, f"<ErrorResponse>{error}</ErrorResponse>".encode()


_DENIED = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:AssumeRole"
_REFUSALS = {
    "500": refusal(500, "InternalFailure", "It broke"),
    "503": refusal(503, "ServiceUnavailable", "Not now"),
    "throttling": refusal(400, "Throttling", "Rate exceeded", **{"Retry-After": "1"}),
    "expired-token": refusal(403, "ExpiredToken", "The security token is expired"),
    "access-denied": refusal(403, "AccessDenied", _DENIED),
    "region-disabled": refusal(403, "RegionDisabledException", "STS is not activated here"),
    "garbled-xml": (200, {}, b"<AssumeRoleResponse><Assume"),
    "portal": (200, {"Content-Type": "text/html"}, b"<!doctype html><p>Please log in"),
    "empty": (200, {}, b""),
}


class FaultySts:
    """A TCP server in front of the embedded AWS; a context manager.

    Args:
        endpoint_url: the endpoint that answers the requests without a fault.
        port: the port to listen on; 0 for a free one.
        certificate: serve https with this certificate and key.
    """

    def __init__(
        self, endpoint_url: str, *, port: int = 0, certificate: Path | None = None
    ) -> None:
        self._behind = urlsplit(endpoint_url).netloc
        self._listener = socket.create_server(("127.0.0.1", port))
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self.faults: dict[str, str] = {}
        """The fault of each role, by ARN."""
        self._lifted = threading.Event()

    @property
    def port(self) -> int:
        found: int = self._listener.getsockname()[1]
        return found

    def lift(self) -> None:
        """Remove all faults, and release the requests that hang."""
        self.faults.clear()
        self._lifted.set()

    def __enter__(self) -> FaultySts:
        serve_connections(self._listener, self._serve)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lifted.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._answer(connection)
        except OSError:
            return

    def _answer(self, connection: socket.socket) -> None:
        head, body = _read_request(connection)
        fault = self.faults.get(parse_qs(body.decode()).get("RoleArn", [""])[0], "")
        if fault == "hang":
            self._lifted.wait(120)
            return
        if fault == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        status, headers, answer = _REFUSALS.get(fault) or self._forward(head, body)
        if fault == "wrong-clock":
            headers, answer = _later(headers, answer)
        shown = {**headers, "Content-Length": str(len(answer)), "Connection": "close"}
        shown.setdefault("Date", format_datetime(datetime.now(UTC), usegmt=True))
        lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in shown.items())]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.sendall(answer[: len(answer) // 2] if fault == "truncated" else answer)

    def _forward(self, head: str, body: bytes) -> _Answer:
        lines = head.split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        connection = HTTPConnection(self._behind, timeout=10)
        try:
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            return answer.status, {"Date": answer.headers["Date"]}, answer.read()
        finally:
            connection.close()


def _later(headers: dict[str, str], answer: bytes) -> tuple[dict[str, str], bytes]:
    """Return the response of an STS whose clock is ahead of this machine's."""
    date = parsedate_to_datetime(headers["Date"]) + SKEW

    def later(found: re.Match[str]) -> str:
        expiration = datetime.fromisoformat(found[1]) + SKEW
        return f"<Expiration>{expiration.isoformat()}</Expiration>"

    text = re.sub("<Expiration>(.*?)</Expiration>", later, answer.decode())
    return {"Date": format_datetime(date, usegmt=True)}, text.encode()


def _read_request(connection: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
    while len(body) < length:
        body += _some(connection)
    return head.decode(), body


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError
    return data


def certificate(path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Path:
    """Write an untrusted certificate for another host, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere.example.com")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(signed.public_bytes(pem) + private)
    return path
