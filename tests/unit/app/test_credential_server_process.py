from __future__ import annotations

from pathlib import Path

import pytest

from assumed.app.credential_server_process import parse_reply
from assumed.errors import RefreshFailedError, UnexpectedError, UsageError
from assumed.models import EndpointAddress


def test_parse_reply_returns_an_endpoint_or_credentials() -> None:
    url = "http://127.0.0.1:1/v1/credentials/deploy"
    assert parse_reply(f'{{"url": "{url}", "token_file": "/t"}}') == EndpointAddress(
        url=url, token_file=Path("/t")
    )
    assert parse_reply('{"credentials": {"AccessKeyId": "ASIA"}}') == {"AccessKeyId": "ASIA"}


def test_parse_reply_raises_the_error_of_the_process() -> None:
    with pytest.raises(UsageError, match="disabled"):
        parse_reply('{"code": "Usage", "message": "disabled", "hint": ""}')
    with pytest.raises(RefreshFailedError, match="denied") as raised:
        parse_reply('{"code": "AccessDenied", "message": "denied", "hint": "ask"}')
    assert (raised.value.code, raised.value.hint) == (
        "AccessDenied",
        "ask; then run the command again",
    )


def test_parse_reply_fails_if_the_process_ended_without_a_reply() -> None:
    with pytest.raises(UnexpectedError):
        parse_reply("")
