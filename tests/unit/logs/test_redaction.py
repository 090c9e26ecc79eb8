from __future__ import annotations

import pytest

from assumed.logs import redact

# Shaped like real ones; AWS never issued them.
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


LONG = "Zx9_Qb7-" * 40
WRAPPED = "\n".join(("Ab1/" * 100)[start : start + 76] for start in range(0, 400, 76))
TOKEN = "IQoJb3JpZ2luX2VjE" + "Abc123/+" * 40 + "=="


@pytest.mark.parametrize(
    "text",
    [
        f"aws_secret_access_key = {SECRET_KEY}",
        "aws_secret_access_key=short-secret",
        "AWS_SECRET_ACCESS_KEY='short-secret'",
        '"SecretAccessKey": "short-secret"',
        '{\\"SecretAccessKey\\": \\"' + SECRET_KEY + '\\"}',
        "<SecretAccessKey>short-secret</SecretAccessKey>",
        "aws_session_token = short-secret",
        "aws_security_token=short-secret",
        '"SessionToken":"short-secret"',
        "<SessionToken>short-secret</SessionToken>",
        "X-Amz-Security-Token=short-secret&X-Amz-Date=20261124T120000Z",
        "X-Amz-Security-Token: short-secret",
        "session-token: short-secret",
        f"the key is {SECRET_KEY}",
        f"key={SECRET_KEY}",
        f'"{SECRET_KEY}"',
        f"({SECRET_KEY})",
        f"the token is {TOKEN}",
        "identity eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.short-secret",
        f"token={TOKEN}",
        f"first line\n{TOKEN}\nlast line",
        '{"accessToken": "short-secret", "expiresIn": 28800}',
        '{"refreshToken":"short-secret"}',
        "clientSecret=short-secret",
        '"client_secret": "short-secret"',
        "x-amz-sso_bearer_token: short-secret",
        "Authorization: Bearer short-secret",
        "authorization: short-secret",
        "curl -H 'Bearer short-secret'",
        "<SecretAccessKey><![CDATA[short-secret]]></SecretAccessKey>",
        "Secret Access Key: short-secret",
        f"the token is {LONG}",
        f"a wrapped one:\n{WRAPPED}\n",
        f"a short one IQoJb3JpZ2luX2VjE{'Ab1/' * 8}",
    ],
)
def test_redact_replaces_what_looks_like_a_secret(text: str) -> None:
    redacted = redact(text)
    assert "[redacted]" in redacted
    secrets = (SECRET_KEY, TOKEN, LONG, *WRAPPED.splitlines(), "short-secret", "Ab1/" * 8)
    for secret in secrets:
        assert secret not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::641879703613:role/s3-read-only-assume-role",
        "arn:aws:sts::641879703613:assumed-role/deploy/assumed-me@build-agent-17.example.com",
        "AKIAIOSFODNN7EXAMPLE",
        "access_key_id=ASIAIOSFODNN7EXAMPLE",
        "d41d8cd98f00b204e9800998ecf8427e",
        "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709, of Nothing",
        "sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "DA39A3EE5E6B4B0D3255BFEF95601890AFD80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "RequestID: c6104cbe-af31-11e0-8154-cbc7ccf896c7",
        "2026-11-24T12:00:00Z",
        "https://sts.eu-west-1.amazonaws.com/",
        "/home/jane/.config/assumed/config.yaml:12: profiles.deploy.role_arn: missing",
        "profile deploy: the session token has expired",
        "no secret access key in profile deploy",
        "</SessionToken> and more",
        "the SSO access token has expired: log in",
        "the bearer of this letter",
        "the refresh token is missing",
        "role/" + "/".join(["team-with-a-long-name"] * 3),
    ],
)
def test_redact_keeps_what_is_not_a_secret(text: str) -> None:
    assert redact(text) == text


def test_redact_twice_changes_nothing_more() -> None:
    once = redact(f'{{"SecretAccessKey": "{SECRET_KEY}", "SessionToken": "{TOKEN}"}}')
    assert redact(once) == once


def test_redact_removes_only_the_secret() -> None:
    text = f'"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "{SECRET_KEY}", "Version": 1'
    assert redact(text) == (
        '"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "[redacted]", "Version": 1'
    )


def test_redact_handles_escaped_slashes() -> None:
    said = redact(r'{"SecretAccessKey":"wJalrXUtnFEMI\/K7MDENG\/bPxRfiCYEXAMPLEKEY"}')
    assert said == '{"SecretAccessKey":"[redacted]"}'
