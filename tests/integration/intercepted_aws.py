"""AWS behind an HTTPS proxy: every host answers, and each call is recorded with its host.

So the real clients call the real hosts (`sts-fips.us-east-1.amazonaws.com`), and no name is
resolved. Sessions have the limits that AWS documents: one of a role, or of an MFA code, assumes
the next role for an hour at most.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Lock, Thread
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from assumed.arn import Arn

_HOUR = 3600
_KEYS = (
    "<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
    "<SessionToken>t</SessionToken>"
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call to AWS.

    Args:
        host: that it was sent to.
        action: such as `AssumeRole`.
        region: that the request is signed for; empty for an unsigned one.
        signer: the access key ID; empty for an unsigned request.
        parameters: of the request.
        user_agent: of the client.
    """

    host: str
    action: str
    region: str
    signer: str
    parameters: Mapping[str, str]
    user_agent: str


@dataclass
class InterceptedAws:
    """The state of AWS: who has which access key."""

    calls: list[Call] = field(default_factory=list)
    identities: dict[str, str] = field(default_factory=dict)
    """The ARN of each temporary access key ID."""

    def answer(self, call: Call) -> tuple[int, str]:
        """Return the status and the body of the response."""
        self.calls.append(call)
        caller = self.identity_of(call.signer)
        match call.action:
            case "GetCallerIdentity":
                found = f"<Arn>{caller}</Arn><UserId>u</UserId><Account>1</Account>"
                return 200, _response(call.action, found)
            case "GetSessionToken":
                return 200, _response(call.action, self._issue(call, caller, 43200))
            case "AssumeRole" | "AssumeRoleWithWebIdentity":
                return self._assume(call)
            case "GetRoleCredentials":
                name = call.parameters["role_name"]
                arn = f"arn:aws:sts::{call.parameters['account_id']}:assumed-role/SSO_{name}/me"
                key = self._key(call, arn)
                end = datetime.now(UTC) + timedelta(hours=1)
                keys = {"accessKeyId": key, "secretAccessKey": "s", "sessionToken": "t"}
                expiration = int(end.timestamp() * 1000)
                return 200, json.dumps({"roleCredentials": {**keys, "expiration": expiration}})
        return 404, ""

    def identity_of(self, access_key_id: str) -> str:
        """Return the ARN of an access key ID; that of a user if no call has issued it."""
        return self.identities.get(access_key_id, f"arn:aws:iam::000000000000:user/{access_key_id}")

    def _assume(self, call: Call) -> tuple[int, str]:
        seconds = int(call.parameters.get("DurationSeconds", _HOUR))
        if call.signer in self.identities and seconds > _HOUR:
            text = (
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed "
                "by role chaining"
            )
            return 400, (
                "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>"
                f"<Message>{text}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
            )
        role = Arn.parse(call.parameters["RoleArn"])
        arn = str(role.session(call.parameters["RoleSessionName"]))
        user = (
            f"<AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>A:b</AssumedRoleId></AssumedRoleUser>"
        )
        return 200, _response(call.action, user + self._issue(call, arn, seconds))

    def _issue(self, call: Call, arn: str, seconds: int) -> str:
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        expiration = f"<Expiration>{end:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
        return f"<Credentials>{_KEYS.format(key=self._key(call, arn))}{expiration}</Credentials>"

    def _key(self, call: Call, arn: str) -> str:
        key = f"ASIA{hashlib.sha256(repr((call, arn)).encode()).hexdigest()[:16].upper()}"
        self.identities[key] = arn
        return key


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, aws: InterceptedAws, authority: CertificateAuthority) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.aws, self.authority = aws, authority

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a client may refuse the certificate."""


class _Handler(StreamRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        host = self.rfile.readline().split()[1].decode().rpartition(":")[0]
        while self.rfile.readline().strip():
            continue
        self.wfile.write(b"HTTP/1.1 200 -\r\n\r\n")
        context = self.server.authority.context(host)
        with suppress(OSError), context.wrap_socket(self.connection, server_side=True) as tls:
            reader = tls.makefile("rb")
            while (line := reader.readline()).strip():
                headers: dict[str, str] = {}
                while (each := reader.readline().decode("latin-1").strip()) != "":
                    name, _, value = each.partition(":")
                    headers[name.lower()] = value.strip()
                body = reader.read(int(headers.get("content-length", "0"))).decode()
                call = _call(host, line.split()[1].decode(), headers, body)
                status, text = self.server.aws.answer(call)
                kind = "application/json" if text.startswith("{") else "text/xml"
                date = format_datetime(datetime.now(UTC), usegmt=True)
                head = f"HTTP/1.1 {status} -\r\nDate: {date}\r\nContent-Type: {kind}\r\n"
                tls.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode())


class CertificateAuthority:
    """Certificates for every host, signed by one CA.

    Args:
        directory: for the files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name.from_rfc4514_string("CN=a test CA")
        self.bundle = directory / "ca.pem"
        certificate = self._certificate(self._name, None)
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """Return a context for a server with this name."""
        with self._lock:
            if host not in self._contexts:
                certificate = self._certificate(x509.Name.from_rfc4514_string("CN=aws"), host)
                file = self._directory / f"{len(self._contexts)}.pem"
                file.write_bytes(
                    certificate.public_bytes(serialization.Encoding.PEM)
                    + self._key.private_bytes(
                        serialization.Encoding.PEM,
                        serialization.PrivateFormat.PKCS8,
                        serialization.NoEncryption(),
                    )
                )
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(file)
                self._contexts[host] = context
            return self._contexts[host]

    def _certificate(self, subject: x509.Name, host: str | None) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


@contextmanager
def intercepted_aws(directory: Path) -> Iterator[tuple[InterceptedAws, Mapping[str, str]]]:
    """Run it; yield it with the environment variables that lead to it."""
    aws, authority = InterceptedAws(), CertificateAuthority(directory)
    with _Proxy(aws, authority) as proxy:
        thread = Thread(target=proxy.serve_forever, args=[0.01])
        thread.start()
        try:
            yield (
                aws,
                {
                    "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}",
                    "NO_PROXY": "127.0.0.1,169.254.169.254",
                    # Not AWS_CA_BUNDLE, which would come before the setting of a profile.
                    "REQUESTS_CA_BUNDLE": str(authority.bundle),
                },
            )
        finally:
            proxy.shutdown()
            thread.join()


def _call(host: str, target: str, headers: Mapping[str, str], body: str) -> Call:
    url = urlsplit(target)
    if url.path == "/federation/credentials":
        action, parameters = "GetRoleCredentials", dict(parse_qsl(url.query))
    else:
        parameters = dict(parse_qsl(body))
        action = parameters.pop("Action", "")
    credential = headers.get("authorization", "").partition("Credential=")[2].split("/")
    signer, region = (credential[0], credential[2]) if len(credential) > 1 else ("", "")
    return Call(host, action, region, signer, parameters, headers.get("user-agent", ""))


def _response(action: str, content: str) -> str:
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<{action}Result>{content}</{action}Result>"
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    )
