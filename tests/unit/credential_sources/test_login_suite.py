"""The cases of `aws login` that the AWS SDKs share: which cached logins a source can use.

Those that refresh a login have a server in tests/integration/test_aws_login.py.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from assumed.errors import SourceMissingError
from assumed.models import SourceCredentials
from tests.aws_suites import suite
from tests.source_profiles import AwsFiles, credentials_of, failure_of

SUITES = (
    "smithy-rs/login-provider-test-cases.json",
    "botocore/login-provider-test-cases.json",
)
TESTS = "`aws login` by the cases of the SDKs"


@pytest.mark.parametrize("name", SUITES)
def test_login_cases_of_the_sdks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case for case in suite(name, TESTS) if "mockApiCalls" not in case]
    assert len(cases) >= 6
    for number, case in enumerate(cases):
        home = tmp_path / str(number)
        cache = home / ".aws" / "login" / "cache"
        cache.mkdir(parents=True)
        files = AwsFiles(home, monkeypatch)
        monkeypatch.setenv("AWS_LOGIN_CACHE_DIRECTORY", str(cache))
        files.config(case["configContents"])
        for file, token in case["cacheContents"].items():
            (cache / file).write_text(json.dumps(token))
        (outcome,) = case["outcomes"]

        if outcome["result"] == "error":
            assert (
                "the login of source profile signin"
                in failure_of(SourceMissingError, "signin").message
            ), case["documentation"]
        else:
            assert credentials_of("signin") == SourceCredentials(
                outcome["accessKeyId"], outcome["secretAccessKey"], outcome["sessionToken"]
            )


@pytest.mark.parametrize(
    "missing", ["accessToken", "refreshToken", "clientId", "dpopKey", "the file"]
)
def test_a_login_without_one_of_its_parts_is_missing(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = "arn:aws:iam::111122223333:user/jane"
    files = AwsFiles(tmp_path, monkeypatch)
    files.config(f"[profile people]\nlogin_session = {arn}\n")
    token = {
        "accessToken": {
            "accessKeyId": "ASIAEXAMPLE",
            "secretAccessKey": "no-secret",
            "sessionToken": "no-token",
            "accountId": "111122223333",
            "expiresAt": "2999-01-01T00:00:00Z",
        },
        "clientId": "client",
        "refreshToken": "no-token",
        "dpopKey": "no-key",
    }
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("AWS_LOGIN_CACHE_DIRECTORY", str(cache))
    file = cache / f"{hashlib.sha256(arn.encode()).hexdigest()}.json"
    file.write_text(json.dumps(token))
    assert credentials_of("people").access_key_id == "ASIAEXAMPLE"

    file.write_text(json.dumps({key: value for key, value in token.items() if key != missing}))
    if missing == "the file":
        file.unlink()

    assert failure_of(SourceMissingError, "people").hint == "run `aws login --profile people`"
