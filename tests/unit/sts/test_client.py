from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from botocore import UNSIGNED
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
from botocore.loaders import create_loader
from botocore.session import Session as BotocoreSession
from botocore.stub import Stubber

from assumed.clock import SystemClock
from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    ClockSkewedError,
    RetryPolicy,
    SourceRejectedError,
    StsRequestRejectedError,
    StsThrottledError,
    StsUnavailableError,
)
from assumed.models import (
    Credentials,
    ProfileDefinition,
    SourceCredentials,
    WebIdentity,
    WebIdentityToken,
)
from assumed.sts.client import AssumedRole, StsClient, StsRequest
from assumed.sts.errors import denial_hint, split_statement
from tests.aws_environment import ignore_aws_files
from tests.fakes import LONG_TERM, NOON, FakeClock, issued, role

DEPLOY = role("deploy")
HOUR = timedelta(hours=1)
PRINCIPAL = "arn:aws:iam::111122223333:user/ci"
LOADER = create_loader()


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore_aws_files(monkeypatch)


class StubbedSession(BotocoreSession):
    """A botocore session whose clients use a Stubber instead of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.register_component("data_loader", LOADER)
        self.stubbers: list[Stubber] = []
        self.clients: list[Any] = []
        self.on_new_client: Callable[[Stubber], None] = lambda _: None

    def create_client(self, *args: Any, **options: Any) -> Any:
        client = super().create_client(*args, **options)
        stubber = Stubber(client)
        self.on_new_client(stubber)
        stubber.activate()
        self.stubbers.append(stubber)
        self.clients.append(client)
        return client


def response(credentials: Credentials, **changes: Any) -> dict[str, Any]:
    """Return the response to AssumeRole as botocore parses it, with STS's time in its headers."""
    return {
        "Credentials": {
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            "Expiration": credentials.expiration,
        },
        "AssumedRoleUser": {"AssumedRoleId": "AROA:me", "Arn": credentials.principal_arn},
        "ResponseMetadata": {"HTTPHeaders": {"date": "Tue, 24 Nov 2026 12:00:00 GMT"}},
        **changes,
    }


# botocore's model requires an access key id of at least sixteen characters.
ISSUED = replace(issued(DEPLOY, NOON + HOUR), access_key_id="ASIADEPLOYEXAMPLE")


def call(
    session: StubbedSession,
    definition: ProfileDefinition = DEPLOY,
    credentials: SourceCredentials = LONG_TERM,
) -> AssumedRole:
    return StsClient(SystemClock()).assume_role(definition, credentials, session)


def responding(shape: dict[str, Any], expected: dict[str, Any] | None = None) -> StubbedSession:
    session = StubbedSession()
    session.on_new_client = lambda stubber: stubber.add_response("assume_role", shape, expected)
    return session


def error_response(code: str, text: str = "no", status: int = 400) -> AssumedError:
    """Return the error for an error response of STS."""
    session = StubbedSession()
    session.on_new_client = lambda stubber: stubber.add_client_error(
        "assume_role", code, text, http_status_code=status
    )
    with pytest.raises(AssumedError) as raised:
        call(session)
    return raised.value


def test_assume_role_sends_no_parameter_that_the_definition_does_not_set() -> None:
    expected = {
        "RoleArn": DEPLOY.role_arn,
        "RoleSessionName": "assumed-me@here",
        "DurationSeconds": 3600,
    }
    assert call(responding(response(ISSUED), expected)).credentials == ISSUED


def test_assume_role_sends_a_web_identity_token_without_a_signature() -> None:
    session = StubbedSession()
    expected = {
        "RoleArn": DEPLOY.role_arn,
        "RoleSessionName": "assumed-me@here",
        "DurationSeconds": 3600,
        "WebIdentityToken": "a-token",
    }
    session.on_new_client = lambda stubber: stubber.add_response(
        "assume_role_with_web_identity", response(ISSUED), expected
    )
    definition = role("deploy", source=WebIdentity(Path("/run/token")))
    called = StsClient(SystemClock()).assume_role(definition, WebIdentityToken("a-token"), session)
    assert called.credentials == ISSUED
    (client,) = session.clients
    assert client.meta.config.signature_version is UNSIGNED
    assert "a-token" not in repr(WebIdentityToken("a-token"))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ExpiredTokenException", SourceRejectedError),
        ("InvalidIdentityToken", SourceRejectedError),
        ("IDPRejectedClaim", SourceRejectedError),
        ("IDPCommunicationError", StsUnavailableError),
    ],
)
def test_a_rejected_web_identity_token_is_a_rejected_source(code: str, kind: type) -> None:
    assert type(error_response(code)) is kind


def test_assume_role_sends_every_parameter_of_a_definition() -> None:
    definition = role(
        "deploy",
        duration_seconds=7200,
        external_id="abc",
        policy='{"Version": "2012-10-17", "Statement": []}',
        policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::aws:policy/Other"),
        tags={"team": "build", "empty": ""},
        transitive_tag_keys=("team",),
        source_identity="jane",
    )
    expected = {
        "RoleArn": definition.role_arn,
        "RoleSessionName": definition.role_session_name,
        "DurationSeconds": 7200,
        "ExternalId": "abc",
        "Policy": '{"Version": "2012-10-17", "Statement": []}',
        "PolicyArns": [
            {"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"},
            {"arn": "arn:aws:iam::aws:policy/Other"},
        ],
        "Tags": [{"Key": "team", "Value": "build"}, {"Key": "empty", "Value": ""}],
        "TransitiveTagKeys": ["team"],
        "SourceIdentity": "jane",
    }
    session = responding(response(ISSUED), expected)
    call(session, definition)
    session.stubbers[0].assert_no_pending_responses()


def test_assume_role_returns_the_time_of_sts() -> None:
    assumed = call(responding(response(ISSUED)))
    assert assumed == AssumedRole(ISSUED, NOON)


@pytest.mark.parametrize(
    ("arn", "region"),
    [
        ("arn:aws:iam::111122223333:role/r", "us-east-1"),
        ("arn:aws-cn:iam::111122223333:role/r", "cn-north-1"),
        ("arn:aws-us-gov:iam::111122223333:role/r", "us-gov-west-1"),
        ("arn:aws-eusc:iam::111122223333:role/r", "eusc-de-east-1"),
    ],
)
def test_the_default_region_is_the_first_of_the_roles_partition(arn: str, region: str) -> None:
    session = responding(response(ISSUED))
    call(session, role("deploy", role_arn=arn))
    assert session.clients[0].meta.region_name == region


def test_the_region_of_the_source_profile_precedes_that_of_the_partition() -> None:
    session = responding(response(ISSUED))
    session.set_config_variable("region", "eu-west-3")
    call(session)
    assert session.clients[0].meta.region_name == "eu-west-3"


def test_the_region_of_the_definition_precedes_all_others() -> None:
    session = responding(response(ISSUED))
    session.set_config_variable("region", "eu-west-3")
    call(session, role("deploy", region="ap-south-1"))
    assert session.clients[0].meta.region_name == "ap-south-1"
    assert session.clients[0].meta.endpoint_url == "https://sts.ap-south-1.amazonaws.com"


@pytest.mark.parametrize(
    ("code", "status", "kind", "retry"),
    [
        ("AccessDenied", 403, AssumeRoleDeniedError, RetryPolicy.SLOWLY),
        ("AccessDeniedException", 400, AssumeRoleDeniedError, RetryPolicy.SLOWLY),
        ("ExpiredToken", 403, SourceRejectedError, RetryPolicy.SLOWLY),
        ("ExpiredTokenException", 400, SourceRejectedError, RetryPolicy.SLOWLY),
        ("InvalidAccessKeyId", 403, SourceRejectedError, RetryPolicy.SLOWLY),
        ("InvalidClientTokenId", 403, SourceRejectedError, RetryPolicy.SLOWLY),
        ("InvalidToken", 400, SourceRejectedError, RetryPolicy.SLOWLY),
        ("SignatureDoesNotMatch", 403, SourceRejectedError, RetryPolicy.SLOWLY),
        ("UnrecognizedClientException", 403, SourceRejectedError, RetryPolicy.SLOWLY),
        ("Throttling", 400, StsThrottledError, RetryPolicy.BACK_OFF),
        ("ThrottlingException", 400, StsThrottledError, RetryPolicy.BACK_OFF),
        ("ThrottledException", 400, StsThrottledError, RetryPolicy.BACK_OFF),
        ("RequestLimitExceeded", 503, StsThrottledError, RetryPolicy.BACK_OFF),
        ("RequestThrottled", 400, StsThrottledError, RetryPolicy.BACK_OFF),
        ("TooManyRequestsException", 429, StsThrottledError, RetryPolicy.BACK_OFF),
        ("SlowDown", 503, StsThrottledError, RetryPolicy.BACK_OFF),
        ("AnythingAtAll", 429, StsThrottledError, RetryPolicy.BACK_OFF),
        ("MalformedPolicyDocument", 400, StsRequestRejectedError, RetryPolicy.SLOWLY),
        ("PackedPolicyTooLarge", 400, StsRequestRejectedError, RetryPolicy.SLOWLY),
        ("RegionDisabledException", 403, StsRequestRejectedError, RetryPolicy.SLOWLY),
        ("ValidationError", 400, StsRequestRejectedError, RetryPolicy.SLOWLY),
        ("NeverHeardOf", 400, StsRequestRejectedError, RetryPolicy.SLOWLY),
        ("InternalFailure", 500, StsUnavailableError, RetryPolicy.BACK_OFF),
        ("ServiceUnavailable", 503, StsUnavailableError, RetryPolicy.BACK_OFF),
        ("502", 502, StsUnavailableError, RetryPolicy.BACK_OFF),
        ("404", 404, StsUnavailableError, RetryPolicy.BACK_OFF),
        ("", 400, StsUnavailableError, RetryPolicy.BACK_OFF),
    ],
)
def test_translate_error_chooses_the_class_by_the_code_and_the_status(
    code: str, status: int, kind: type[AssumedError], retry: RetryPolicy
) -> None:
    error = error_response(code, status=status)
    assert type(error) is kind
    assert error.retry is retry
    assert error.message == f"{DEPLOY.role_arn}: no"
    assert not code or code not in error.message, "the code is shown beside the message"
    assert error.hint
    assert "again" not in error.hint, "only the daemon retries"


def test_a_message_of_sts_that_names_the_role_is_not_prefixed_with_it() -> None:
    text = f"User: {PRINCIPAL} is not authorized to perform: sts:AssumeRole on {DEPLOY.role_arn}"
    assert error_response("AccessDenied", text, 403).message == text


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("AccessDeniedException", "AccessDenied"),
        ("RequestLimitExceeded", "Throttling"),
        ("ExpiredToken", "ExpiredToken"),
        ("RegionDisabledException", "RegionDisabledException"),
    ],
)
def test_codes_with_the_same_meaning_are_shown_as_one(code: str, shown: str) -> None:
    assert error_response(code).code == shown


def test_access_denied_hints_at_both_policies_and_trusts_no_message_with_a_statement() -> None:
    error = error_response(
        "AccessDenied",
        f"User: {PRINCIPAL} is not authorized to perform: sts:AssumeRole on resource: "
        f"{DEPLOY.role_arn}",
        403,
    )
    assert error.hint == (
        f"sts:AssumeRole must be allowed twice: by the trust policy of {DEPLOY.role_arn} for "
        f"{PRINCIPAL}, and by a policy of {PRINCIPAL}; the role may also not exist. "
        "`assumed check --live` prints the statement for the trust policy"
    )


@pytest.mark.parametrize(
    "code",
    ["", None, "A" * 65, "<b>", "Access Denied", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2ln",
     "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12", "Käse", "new\nline"],
)  # fmt: skip
def test_a_code_that_sts_never_sends_is_unknown(code: str | None) -> None:
    assert error_response(cast("str", code)).code == "Unknown"


def test_the_message_of_an_error_is_one_short_line_without_secrets() -> None:
    text = "first\n2026-12-01T00:00:00Z INFO profile_refreshed\x1b[2J\x1b]0;x\x07 Bearer abc.def-1 "
    message = error_response("ValidationError", text + "x" * 5_000_000).message
    assert message.isprintable()
    assert len(message) < 2200
    assert "abc.def-1" not in message


@pytest.mark.parametrize("principal", ["arn:x", "arn:aws:iam"])
def test_access_denied_tolerates_a_malformed_principal(principal: str) -> None:
    error = error_response("AccessDenied", f"User: {principal} is not authorized to", 403)
    assert error.code == "AccessDenied"
    assert str(DEPLOY.source) in error.hint


def test_the_missing_statement_is_that_of_the_identity_which_get_caller_identity_gave() -> None:
    session = "arn:aws:sts::111122223333:assumed-role/hub/assumed-me@here"
    for identity, trusted in {
        PRINCIPAL: PRINCIPAL,
        session: "arn:aws:iam::111122223333:role/hub",
    }.items():
        hint = denial_hint(DEPLOY, identity_arn=identity)
        assert f"for {identity}, and" in hint
        assert hint.endswith(
            f'. In the trust policy: {{"Effect": "Allow", "Principal": {{"AWS": "{trusted}"}}, '
            '"Action": "sts:AssumeRole"}'
        )


def responses_left(stubber: Stubber) -> int:
    return len(vars(stubber)["_queue"])


class TestFallbackRegions:
    DEPLOY = role("deploy", region="eu-west-1", fallback_regions=("eu-central-1", "us-east-1"))

    def responding_by_region(self, *down: str) -> StubbedSession:
        """Let each client get three responses, after a 503 in the regions that are down."""
        session = StubbedSession()

        def respond(stubber: Stubber) -> None:
            if stubber.client.meta.region_name in down:
                stubber.add_client_error("assume_role", "ServiceUnavailable", "", 503)
            for _ in range(3):
                stubber.add_response("assume_role", response(ISSUED))

        session.on_new_client = respond
        return session

    def test_the_next_region_is_used_for_a_minute_after_a_failure(
        self,
    ) -> None:
        clock = FakeClock()
        session = self.responding_by_region("eu-west-1", "eu-central-1")
        sts = StsClient(clock)
        sts.assume_role(self.DEPLOY, LONG_TERM, session)
        regions = [client.meta.region_name for client in session.clients]
        assert regions == ["eu-west-1", "eu-central-1", "us-east-1"]
        first, _, last = session.stubbers
        left = responses_left(last)
        sts.assume_role(self.DEPLOY, LONG_TERM, session)
        assert responses_left(last) == left - 1
        clock.advance(timedelta(seconds=61))
        left = responses_left(first)
        sts.assume_role(self.DEPLOY, LONG_TERM, session)
        assert responses_left(first) == left - 1

    def test_if_all_regions_fail_the_error_is_that_of_the_first(self) -> None:
        session = self.responding_by_region("eu-west-1", "eu-central-1", "us-east-1")
        with pytest.raises(StsUnavailableError) as raised:
            call(session, self.DEPLOY)
        assert raised.value.code == "ServiceUnavailable"
        assert len(session.clients) == 3

    def test_access_denied_is_not_retried_in_another_region(self) -> None:
        session = StubbedSession()
        session.on_new_client = lambda stubber: stubber.add_client_error(
            "assume_role", "AccessDenied", "no", http_status_code=403
        )
        with pytest.raises(AssumeRoleDeniedError):
            call(session, self.DEPLOY)
        assert len(session.clients) == 1


def test_access_denied_without_a_principal_names_the_source() -> None:
    assert "the identity of profile keys" in error_response("AccessDenied", "Access denied").hint


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("SignatureDoesNotMatch", "Signature expired: 20261124T115000Z is now earlier than …"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261124T125000Z is still later …"),
        ("RequestExpired", "Request has expired."),
    ],
)
def test_clock_skew_is_distinguished_from_wrong_keys(code: str, text: str) -> None:
    error = error_response(code, text, 403)
    assert (type(error), error.code) == (ClockSkewedError, "ClockSkewed")
    assert "clock is wrong" in error.hint


def test_rejected_keys_are_hinted_at_by_their_source() -> None:
    assert "credentials of profile keys" in error_response("InvalidClientTokenId").hint


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("MalformedPolicyDocument", "`policy`"),
        ("PackedPolicyTooLarge", "policy_arns"),
        ("RegionDisabledException", "`region`"),
        ("ValidationError", "duration_seconds"),
    ],
)
def test_a_rejected_request_hints_at_the_key_to_correct(code: str, word: str) -> None:
    assert word in error_response(code).hint


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://sts", error="no route"),
        ConnectTimeoutError(endpoint_url="https://sts"),
        ReadTimeoutError(endpoint_url="https://sts"),
        OSError("no file of certificates"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_network_failures_are_sts_unavailable(error: Exception) -> None:
    class Unreachable:
        def __init__(self, client: Any) -> None:
            self.meta = client.meta

        def assume_role(self, **_: object) -> None:
            raise error

    class UnreachableSession(StubbedSession):
        def create_client(self, *args: Any, **options: Any) -> Any:
            return Unreachable(super().create_client(*args, **options))

    with pytest.raises(StsUnavailableError) as raised:
        call(UnreachableSession())
    assert raised.value.code == type(error).__name__
    assert raised.value.message == str(error)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"external_id": "a"}, "ExternalId"),
        ({"duration_seconds": 60}, "DurationSeconds"),
        ({"role_session_name": "x"}, "RoleSessionName"),
    ],
)
def test_parameters_that_botocore_rejects_are_a_rejected_request(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(StsRequestRejectedError, match=named) as raised:
        call(responding(response(ISSUED)), role("deploy", **changes))
    assert raised.value.code == "ParamValidation"


def test_an_invalid_region_is_rejected_by_name() -> None:
    with pytest.raises(StsRequestRejectedError, match="no such region") as raised:
        call(StubbedSession(), role("deploy", region="no such region"))
    assert raised.value.code == "BadEndpoint"


@pytest.mark.parametrize("missing", ["Credentials", "AssumedRoleUser", "ResponseMetadata"])
def test_a_response_with_a_part_missing_is_malformed(missing: str) -> None:
    shape = response(ISSUED)
    del shape[missing]
    with pytest.raises(StsUnavailableError) as raised:
        call(responding(shape))
    assert raised.value.code == "BadAnswer"


@pytest.mark.parametrize("field", ["SecretAccessKey", "SessionToken"])
@pytest.mark.parametrize("odd", ["", " ", "two words", "two\nlines", "käse", "\x00"])
def test_credentials_that_are_not_one_ascii_word_are_malformed(field: str, odd: str) -> None:
    shape = response(ISSUED)
    shape["Credentials"][field] = odd
    with pytest.raises(StsUnavailableError):
        call(responding(shape))


@pytest.mark.parametrize(
    "expiration", [NOON, NOON - timedelta(seconds=1), datetime(1970, 1, 1, tzinfo=UTC)]
)
def test_a_session_that_is_issued_already_expired_is_malformed(expiration: datetime) -> None:
    with pytest.raises(StsUnavailableError, match="already expired when it was issued"):
        call(responding(response(replace(ISSUED, expiration=expiration))))


def test_profiles_of_one_source_and_region_share_a_client() -> None:
    session, sts = StubbedSession(), StsClient(SystemClock())
    session.on_new_client = add_three_responses
    for profile in ("one", "two", "three"):
        sts.assume_role(role(profile), LONG_TERM, session)
    assert len(session.clients) == 1


def test_each_source_and_region_has_its_own_client() -> None:
    session, sts = StubbedSession(), StsClient(SystemClock())
    session.on_new_client = add_three_responses
    sts.assume_role(DEPLOY, LONG_TERM, session)
    sts.assume_role(role("deploy", region="eu-west-1"), LONG_TERM, session)
    sts.assume_role(role("child", parent="deploy"), LONG_TERM, session)
    assert len(session.clients) == 3


@pytest.mark.parametrize(
    "changed",
    [
        SourceCredentials("AKIAOTHER", "long-term-secret", None),
        SourceCredentials("AKIAEXAMPLE", "another-secret", None),
        SourceCredentials("AKIAEXAMPLE", "long-term-secret", "a-token"),
    ],
)
def test_a_client_is_replaced_when_the_keys_change(changed: SourceCredentials) -> None:
    session, sts = StubbedSession(), StsClient(SystemClock())
    session.on_new_client = add_three_responses
    sts.assume_role(DEPLOY, LONG_TERM, session)
    sts.assume_role(DEPLOY, changed, session)
    sts.assume_role(DEPLOY, changed, session)
    assert len(session.clients) == 2


def test_a_client_is_replaced_when_the_settings_of_its_source_change() -> None:
    before, after, sts = StubbedSession(), StubbedSession(), StsClient(SystemClock())
    before.on_new_client = after.on_new_client = add_three_responses
    sts.assume_role(DEPLOY, LONG_TERM, before)
    sts.assume_role(DEPLOY, LONG_TERM, after)
    assert len(after.clients) == 1


def add_three_responses(stubber: Stubber) -> None:
    for _ in range(3):
        stubber.add_response("assume_role", response(ISSUED))


IDENTITY = {
    "Arn": PRINCIPAL,
    "Account": "111122223333",
    "UserId": "AIDAEXAMPLE",
    "ResponseMetadata": {"HTTPHeaders": {"date": "Tue, 24 Nov 2026 12:00:00 GMT"}},
}


class SlowSession(StubbedSession):
    """Lets each request take two seconds of the clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def create_client(self, *args: Any, **options: Any) -> Any:
        client = super().create_client(*args, **options)
        client.meta.events.register(
            "before-parameter-build.sts", lambda **_: self._clock.advance(timedelta(seconds=2))
        )
        return client


def test_on_request_gets_the_duration_of_each_request_even_if_it_fails() -> None:
    clock, requests = FakeClock(), list[StsRequest]()
    session = SlowSession(clock)

    def respond(stubber: Stubber) -> None:
        stubber.add_client_error("assume_role", "AccessDenied", "no", http_status_code=403)
        stubber.add_response("assume_role", response(ISSUED))

    session.on_new_client = respond
    sts = StsClient(clock, on_request=requests.append)
    with pytest.raises(AssumeRoleDeniedError):
        sts.assume_role(DEPLOY, LONG_TERM, session)
    sts.assume_role(DEPLOY, LONG_TERM, session)
    assert requests == [StsRequest("deploy", "AssumeRole", timedelta(seconds=2))] * 2


@pytest.mark.parametrize("is_allowed", [True, False])
def test_reports_identity_calls_get_caller_identity_before_assume_role(is_allowed: bool) -> None:
    clock, requests = FakeClock(), list[StsRequest]()
    session = SlowSession(clock)

    def respond(stubber: Stubber) -> None:
        if is_allowed:
            stubber.add_response("get_caller_identity", IDENTITY)
        else:
            stubber.add_client_error("get_caller_identity", "AccessDenied", "no")
        stubber.add_response("assume_role", response(ISSUED))

    session.on_new_client = respond
    sts = StsClient(clock, on_request=requests.append, reports_identity=True)
    assert sts.assume_role(DEPLOY, LONG_TERM, session).credentials == ISSUED
    took = timedelta(seconds=2)
    assert requests == [
        StsRequest("deploy", "GetCallerIdentity", took, PRINCIPAL if is_allowed else None),
        StsRequest("deploy", "AssumeRole", took),
    ]


@pytest.mark.parametrize("advice", ["", "; the daemon will retry", "; then run the command again"])
def test_split_statement_separates_the_statement_from_a_hint_with_retry_advice(
    advice: str,
) -> None:
    hint = denial_hint(DEPLOY, identity_arn=PRINCIPAL)
    text, statement = split_statement(hint + advice)
    assert text.endswith(f"the role may also not exist{advice}")
    assert statement == {
        "Effect": "Allow",
        "Principal": {"AWS": PRINCIPAL},
        "Action": "sts:AssumeRole",
    }
    assert split_statement(f"log in{advice}") == (f"log in{advice}", None)
    malformed = f"allow it. In the trust policy: none{advice}"
    assert split_statement(malformed) == (malformed, None)


def test_errors_contain_no_secret() -> None:
    shape = response(ISSUED)
    shape["AssumedRoleUser"]["Arn"] = "not the ARN of an assumed role"
    session = responding(shape)
    credentials = SourceCredentials("AKIAEXAMPLE", "long-term-secret", "a-token")
    with pytest.raises(StsUnavailableError) as raised:
        call(session, credentials=credentials)
    text = "".join(traceback.format_exception(raised.value)) + raised.value.hint
    for secret in (ISSUED.secret_access_key, ISSUED.session_token, "long-term-secret", "a-token"):
        assert secret not in text
