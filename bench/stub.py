"""An STS that answers every AssumeRole, in a process of its own and far faster than any client.

`python -m bench.stub [CERTIFICATE]` prints its port, takes its settings as JSON from standard
input, a line each, and answers each line with one: how many connections there were, and the calls
since the last line. With a file of a certificate and its key, it speaks https.
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
_SESSION_TOKEN = "x" * 900
_ISSUED = re.compile(r"^aws_access_key_id *= *ASIA(\d{16})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the stub behaves.

    Args:
        latency: seconds until a call is answered.
        quota: calls a second; None for any number. A burst as long as a second passes.
        lifetime: seconds of a session, whatever was asked for.
        hanging: roles whose names begin so are never answered; none where it is empty.
        is_down: everything is refused with 503.
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
    """One AssumeRole.

    Args:
        role: the role's name.
        at: when it came, in seconds of the epoch.
        is_taken: whether a session was given.
    """

    role: str
    at: float
    is_taken: bool


def issued_at(credentials_file: str) -> list[float]:
    """Return when the sessions in a credentials file were issued, in seconds of the epoch."""
    return [int(digits) / 1e6 for digits in _ISSUED.findall(credentials_file)]


class StubSts:
    """The stub, for as long as the `with` lasts.

    Args:
        certificate: with its key, for https.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self._certificate = certificate

    def __enter__(self) -> StubSts:
        arguments = [] if self._certificate is None else [str(self._certificate)]
        self._process = subprocess.Popen(  # noqa: S603 - this very program
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

    def behave(self, settings: Settings) -> None:
        """Take over settings, and forget the calls until now."""
        self._ask(asdict(settings))

    def calls(self) -> list[Call]:
        """Return the calls since this was asked last."""
        return self._ask(None)

    def _ask(self, asked: object) -> list[Call]:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps(asked) + "\n")
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

    def settle(self, settings: Settings) -> None:
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
        role, session_name = _ROLE.search(body), _SESSION_NAME.search(body)
        if role is None or session_name is None:
            return _response(400, _error("InvalidAction", "only AssumeRole"))
        account, name, session = role[1].decode(), role[2].decode(), session_name[1].decode()
        settings, quota, now = self._state.settings, self._state.quota, time.time()
        is_hanging = bool(settings.hanging) and name.startswith(settings.hanging)
        is_refused = quota is not None and not quota.takes(time.monotonic())
        is_taken = not (is_hanging or is_refused or settings.is_down)
        self._state.calls.append((name, now, is_taken))
        if is_hanging:
            return None
        if settings.is_down:
            return _response(503, _error("ServiceUnavailable", "down"))
        if is_refused:
            return _response(400, _error("Throttling", "Rate exceeded"))
        return _response(200, _session(account, name, session, now, settings.lifetime))


def _session(account: str, role: str, session_name: str, now: float, lifetime: int) -> str:
    # As STS does it, to the second; what the access key id has in it is for `issued_at`.
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
        asked = json.loads(line)
        if asked is not None:
            state.settle(Settings(**asked))
        calls, state.calls = state.calls, []
        answer = {"connections": state.connections, "calls": [] if asked else calls}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main(arguments: Sequence[str] = ()) -> int:
    """Serve until standard input ends."""
    asyncio.run(_serve(arguments[0] if arguments else None))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
