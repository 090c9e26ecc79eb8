from __future__ import annotations

import logging
import socket
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.loaders import create_loader
from botocore.session import Session as BotocoreSession

from assumed.clock import SystemClock
from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    ClockSkewedError,
    SourceRejectedError,
    StsRequestRejectedError,
    StsThrottledError,
    StsUnavailableError,
)
from assumed.models import MfaSession, ProfileDefinition, SourceCredentials, SourceProfile
from assumed.sts.client import AssumedRole, StsClient
from tests.aws_environment import ignore_aws_files
from tests.fakes import LONG_TERM, NOON, role

LOADER = create_loader()
DEPLOY = role("deploy")
DATE = "Tue, 24 Nov 2026 12:00:00 GMT"
SECRET = "an-issued-secret-access-key"
TOKEN = "an-issued-session-token"


def response(
    *,
    access_key_id: str = "ASIAISSUED",
    secret_access_key: str = SECRET,
    session_token: str = TOKEN,
    expiration: str = "2026-11-24T13:00:00Z",
    arn: str = "arn:aws:sts::111122223333:assumed-role/deploy/assumed-me@here",
) -> bytes:
    return f"""\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
  <AssumedRoleUser><AssumedRoleId>AROA:me</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>
  <Credentials><AccessKeyId>{access_key_id}</AccessKeyId>
    <SecretAccessKey>{secret_access_key}</SecretAccessKey>
    <SessionToken>{session_token}</SessionToken><Expiration>{expiration}</Expiration>
  </Credentials></AssumeRoleResult>
  <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>
""".encode()


def error_response(code: str, message: str) -> bytes:
    return f"""\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>
""".encode()


@dataclass
class StsStub:
    """Responds to each request as the test has set, and records the request."""

    url: str = ""
    status: int = 200
    body: bytes = field(default_factory=response)
    date: str | None = DATE
    is_cut_off: bool = False
    closes: int = 0
    """How many requests are answered by closing the connection."""
    first: list[tuple[int, bytes]] = field(default_factory=list)
    """Statuses and bodies of the first responses."""
    requests: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0


class StsServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, endpoint: StsStub) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.endpoint = endpoint
        super().__init__((host, 0), StsHandler)
        shown = f"[{host}]" if ":" in host else host
        endpoint.url = f"http://{shown}:{self.server_port}"


class StsHandler(BaseHTTPRequestHandler):
    server: StsServer

    def setup(self) -> None:
        super().setup()
        self.server.endpoint.connections += 1

    def do_POST(self) -> None:
        endpoint = self.server.endpoint
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        endpoint.requests.append({key: value for key, [value] in parse_qs(form).items()})
        endpoint.headers.append(dict(self.headers))
        if endpoint.closes:
            endpoint.closes -= 1
            self.close_connection = True
            return
        status, body = endpoint.first.pop(0) if endpoint.first else (endpoint.status, endpoint.body)
        self.send_response_only(status)
        if endpoint.date is not None:
            self.send_header("Date", endpoint.date)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2 if endpoint.is_cut_off else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore_aws_files(monkeypatch)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[StsStub]:
    with serving("127.0.0.1") as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", served.url)
        yield served


class serving:  # noqa: N801 - reads as a verb
    """Serve an STS stub at a loopback address during a `with` block."""

    def __init__(self, host: str) -> None:
        self._endpoint = StsStub()
        self._server = StsServer(host, self._endpoint)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> StsStub:
        self._thread.start()
        return self._endpoint

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def new_session(profile: str | None = None) -> BotocoreSession:
    session = BotocoreSession(profile=profile)
    session.register_component("data_loader", LOADER)
    return session


def call(
    definition: ProfileDefinition = DEPLOY, caller: SourceCredentials = LONG_TERM
) -> AssumedRole:
    return StsClient(SystemClock()).assume_role(definition, caller, new_session())


def failure(kind: type[AssumedError]) -> AssumedError:
    """Return the error of a call; its traceback has no secret."""
    with pytest.raises(kind) as raised:
        call()
    text = "".join(traceback.format_exception(raised.value)) + raised.value.hint
    assert SECRET not in text
    assert TOKEN not in text
    assert LONG_TERM.secret_access_key not in text
    return raised.value


def test_a_request_is_repeated_once_if_the_server_has_closed_the_connection(
    endpoint: StsStub,
) -> None:
    endpoint.closes = 1
    assert call().credentials.access_key_id == "ASIAISSUED"
    assert len(endpoint.requests) == 2
    endpoint.closes = 5
    assert failure(StsUnavailableError).code == "ConnectionClosedError"
    assert len(endpoint.requests) == 4


def test_a_request_with_an_mfa_code_is_not_repeated(endpoint: StsStub) -> None:
    endpoint.closes = 1
    source = MfaSession(SourceProfile("keys"), "arn:aws:iam::111122223333:mfa/me")
    with pytest.raises(StsUnavailableError):
        StsClient(SystemClock()).get_session_token(source, "123456", LONG_TERM, new_session())
    assert len(endpoint.requests) == 1


def test_assume_role_returns_the_whole_response(endpoint: StsStub) -> None:
    assumed = call()
    assert assumed.answered_at == NOON
    assert assumed.credentials.access_key_id == "ASIAISSUED"
    assert assumed.credentials.secret_access_key == SECRET
    assert assumed.credentials.session_token == TOKEN
    assert assumed.credentials.expiration == NOON.replace(hour=13)
    assert assumed.credentials.account_id == "111122223333"


def test_assume_role_sends_every_parameter(endpoint: StsStub) -> None:
    call(
        role(
            "deploy",
            duration_seconds=900,
            external_id="abc",
            policy='{"Version":"2012-10-17"}',
            policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess",),
            tags={"team": "build", "stage": "test"},
            transitive_tag_keys=("team", "stage"),
            source_identity="jane",
        )
    )
    assert endpoint.requests == [
        {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": DEPLOY.role_arn,
            "RoleSessionName": "assumed-me@here",
            "DurationSeconds": "900",
            "ExternalId": "abc",
            "Policy": '{"Version":"2012-10-17"}',
            "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
            "Tags.member.1.Key": "team",
            "Tags.member.1.Value": "build",
            "Tags.member.2.Key": "stage",
            "Tags.member.2.Value": "test",
            "TransitiveTagKeys.member.1": "team",
            "TransitiveTagKeys.member.2": "stage",
            "SourceIdentity": "jane",
        }
    ]


def test_a_request_is_signed_with_the_source_credentials_for_the_region(
    endpoint: StsStub,
) -> None:
    call(role("deploy", region="eu-central-1"), SourceCredentials("AKIAME", "secret", "my-token"))
    [headers] = endpoint.headers
    assert "Credential=AKIAME/" in headers["Authorization"]
    assert "/eu-central-1/sts/" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "my-token"
    assert "assumed/" in headers["User-Agent"]


def test_keys_of_the_environment_sign_no_request(
    endpoint: StsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-this-one")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "nor-this")
    call()
    [headers] = endpoint.headers
    assert "Credential=AKIAEXAMPLE/" in headers["Authorization"]
    assert "X-Amz-Security-Token" not in headers


def test_the_lifetime_is_computed_with_the_date_of_the_response(
    endpoint: StsStub,
) -> None:
    endpoint.date = "Tue, 01 Feb 2028 00:00:00 GMT"
    endpoint.body = response(expiration="2028-02-01T00:15:00Z")
    assumed = call()
    assert (assumed.credentials.expiration - assumed.answered_at).total_seconds() == 900


@pytest.mark.parametrize(
    "date", ["Tue Nov 24 12:00:00 2026", "24 Nov 2026 12:00:00 -0000", "24 Nov 2026 12:00:00 GMT"]
)
def test_a_date_without_a_zone_is_utc(
    endpoint: StsStub, date: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.date = date
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert call().answered_at == NOON
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("date", [None, "", "yesterday", "Tue, 24 Nov 99999 12:00:00 GMT"])
def test_a_response_without_a_date_is_malformed(endpoint: StsStub, date: str | None) -> None:
    endpoint.date = date
    assert failure(StsUnavailableError).code == "BadAnswer"


MALFORMED_RESPONSES = {
    "nothing at all": b"",
    "a portal's page": b"<!doctype html><p>Welcome<br>Please log in",
    "a portal's page that is XML": b"<html><body><p>Please log in</p></body></html>",
    "JSON": b'{"Credentials": {}}',
    "noise": b"\xff\xfe\x00\x01",
    "a cut-off response": response()[:-60],
    "an empty document": b"<AssumeRoleResponse/>",
    "an empty result": b"<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>",
    "no credentials": response().replace(b"Credentials>", b"Nothing>"),
    "no expiration": response().replace(b"Expiration>", b"Nothing>"),
    "no role": response().replace(b"AssumedRoleUser>", b"Nothing>"),
    "credentials twice": response().replace(b"<Credentials>", b"<Credentials/><Credentials>"),
    "a key twice": response().replace(
        b"<AccessKeyId>", b"<AccessKeyId>A</AccessKeyId><AccessKeyId>"
    ),
    "an empty key": response(access_key_id=""),
    "an empty secret": response(secret_access_key=""),
    "an empty token": response(session_token=""),
    "a token of two lines": response(session_token="a\nb"),
    "a token with spaces around it": response(session_token=" a "),
    "a key that holds an element": response(access_key_id="<b>A</b>"),
    "no ARN": response(arn=""),
    "an ARN that is none": response(arn="deploy"),
    "an empty expiration": response(expiration=""),
    "an expiration in words": response(expiration="soon"),
    "an expiration beyond all calendars": response(expiration="99999999999999999999"),
    "an expiration before all calendars": response(expiration="0001-01-01T00:00:00+14:00"),
    "an expiration in the past": response(expiration="2026-11-24T11:59:59Z"),
    "an expiration that is now": response(expiration="2026-11-24T12:00:00Z"),
}


@pytest.mark.parametrize("body", MALFORMED_RESPONSES.values(), ids=MALFORMED_RESPONSES.keys())
def test_a_malformed_response_is_sts_unavailable(endpoint: StsStub, body: bytes) -> None:
    endpoint.body = body
    error = failure(StsUnavailableError)
    assert error.code == "BadAnswer"
    assert "portal" in error.hint


@pytest.mark.parametrize("status", [204, 302, 403, 404, 500, 502, 503])
@pytest.mark.parametrize("body", [b"", b"<html><p>broken", b"<html/>"])
def test_an_http_status_without_an_sts_error_is_sts_unavailable(
    endpoint: StsStub, status: int, body: bytes
) -> None:
    endpoint.status, endpoint.body = status, body if status != 204 else b""
    failure(StsUnavailableError)


def test_a_truncated_response_is_sts_unavailable(
    endpoint: StsStub,
) -> None:
    endpoint.is_cut_off = True
    failure(StsUnavailableError)


def test_a_refused_connection_is_sts_unavailable(
    endpoint: StsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("127.0.0.1") as gone:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", gone.url)
    error = failure(StsUnavailableError)
    assert error.code == "EndpointConnectionError"
    assert gone.url in error.message


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", AssumeRoleDeniedError),
        (403, "InvalidClientTokenId", SourceRejectedError),
        (400, "Throttling", StsThrottledError),
        (400, "ValidationError", StsRequestRejectedError),
        (503, "ServiceUnavailable", StsUnavailableError),
    ],
)
def test_an_error_response_is_not_retried(
    endpoint: StsStub, status: int, code: str, kind: type[AssumedError]
) -> None:
    principal = "arn:aws:iam::111122223333:user/ci"
    endpoint.status = status
    text = f"User: {principal} is not authorized to perform: sts:AssumeRole"
    endpoint.body = error_response(code, text)
    error = failure(kind)
    assert error.code == code
    assert principal in error.message
    assert len(endpoint.requests) == 1
    if kind is AssumeRoleDeniedError:
        assert principal in error.hint


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", AssumeRoleDeniedError),
        (403, "InvalidClientTokenId", SourceRejectedError),
        (503, "SlowDown", StsThrottledError),
    ],
)
def test_an_error_of_ceph_rgw_is_understood(
    endpoint: StsStub, status: int, code: str, kind: type[AssumedError]
) -> None:
    endpoint.status = status
    endpoint.body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message></Message>'
        "<RequestId>tx000-1-default</RequestId><HostId>1-default-default</HostId></Error>"
    ).encode()
    error = failure(kind)
    assert "no reason given" in error.message
    assert error.code in {code, "Throttling"}


MINIO = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type></Type>'
    b"<Code>%s</Code><Message>%s</Message></Error><RequestId>17B</RequestId></ErrorResponse>"
)
MINIO_S3 = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>%s</Message>'
    b"<Resource>/</Resource><RequestId>17B</RequestId><HostId>dd9</HostId></Error>"
)
OTHER_FORMS = {
    "MinIO denies": (403, MINIO % (b"AccessDenied", b"Denied."), "AccessDenied", "Denied."),
    "MinIO without such a key": (
        403, MINIO_S3 % (b"InvalidAccessKeyId", b"No such key."), "InvalidAccessKeyId",
        "No such key.",
    ),
    "MinIO starts": (
        503, MINIO % (b"STSNotInitialized", b"Please try again."), "STSNotInitialized",
        "Please try again.",
    ),
    "an S3 server without STS": (
        405, MINIO_S3 % (b"MethodNotAllowed", b"Not allowed."), "MethodNotAllowed", "Not allowed.",
    ),
    "a code of EC2": (
        403,
        b"<Response><Errors><Error><Code>AuthFailure</Code><Message>not validated</Message></Error>"
        b"</Errors><RequestID>1</RequestID></Response>",
        "AuthFailure", "not validated",
    ),
    "JSON of STS": (
        403, b'{"Error":{"Code":"AccessDenied","Message":"no","Type":"Sender"},"RequestId":"1"}',
        "AccessDenied", "no",
    ),
    "JSON with a type": (
        400, b'{"__type":"com.amazonaws.sts#ExpiredTokenException","message":"old"}',
        "ExpiredTokenException", "old",
    ),
    "JSON with a code": (
        403, b'{"code":"AccessDenied","message":"a\\u0000<b>"}', "AccessDenied", "<b>",
    ),
    "JSON of a gateway": (
        403, b'{"message":"Forbidden"}', "403",
        "HTTP status 403 Forbidden, with a body that is no error of STS",
    ),
    "JSON of another shape": (403, b'["AccessDenied"]', "403", "HTTP status 403 Forbidden"),
    "HTML that is no XML": (403, b"<html><body>Blocked<br></body></html>", "403", "403 Forbidden"),
    "HTML that is XML": (403, b"<html><body>Blocked</body></html>", "403", "403 Forbidden"),
    "plain text": (404, b"404 page not found", "404", "HTTP status 404 Not Found"),
    "an empty body": (403, b"", "403", "HTTP status 403 Forbidden, with an empty body"),
    "a proxy with a login": (407, b"", "407", "407 Proxy Authentication Required"),
    "a gateway without a server": (
        502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "502", "502 Bad Gateway",
    ),
    "another S3 server without STS": (
        501, MINIO_S3 % (b"NotImplemented", b"No."), "NotImplemented", "No.",
    ),
    "a status without a name": (599, b"", "599", "HTTP status 599, with an empty body"),
}  # fmt: skip
HINTS_OF_OTHER_FORMS = {
    "AccessDenied": "must be allowed twice",
    "InvalidAccessKeyId": "renew the credentials of profile keys",
    "AuthFailure": "renew the credentials of profile keys",
    "ExpiredTokenException": "renew the credentials of profile keys",
    "STSNotInitialized": "temporary failure",
    "MethodNotAllowed": "this server does not implement AssumeRole: check endpoint_url",
    "NotImplemented": "this server does not implement AssumeRole: check endpoint_url",
    "404": "this server does not implement AssumeRole: check endpoint_url",
    "407": "the proxy requires a user name and a password",
    "403": "check for a proxy, a VPN or a captive portal",
    "502": "check for a proxy, a VPN or a captive portal",
    "599": "check for a proxy, a VPN or a captive portal",
}


@pytest.mark.parametrize("case", OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_an_error_in_another_form_is_understood(
    endpoint: StsStub, case: tuple[int, bytes, str, str]
) -> None:
    endpoint.status, endpoint.body, code, message = case
    error = failure(AssumedError)
    assert error.code == code
    assert message in error.message
    assert HINTS_OF_OTHER_FORMS[code] in error.hint
    assert len(endpoint.requests) == 1


def test_two_codes_in_one_error_response_are_malformed(endpoint: StsStub) -> None:
    endpoint.status = 400
    endpoint.body = error_response("A</Code><Code>B", "odd")
    failure(StsUnavailableError)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1"])
def test_plain_http_is_accepted_on_loopback(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(host) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint.url)
        assert call().answered_at == NOON


def test_plain_http_is_accepted_for_localhost(
    endpoint: StsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint.url.replace("127.0.0.1", "localhost"))
    assert call().answered_at == NOON


@pytest.mark.parametrize(
    "url",
    [
        "http://sts.amazonaws.com",
        "http://10.0.0.1",
        "http://0.0.0.0:8080",
        "http://[2001:db8::1]",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://localhost@10.0.0.1",
        "ftp://127.0.0.1.example.com",
    ],
)
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"])
def test_plain_http_is_rejected_for_any_other_host(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    error = failure(StsRequestRejectedError)
    assert error.code == "PlainHttp"
    assert variable in error.hint


def test_plain_http_is_rejected_in_a_source_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile keys]\nendpoint_url = http://10.0.0.1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(StsRequestRejectedError) as raised:
        StsClient(SystemClock()).assume_role(DEPLOY, LONG_TERM, new_session("keys"))
    assert raised.value.code == "PlainHttp"


@pytest.mark.parametrize("url", ["sts.example.com", "https://", "http://[::1"])
def test_an_endpoint_that_is_not_a_url_is_rejected(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
    error = failure(StsRequestRejectedError)
    assert error.code == "BadEndpoint"
    assert "AWS_ENDPOINT_URL_STS" in error.hint


def test_an_endpoint_on_loopback_bypasses_all_proxies(
    endpoint: StsStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("127.0.0.1") as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert call().answered_at == NOON
    assert proxy.connections == 0
    assert len(endpoint.requests) == 1


def test_https_uses_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("127.0.0.1") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        failure(StsUnavailableError)
    assert proxy.connections == 1


def test_no_error_contains_the_password_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("127.0.0.1") as gone:
        proxy = gone.url.replace("http://", "http://me:proxy-password@")
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = failure(StsUnavailableError)
    assert error.code == "ProxyConnectionError"
    assert "proxy-password" not in "".join(traceback.format_exception(error)) + error.hint


def test_a_missing_ca_bundle_is_sts_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "https://127.0.0.1:1")
    failure(StsUnavailableError)


def test_many_threads_share_one_client(endpoint: StsStub) -> None:
    sts, session = StsClient(SystemClock(), connections=8), new_session()
    created = []
    create_client = session.create_client

    def counted(*args: Any, **options: Any) -> Any:
        created.append(args)
        return create_client(*args, **options)

    session.create_client = counted  # type: ignore[method-assign]
    answers: list[AssumedRole] = []
    threads = [
        Thread(
            target=lambda name=f"p{number}": answers.append(
                sts.assume_role(role(name), LONG_TERM, session)
            )
        )
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    # Two, because a client for a loopback endpoint is created again without proxies.
    assert len(created) == 2
    assert {request["RoleArn"].rsplit("/", 1)[-1] for request in endpoint.requests} == {
        f"p{number}" for number in range(8)
    }


class TestClockSkew:
    EXPIRED = error_response("SignatureDoesNotMatch", "Signature expired: it is now earlier than …")

    def set_sts_ahead(self, endpoint: StsStub, hours: int) -> datetime:
        there = datetime.now(UTC) + timedelta(hours=hours)
        endpoint.date = format_datetime(there, usegmt=True)
        endpoint.body = response(expiration=f"{there + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}")
        return there

    def signed_at(self, endpoint: StsStub) -> datetime:
        shown = endpoint.headers[-1]["X-Amz-Date"]
        return datetime.strptime(shown, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    def test_requests_are_signed_with_the_time_of_sts_and_the_skew_is_logged_once(
        self, endpoint: StsStub, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "assumed")
        sts, session = StsClient(SystemClock()), new_session()
        there = self.set_sts_ahead(endpoint, hours=2)
        endpoint.first = [(403, self.EXPIRED)]
        assumed = sts.assume_role(DEPLOY, LONG_TERM, session)
        assert len(endpoint.requests) == 2
        assert abs(self.signed_at(endpoint) - there) < timedelta(minutes=1)
        assert assumed.credentials.expiration - assumed.answered_at == timedelta(hours=1)
        (ahead,) = sts.clock_ahead.values()
        assert abs(ahead - timedelta(hours=2)) < timedelta(minutes=1)
        sts.assume_role(DEPLOY, LONG_TERM, session)
        assert len(endpoint.requests) == 3
        assert abs(self.signed_at(endpoint) - there) < timedelta(minutes=1)
        logged = [record.getMessage() for record in caplog.records]
        assert logged == ["clock_skew_detected"]

    def test_a_corrected_clock_is_used_again(
        self, endpoint: StsStub, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "assumed")
        sts, session = StsClient(SystemClock()), new_session()
        self.set_sts_ahead(endpoint, hours=-2)
        sts.assume_role(DEPLOY, LONG_TERM, session)
        here = self.set_sts_ahead(endpoint, hours=0)
        endpoint.first = [(403, self.EXPIRED)]
        sts.assume_role(DEPLOY, LONG_TERM, session)
        assert abs(self.signed_at(endpoint) - here) < timedelta(minutes=1)
        assert list(sts.clock_ahead.values()) == [timedelta(0)]
        logged = [record.getMessage() for record in caplog.records]
        assert logged == ["clock_skew_detected", "clock_skew_resolved"]

    def test_another_endpoint_is_signed_for_with_its_own_time(
        self, endpoint: StsStub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sts = StsClient(SystemClock())
        self.set_sts_ahead(endpoint, hours=-2)
        sts.assume_role(DEPLOY, LONG_TERM, new_session())
        with serving("127.0.0.1") as there:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", there.url)
            here = self.set_sts_ahead(there, hours=0)
            sts.assume_role(DEPLOY, LONG_TERM, new_session())
        assert abs(self.signed_at(there) - here) < timedelta(minutes=1)
        assert sts.clock_ahead[there.url] == timedelta(0)
        assert round(sts.clock_ahead[endpoint.url] / timedelta(hours=1)) == -2

    def test_a_skew_error_without_a_new_skew_is_not_retried(self, endpoint: StsStub) -> None:
        self.set_sts_ahead(endpoint, hours=0)
        endpoint.status, endpoint.body = 403, self.EXPIRED
        assert failure(ClockSkewedError).code == "ClockSkewed"
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "limit",
    [
        "MaxSessionDuration set for this role.",
        "1 hour session limit for roles assumed by role chaining.",
    ],
)
def test_a_duration_that_is_too_long_is_shortened_to_an_hour_with_one_warning(
    endpoint: StsStub, caplog: pytest.LogCaptureFixture, limit: str
) -> None:
    too_long = error_response(
        "ValidationError", f"The requested DurationSeconds exceeds the {limit}"
    )
    sts, session = StsClient(SystemClock()), new_session()
    long = role("deploy", duration_seconds=7200)
    endpoint.first = [(400, too_long)]
    for _ in range(2):
        sts.assume_role(long, LONG_TERM, session)
    durations = [request["DurationSeconds"] for request in endpoint.requests]
    assert durations == ["7200", "3600", "3600"]
    logged = [record.getMessage() for record in caplog.records]
    assert logged.count("duration_shortened") == 1
