"""Direct calls beside botocore's client: the same requests, results and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore import UNSIGNED, exceptions
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.session import Session
from botocore.utils import parse_timestamp
from freezegun import freeze_time

from assumed.clock import SystemClock
from assumed.sts.clock_skew import ClockSkewTracker
from assumed.sts.direct_calls import DirectClient, parse_expiration
from assumed.sts.error_bodies import unify_error_body
from assumed.sts.errors import translate_error
from tests.aws_environment import ignore_aws_files
from tests.fakes import NOON, role

LOADER = create_loader()
DATE = "Tue, 24 Nov 2026 12:00:00 GMT"
CREDENTIALS = """<Credentials>
<AccessKeyId>ASIAISSUED</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-11-24T13:00:00Z</Expiration></Credentials>"""
ROLE = {
    "RoleArn": "arn:aws:iam::111122223333:role/deploy",
    "RoleSessionName": "assumed-me@here",
    "DurationSeconds": 3600,
}
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "AssumeRole": {
        **ROLE,
        "ExternalId": "a b/ü+&=",
        "Policy": '{"Statement": []}',
        "PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}],
        "Tags": [{"Key": "Team", "Value": "é"}, {"Key": "Cost", "Value": ""}],
        "TransitiveTagKeys": ["Team"],
        "SourceIdentity": "me",
    },
    "AssumeRoleWithWebIdentity": {**ROLE, "WebIdentityToken": "head.body.tail"},
    "GetSessionToken": {
        "DurationSeconds": 43200,
        "SerialNumber": "arn:aws:iam::111122223333:mfa/me",
        "TokenCode": "123456",
    },
    "GetCallerIdentity": {},
}
METHODS: Mapping[str, Callable[..., Callable[..., Mapping[str, Any]]]] = {
    "AssumeRole": lambda client: client.assume_role,
    "AssumeRoleWithWebIdentity": lambda client: client.assume_role_with_web_identity,
    "GetSessionToken": lambda client: client.get_session_token,
    "GetCallerIdentity": lambda client: client.get_caller_identity,
}
REGIONS = [
    "us-east-1", "eu-central-1", "aws-global", "cn-north-1", "us-gov-west-1", "us-iso-east-1",
    "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1",
]  # fmt: skip
SETTINGS: Mapping[str, Config] = {
    "default": Config(),
    "FIPS": Config(use_fips_endpoint=True),
    "dual stack": Config(use_dualstack_endpoint=True),
    "FIPS and dual stack": Config(use_fips_endpoint=True, use_dualstack_endpoint=True),
    "proxy": Config(proxies={"https": "http://127.0.0.1:3128"}),
    "proxy with a password": Config(proxies={"https": "http://me:secret@127.0.0.1:3128"}),
    "user agent": Config(user_agent_extra="assumed/1"),
}


def answer(operation: str) -> bytes:
    return (
        f'<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<{operation}Result>{CREDENTIALS}<Arn>arn:aws:iam::111122223333:user/me</Arn>"
        "<AssumedRoleUser><AssumedRoleId>AROA:me</AssumedRoleId><Arn>arn:x</Arn></AssumedRoleUser>"
        f"</{operation}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    ).encode()


class Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


class Network:
    """Records the requests of a client, and answers them."""

    def __init__(self, client: Any) -> None:
        self.requests: list[Any] = []
        self.status, self.body = 200, b""
        self.error: Exception | None = None
        client._endpoint.http_session.send = self.send

    def send(self, request: Any) -> AWSResponse:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return AWSResponse(
            request.url, self.status, HTTPHeaders.from_dict({"date": DATE}), Raw(self.body)
        )

    def sent(self, number: int) -> tuple[Any, ...]:
        """Return everything of a request but its random ID."""
        request = self.requests[number]
        headers: Sequence[tuple[str, str]] = [
            (name.lower(), value.decode() if isinstance(value, bytes) else value)
            for name, value in request.headers.items()
            if name.lower() != "amz-sdk-invocation-id"
        ]
        body = request.body.encode() if isinstance(request.body, str) else request.body
        return request.method, request.url, headers, body


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore_aws_files(monkeypatch)


def new_client(
    region: str = "us-east-1",
    config: Config | None = None,
    *,
    endpoint_url: str | None = None,
    is_temporary: bool = True,
) -> Any:
    session = Session()
    session.register_component("data_loader", LOADER)
    return session.create_client(
        "sts",
        region,
        config=Config(retries={"total_max_attempts": 1}).merge(config or Config()),
        endpoint_url=endpoint_url,
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="long-term-secret",
        aws_session_token="a-session-token" if is_temporary else None,
    )


def count_client_calls(client: Any) -> list[str]:
    """Return a list that gets the operations that botocore's client makes."""
    made: list[str] = []
    original = client._make_api_call

    def make(operation: str, parameters: Mapping[str, Any]) -> Any:
        made.append(operation)
        return original(operation, parameters)

    client._make_api_call = make
    return made


def check_equal(client: Any, *operations: str) -> None:
    """Make each call as botocore's client and a direct one, and compare them."""
    network, made = Network(client), count_client_calls(client)
    direct = DirectClient(client)
    with freeze_time(NOON):
        for operation in operations or METHODS:
            network.body = answer(operation)
            results = [METHODS[operation](direct)(**PARAMETERS[operation]) for _ in range(2)]
            assert made.pop() == operation
            assert made == [], "the second one was not direct"
            assert network.sent(-2) == network.sent(-1)
            ids = [request.headers["amz-sdk-invocation-id"] for request in network.requests[-2:]]
            assert len({str(each) for each in ids}) == 2
            for name in ("RetryAttempts", "MaxAttemptsReached"):
                results[0]["ResponseMetadata"].pop(name)
            assert results[0] == results[1]


@pytest.mark.parametrize("region", REGIONS)
def test_the_requests_are_the_same_in_all_partitions(region: str) -> None:
    check_equal(new_client(region))


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_requests_are_the_same_with_any_setting(setting: str) -> None:
    check_equal(new_client(config=SETTINGS[setting]))


@pytest.mark.parametrize(
    "endpoint_url",
    ["https://sts.example.com", "https://[::1]:8443/a/path/", "http://127.0.0.1:4566"],
)
def test_the_requests_are_the_same_at_a_custom_endpoint(endpoint_url: str) -> None:
    check_equal(new_client(endpoint_url=endpoint_url))


def test_the_requests_are_the_same_with_long_term_keys() -> None:
    check_equal(new_client(is_temporary=False))


def test_requests_without_a_signature_are_the_same() -> None:
    config = Config(signature_version=UNSIGNED)
    check_equal(new_client(config=config), "AssumeRoleWithWebIdentity")


def test_the_requests_are_the_same_while_the_clock_is_wrong() -> None:
    client = new_client()
    skew = ClockSkewTracker(SystemClock())
    skew.install_signer(client)
    with freeze_time(NOON):
        skew.update(client.meta.endpoint_url, datetime(2026, 11, 24, 15, tzinfo=UTC))
    check_equal(client, "AssumeRole")


ERRORS = {
    "denied": (403, "<Code>AccessDenied</Code><Message>no</Message>"),
    "throttled": (400, "<Code>Throttling</Code><Message>Rate exceeded</Message>"),
    "modeled": (400, "<Code>MalformedPolicyDocument</Code><Message>bad</Message>"),
    "expired token": (400, "<Code>ExpiredTokenException</Code><Message>old</Message>"),
    "broken": (500, "<Code>InternalFailure</Code><Message>It broke</Message>"),
    "nothing": (429, ""),
}
BODIES = {
    **{
        name: (status, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode())
        for name, (status, error) in ERRORS.items()
    },
    "without its envelope": (403, b"<Error><Code>AccessDenied</Code></Error>"),
    "JSON": (403, b'{"code": "AccessDenied", "message": "no"}'),
    "page of a portal": (503, b"<!doctype html><p>Please log in"),
    "garbled": (200, b"<AssumeRoleResponse><Assume"),
    "empty": (502, b""),
    "redirect": (302, b""),
    "wrong expiration": (200, answer("AssumeRole").replace(b"-24T13", b"-99T13")),
}


@pytest.mark.parametrize("name", BODIES)
def test_errors_are_the_same(name: str) -> None:
    client = new_client()
    client.meta.events.register("before-parse.sts", unify_error_body)
    network, made, direct = Network(client), count_client_calls(client), DirectClient(client)
    network.status, network.body = BODIES[name]
    found = []
    for _ in range(2):
        with pytest.raises(Exception, match=r"(?s).*") as raised:
            direct.assume_role(**ROLE)
        error = translate_error(role("deploy"), raised.value)
        found.append((type(raised.value), type(error), error.code, error.message, error.hint))
    assert made == ["AssumeRole"]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectTimeoutError(endpoint_url="https://sts"),
        exceptions.ConnectionClosedError(endpoint_url="https://sts"),
        exceptions.HTTPClientError(error=ValueError("odd")),
    ],
    ids=repr,
)
def test_failures_of_the_network_are_the_same(error: Exception) -> None:
    client = new_client()
    network, made, direct = Network(client), count_client_calls(client), DirectClient(client)
    network.error = error
    for _ in range(2):
        with pytest.raises(type(error)):
            direct.assume_role(**ROLE)
    assert made == ["AssumeRole"]


def test_invalid_parameters_are_rejected_in_the_same_way() -> None:
    client = new_client()
    network, direct = Network(client), DirectClient(client)
    texts = []
    for _ in range(2):
        with pytest.raises(exceptions.ParamValidationError) as raised:
            direct.assume_role(**{**ROLE, "RoleSessionName": "x"})
        texts.append(str(raised.value))
        network.body = answer("AssumeRole")
        direct.assume_role(**ROLE)
    assert texts[0] == texts[1]


def test_a_header_that_is_not_known_leaves_all_requests_to_botocore() -> None:
    client = new_client()
    network, made, direct = Network(client), count_client_calls(client), DirectClient(client)
    client.meta.events.register("before-send.sts", add_header)
    network.body = answer("GetCallerIdentity")
    for _ in range(3):
        direct.get_caller_identity()
    assert made == ["GetCallerIdentity"] * 3


def add_header(request: Any, **_: Any) -> None:
    request.headers["X-Amzn-Trace-Id"] = "Root=1"


def test_a_client_that_has_changed_makes_all_requests_itself() -> None:
    client = new_client()
    network, made, direct = Network(client), count_client_calls(client), DirectClient(client)
    network.body = answer("GetCallerIdentity")
    client.meta.events.register("before-send.sts", forget_context)
    for _ in range(3):
        direct.get_caller_identity()
    assert made == ["GetCallerIdentity"] * 3


def forget_context(request: Any, **_: Any) -> None:
    request.context = None


@pytest.mark.parametrize(
    "text",
    ["2026-11-24T13:00:00Z", "2026-11-24T13:00:00.123Z", "2026-11-24T13:00:00+02:00", "1764000000",
     "Tue, 24 Nov 2026 12:00:00 GMT"],
)  # fmt: skip
def test_timestamps_are_parsed_as_by_botocore(text: str) -> None:
    assert parse_expiration(text) == parse_timestamp(text)


@pytest.mark.parametrize("text", ["2026-13-24T13:00:00Z", "soon", ""])
def test_what_is_no_timestamp_is_the_same_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*") as expected:
        parse_timestamp(text)
    with pytest.raises(type(expected.value)):
        parse_expiration(text)
