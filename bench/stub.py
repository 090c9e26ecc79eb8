"""A stub of STS that answers every AssumeRole, in its own process, faster than any client.

`python -m bench.stub [CERTIFICATE]` prints its port. It reads its settings as JSON from standard
input, one line each, and answers each line with the number of connections and the calls since the
last line. With a file of a certificate and its key, it serves https.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from types import TracebackType

from tests.fakes import Quota

_ROLE = re.compile(rb"RoleArn=arn%3Aaws%3Aiam%3A%3A(\d+)%3Arole%2F([\w.-]+)")
_SESSION_NAME = re.compile(rb"RoleSessionName=([\w.-]+)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_IDENTITY = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult>"
    "<Arn>arn:aws:sts::123456789012:assumed-role/role/bench</Arn>"
    "<UserId>AROAEXAMPLE:bench</UserId><Account>123456789012</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)
_SESSION_TOKEN = "x" * 900
_ISSUED = re.compile(r"^aws_access_key_id *= *ASIA(\d{16})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Settings:
    """The behaviour of the stub.

    Args:
        latency: seconds until a call is answered.
        quota: calls a second, with a burst of one second; None for no limit.
        lifetime: seconds of a session, regardless of the request.
        hanging: calls for roles with this prefix are never answered; empty for none.
        is_down: every call is answered with 503.
        closes: each connection is closed after one answer.
    """

    latency: float = 0.0
    quota: float | None = None
    lifetime: int = 3600
    hanging: str = ""
    is_down: bool = False
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call of AssumeRole.

    Args:
        role: the role's name.
        at: when it arrived, in seconds of the epoch.
        is_accepted: whether a session was issued.
    """

    role: str
    at: float
    is_accepted: bool


def issued_at(credentials_file: str) -> list[float]:
    """Return when the sessions in a credentials file were issued, in seconds of the epoch."""
    return [int(digits) / 1e6 for digits in _ISSUED.findall(credentials_file)]


class StubSts:
    """The stub; it runs until the end of the `with`.

    Args:
        certificate: a file with a certificate and its key, for https; None for http.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self._certificate = certificate

    def __enter__(self) -> StubSts:
        arguments = [] if self._certificate is None else [str(self._certificate)]
        self._process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", "bench.stub", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.connections = 0
        scheme = "https" if arguments else "http"
        self.endpoint_url = f"{scheme}://127.0.0.1:{json.loads(self._read())}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def configure(self, settings: Settings) -> None:
        """Change the settings, and forget the calls until now."""
        self._request(asdict(settings))

    def calls(self) -> list[Call]:
        """Return the calls since the last time."""
        return self._request(None)

    def _request(self, request: object) -> list[Call]:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._read())
        self.connections = answer["connections"]
        return [Call(*call) for call in answer["calls"]]

    def _read(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        return self._process.stdout.readline()


class _State:
    def __init__(self) -> None:
        self.settings = Settings()
        self.quota: Quota | None = None
        self.connections = 0
        self.calls: list[tuple[str, float, bool]] = []

    def configure(self, settings: Settings) -> None:
        self.settings = settings
        self.quota = None if settings.quota is None else Quota(settings.quota)


class _Connection(asyncio.Protocol):
    def __init__(self, state: _State) -> None:
        self._state = state
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a TCP server
        self._transport = transport
        self._state.connections += 1

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return
        self._data = b""
        answer = self._answer(body)
        if answer is None:
            return
        if self._state.settings.latency:
            asyncio.get_running_loop().call_later(self._state.settings.latency, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: bytes) -> None:
        if not self._state.settings.closes:
            self._transport.write(answer)
            return
        # Behind the status line.
        self._transport.write(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        self._transport.close()

    def _answer(self, body: bytes) -> bytes | None:
        if b"Action=GetCallerIdentity" in body:
            return _response(200, _IDENTITY)
        role, session_name = _ROLE.search(body), _SESSION_NAME.search(body)
        if role is None or session_name is None:
            return _response(400, _error("InvalidAction", "only AssumeRole and GetCallerIdentity"))
        account, name, session = role[1].decode(), role[2].decode(), session_name[1].decode()
        settings, quota, now = self._state.settings, self._state.quota, time.time()
        is_hanging = bool(settings.hanging) and name.startswith(settings.hanging)
        is_throttled = quota is not None and not quota.accepts(time.monotonic())
        is_accepted = not (is_hanging or is_throttled or settings.is_down)
        self._state.calls.append((name, now, is_accepted))
        if is_hanging:
            return None
        if settings.is_down:
            return _response(503, _error("ServiceUnavailable", "down"))
        if is_throttled:
            return _response(400, _error("Throttling", "Rate exceeded"))
        return _response(200, _session(account, name, session, now, settings.lifetime))


def _session(account: str, role: str, session_name: str, now: float, lifetime: int) -> str:
    # To the second, as STS does. The access key id contains the time for `issued_at`.
    expiration = datetime.fromtimestamp(int(now), UTC) + timedelta(seconds=lifetime)
    return (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        "<AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROAEXAMPLE:bench</AssumedRoleId>"
        f"<Arn>arn:aws:sts::{account}:assumed-role/{role}/{session_name}</Arn></AssumedRoleUser>"
        f"<Credentials><AccessKeyId>ASIA{round(now * 1e6):016}</AccessKeyId>"
        f"<SecretAccessKey>{'x' * 40}</SecretAccessKey>"
        f"<SessionToken>{_SESSION_TOKEN}</SessionToken>"
        f"<Expiration>{expiration:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
        "</AssumeRoleResult></AssumeRoleResponse>"
    )


def _error(code: str, message: str) -> str:
    return (
        f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        "</ErrorResponse>"
    )


def _response(status: int, body: str) -> bytes:
    return (
        f"HTTP/1.1 {status} -\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n\r\n{body}"
    ).encode()


async def _serve(certificate: str | None) -> None:
    state = _State()
    loop = asyncio.get_running_loop()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = await loop.create_server(
        lambda: _Connection(state), "127.0.0.1", 0, backlog=1024, ssl=context
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        request = json.loads(line)
        if request is not None:
            state.configure(Settings(**request))
        calls, state.calls = state.calls, []
        answer = {"connections": state.connections, "calls": [] if request else calls}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until standard input ends."""
    asyncio.run(_serve(arguments[0] if arguments else None))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
