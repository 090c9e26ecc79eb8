from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

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
from assumed.sts.client import AssumedRole, StsClient
from tests.fakes import LONG_TERM, NOON, FakeClock, issued, role

DEPLOY = role("deploy")
HOUR = timedelta(hours=1)
CALLER = "arn:aws:iam::111122223333:user/ci"
LOADER = create_loader()


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


class StubbedSession(BotocoreSession):
    """A botocore session whose clients meet a Stubber and no network."""

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


def answer(credentials: Credentials, **changes: Any) -> dict[str, Any]:
    """AssumeRole's answer as botocore parses it, with the time of STS in its headers."""
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


# botocore's own model wants an access key id of sixteen characters.
ISSUED = replace(issued(DEPLOY, NOON + HOUR), access_key_id="ASIADEPLOYEXAMPLE")


def call(
    session: StubbedSession,
    definition: ProfileDefinition = DEPLOY,
    caller: SourceCredentials = LONG_TERM,
) -> AssumedRole:
    return StsClient(SystemClock()).assume_role(definition, caller, session)


def answering(shape: dict[str, Any], expected: dict[str, Any] | None = None) -> StubbedSession:
    session = StubbedSession()
    session.on_new_client = lambda stubber: stubber.add_response("assume_role", shape, expected)
    return session


def refusal(code: str, text: str = "no", status: int = 400) -> AssumedError:
    """What comes of an error that STS answers with."""
    session = StubbedSession()
    session.on_new_client = lambda stubber: stubber.add_client_error(
        "assume_role", code, text, http_status_code=status
    )
    with pytest.raises(AssumedError) as raised:
        call(session)
    return raised.value


def test_the_plainest_definition_asks_for_nothing_that_it_does_not_name() -> None:
    expected = {
        "RoleArn": DEPLOY.role_arn,
        "RoleSessionName": "assumed-me@here",
        "DurationSeconds": 3600,
    }
    assert call(answering(answer(ISSUED), expected)).credentials == ISSUED


def test_a_web_identity_sends_its_token_and_no_signature() -> None:
    session = StubbedSession()
    expected = {
        "RoleArn": DEPLOY.role_arn,
        "RoleSessionName": "assumed-me@here",
        "DurationSeconds": 3600,
        "WebIdentityToken": "a-token",
    }
    session.on_new_client = lambda stubber: stubber.add_response(
        "assume_role_with_web_identity", answer(ISSUED), expected
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
def test_a_refused_web_identity_waits_for_the_next_token(code: str, kind: type) -> None:
    assert type(refusal(code)) is kind


def test_every_parameter_of_a_definition_reaches_the_request() -> None:
    definition = role(
        "deploy",
        duration_seconds=7200,
        external_id="abc",
        policy='{"Version": "2012-10-17", "Statement": []}',
        policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::aws:policy/Other"),
        tags={"team": "build", "empty": ""},
        transitive_tag_keys=("team",),
        source_identity="somebody",
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
        "SourceIdentity": "somebody",
    }
    session = answering(answer(ISSUED), expected)
    call(session, definition)
    session.stubbers[0].assert_no_pending_responses()


def test_the_answer_is_told_with_the_time_of_sts() -> None:
    assumed = call(answering(answer(ISSUED)))
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
def test_where_nobody_names_a_region_it_is_the_first_of_the_roles_partition(
    arn: str, region: str
) -> None:
    session = answering(answer(ISSUED))
    call(session, role("deploy", role_arn=arn))
    assert session.clients[0].meta.region_name == region


def test_the_region_of_the_source_profile_comes_before_the_partitions() -> None:
    session = answering(answer(ISSUED))
    session.set_config_variable("region", "eu-west-3")
    call(session)
    assert session.clients[0].meta.region_name == "eu-west-3"


def test_the_region_of_the_definition_comes_before_all_others() -> None:
    session = answering(answer(ISSUED))
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
def test_a_refusal_is_sorted_by_what_can_be_done_about_it(
    code: str, status: int, kind: type[AssumedError], retry: RetryPolicy
) -> None:
    error = refusal(code, status=status)
    assert type(error) is kind
    assert error.retry is retry
    assert "profile deploy" in error.message
    assert str(DEPLOY.role_arn) in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("AccessDeniedException", "AccessDenied"),
        ("RequestLimitExceeded", "Throttling"),
        ("ExpiredToken", "ExpiredToken"),
        ("RegionDisabledException", "RegionDisabledException"),
    ],
)
def test_the_code_is_one_that_status_can_show(code: str, shown: str) -> None:
    assert refusal(code).code == shown


def test_a_denial_names_the_caller_that_sts_saw_and_both_places_to_mend() -> None:
    error = refusal(
        "AccessDenied",
        f"User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: "
        f"{DEPLOY.role_arn}",
        403,
    )
    assert error.hint == (
        f"two places must allow sts:AssumeRole: the trust policy of {DEPLOY.role_arn} (is there "
        f"such a role?), for {CALLER}; and the policies of that caller. In the trust policy: "
        '{"Effect": "Allow", "Principal": {"AWS": "%s"}, "Action": "sts:AssumeRole"}' % CALLER
    )


def test_a_denied_session_is_named_by_its_role_for_the_trust_policy() -> None:
    caller = "arn:aws:sts::111122223333:assumed-role/hub/assumed-me@here"
    hint = refusal("AccessDenied", f"User: {caller} is not authorized to perform: x", 403).hint
    assert '"AWS": "arn:aws:iam::111122223333:role/hub"' in hint


def answers_left(stubber: Stubber) -> int:
    return len(vars(stubber)["_queue"])


class TestFallbackRegions:
    DEPLOY = role("deploy", region="eu-west-1", fallback_regions=("eu-central-1", "us-east-1"))

    def answering_by_region(self, *down: str) -> StubbedSession:
        """Each region answers once for each client; those that are down answer with 503."""
        session = StubbedSession()

        def answer_once(stubber: Stubber) -> None:
            if stubber.client.meta.region_name in down:
                stubber.add_client_error("assume_role", "ServiceUnavailable", "", 503)
            for _ in range(3):
                stubber.add_response("assume_role", answer(ISSUED))

        session.on_new_client = answer_once
        return session

    def test_the_next_region_answers_while_one_is_down_and_the_first_is_preferred_again(
        self,
    ) -> None:
        clock = FakeClock()
        session = self.answering_by_region("eu-west-1", "eu-central-1")
        sts = StsClient(clock)
        sts.assume_role(self.DEPLOY, LONG_TERM, session)
        regions = [client.meta.region_name for client in session.clients]
        assert regions == ["eu-west-1", "eu-central-1", "us-east-1"]
        first, _, last = session.stubbers
        left = answers_left(last)
        sts.assume_role(self.DEPLOY, LONG_TERM, session)
        assert answers_left(last) == left - 1
        clock.advance(timedelta(seconds=61))
        left = answers_left(first)
        sts.assume_role(self.DEPLOY, LONG_TERM, session)
        assert answers_left(first) == left - 1

    def test_where_all_are_down_the_error_is_of_the_first(self) -> None:
        session = self.answering_by_region("eu-west-1", "eu-central-1", "us-east-1")
        with pytest.raises(StsUnavailableError, match="ServiceUnavailable"):
            call(session, self.DEPLOY)
        assert len(session.clients) == 3

    def test_a_refusal_is_no_reason_to_ask_elsewhere(self) -> None:
        session = StubbedSession()
        session.on_new_client = lambda stubber: stubber.add_client_error(
            "assume_role", "AccessDenied", "no", http_status_code=403
        )
        with pytest.raises(AssumeRoleDeniedError):
            call(session, self.DEPLOY)
        assert len(session.clients) == 1


def test_a_denial_that_names_nobody_names_the_source() -> None:
    assert "the caller (profile keys)" in refusal("AccessDenied", "Access denied").hint


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("SignatureDoesNotMatch", "Signature expired: 20261124T115000Z is now earlier than …"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261124T125000Z is still later …"),
        ("RequestExpired", "Request has expired."),
    ],
)
def test_a_wrong_clock_of_this_machine_is_told_from_wrong_keys(code: str, text: str) -> None:
    error = refusal(code, text, 403)
    assert (type(error), error.code) == (ClockSkewedError, "ClockSkewed")
    assert "clock is wrong" in error.hint


def test_rejected_keys_name_the_source_that_holds_them() -> None:
    assert "credentials of profile keys" in refusal("InvalidClientTokenId").hint


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("MalformedPolicyDocument", "`policy`"),
        ("PackedPolicyTooLarge", "policy_arns"),
        ("RegionDisabledException", "`region`"),
        ("ValidationError", "duration_seconds"),
    ],
)
def test_a_refused_request_names_what_to_mend(code: str, word: str) -> None:
    assert word in refusal(code).hint


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
def test_trouble_on_the_way_is_sts_unavailable(error: Exception) -> None:
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
    assert "profile deploy" in raised.value.message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"external_id": "a"}, "ExternalId"),
        ({"duration_seconds": 60}, "DurationSeconds"),
        ({"role_session_name": "x"}, "RoleSessionName"),
    ],
)
def test_what_botocore_itself_refuses_is_no_traceback(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(StsRequestRejectedError, match=named) as raised:
        call(answering(answer(ISSUED)), role("deploy", **changes))
    assert raised.value.code == "ParamValidation"


def test_a_region_that_can_be_none_is_refused_with_its_name() -> None:
    with pytest.raises(StsRequestRejectedError, match="no such region") as raised:
        call(StubbedSession(), role("deploy", region="no such region"))
    assert raised.value.code == "BadEndpoint"


@pytest.mark.parametrize("missing", ["Credentials", "AssumedRoleUser", "ResponseMetadata"])
def test_an_answer_with_a_part_missing_is_no_answer(missing: str) -> None:
    shape = answer(ISSUED)
    del shape[missing]
    with pytest.raises(StsUnavailableError) as raised:
        call(answering(shape))
    assert raised.value.code == "BadAnswer"


@pytest.mark.parametrize("field", ["SecretAccessKey", "SessionToken"])
@pytest.mark.parametrize("odd", ["", " ", "two words", "two\nlines", "käse", "\x00"])
def test_credentials_that_are_not_one_plain_word_are_no_answer(field: str, odd: str) -> None:
    shape = answer(ISSUED)
    shape["Credentials"][field] = odd
    with pytest.raises(StsUnavailableError):
        call(answering(shape))


@pytest.mark.parametrize(
    "expiration", [NOON, NOON - timedelta(seconds=1), datetime(1970, 1, 1, tzinfo=UTC)]
)
def test_a_session_that_had_expired_when_it_was_issued_is_no_answer(expiration: datetime) -> None:
    with pytest.raises(StsUnavailableError, match="expired when it was issued"):
        call(answering(answer(replace(ISSUED, expiration=expiration))))


def test_one_client_of_a_source_and_region_is_shared_by_all_its_profiles() -> None:
    session, sts = StubbedSession(), StsClient(SystemClock())
    session.on_new_client = add_three_answers
    for profile in ("one", "two", "three"):
        sts.assume_role(role(profile), LONG_TERM, session)
    assert len(session.clients) == 1


def test_another_source_or_region_has_a_client_of_its_own() -> None:
    session, sts = StubbedSession(), StsClient(SystemClock())
    session.on_new_client = add_three_answers
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
    session.on_new_client = add_three_answers
    sts.assume_role(DEPLOY, LONG_TERM, session)
    sts.assume_role(DEPLOY, changed, session)
    sts.assume_role(DEPLOY, changed, session)
    assert len(session.clients) == 2


def test_a_client_is_replaced_when_the_settings_of_its_source_change() -> None:
    before, after, sts = StubbedSession(), StubbedSession(), StsClient(SystemClock())
    before.on_new_client = after.on_new_client = add_three_answers
    sts.assume_role(DEPLOY, LONG_TERM, before)
    sts.assume_role(DEPLOY, LONG_TERM, after)
    assert len(after.clients) == 1


def add_three_answers(stubber: Stubber) -> None:
    for _ in range(3):
        stubber.add_response("assume_role", answer(ISSUED))


def test_no_secret_is_in_the_text_of_an_error() -> None:
    shape = answer(ISSUED)
    shape["AssumedRoleUser"]["Arn"] = "no assumed role of anybody"
    session = answering(shape)
    caller = SourceCredentials("AKIAEXAMPLE", "long-term-secret", "a-token")
    with pytest.raises(StsUnavailableError) as raised:
        call(session, caller=caller)
    text = "".join(traceback.format_exception(raised.value)) + raised.value.hint
    for secret in (ISSUED.secret_access_key, ISSUED.session_token, "long-term-secret", "a-token"):
        assert secret not in text
