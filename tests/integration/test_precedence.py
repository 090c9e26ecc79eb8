"""The credentials that the AWS CLI v2 and the JavaScript SDK use, found by running them.

tests/unit/aws_files/test_shadowing.py runs botocore.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from assumed.aws_files.sdk_precedence import CredentialKind
from tests.integration.sdks import Sdk, find_aws_cli
from tests.unit.aws_files.test_shadowing import CASES, FRAME, KEYS, METHODS

# The CLI is Python with its own copy of botocore.
CLI_SCRIPT = """
import json, sys
from awscli.botocore import credentials
from awscli.botocore.session import Session

def used(profile):
    try:
        found = Session(profile=profile).get_credentials()
    except Exception:
        return "broken"
    return "nothing" if found is None else found.method

print(json.dumps({
    "profiles": {name: used(name) for name in sys.argv[1:]},
    "unnamed": used(None),
    "name": Session().get_config_variable("profile"),
    "knows logins": hasattr(credentials, "LoginProvider"),
}))
"""

JAVASCRIPT_SCRIPT = """
const { fromIni } = require("@aws-sdk/credential-provider-ini");
const { defaultProvider } = require("@aws-sdk/credential-provider-node");
const session = async () => ({ accessKeyId: "a", secretAccessKey: "b" });
const assumers = { roleAssumer: session, roleAssumerWithWebIdentity: session };
const used = async (provider) => {
  try {
    return Object.keys((await provider()).$source).join(" ");
  } catch (error) {
    return error.message;
  }
};
(async () => {
  const profiles = {};
  for (const profile of process.argv.slice(2)) {
    profiles[profile] = await used(fromIni({ profile, ...assumers }));
  }
  const provider = defaultProvider({ ...assumers });
  const keys = await provider().catch(() => ({}));
  console.log(JSON.stringify({ profiles, unnamed: keys.accessKeyId ?? null }));
})();
"""
# How the SDK names the source of credentials, or its error if it cannot get them here.
JAVASCRIPT_SOURCES = {
    "CREDENTIALS_PROFILE_SOURCE_PROFILE": CredentialKind.ROLE,
    "CREDENTIALS_PROFILE_STS_WEB_ID_TOKEN": CredentialKind.WEB_IDENTITY,
    "CREDENTIALS_PROFILE_PROCESS": CredentialKind.PROCESS,
    "SSO": CredentialKind.SSO,
    "login/cache": CredentialKind.LOGIN,
    "Could not resolve credentials": CredentialKind.NOTHING,
    "CREDENTIALS_PROFILE": CredentialKind.KEYS,
}
ENVIRONMENT_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "no-secret"}
TOKEN = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/etc/hostname",
    "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/r",
}


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    """AWS files with a profile for each case, named by its number, and one with keys only."""
    process = tmp_path / "process"
    process.write_text(
        '#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b"}\'\n'
    )
    process.chmod(0o700)
    config, credentials = FRAME, f"[fresh]\n{KEYS}"
    for number, (in_config, in_credentials, _, _) in enumerate(CASES.values()):
        config += f"[profile {number}]\n{in_config}"
        credentials += f"[{number}]\n{in_credentials}"
    for name, text in (("config", config), ("credentials", credentials)):
        filled = text.replace("{process}", str(process)).replace("/nowhere", "/etc/hostname")
        (tmp_path / name).write_text(filled)
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return own | {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "us-east-1",
    }


def run_json(command: Sequence[str], environ: Mapping[str, str]) -> Any:
    done = subprocess.run(  # noqa: S603
        command, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cases() -> list[str]:
    return [str(number) for number in range(len(CASES))]


@pytest.fixture
def aws_cli() -> list[str]:
    """The command that runs a script in the AWS CLI v2."""
    command = find_aws_cli(2)
    first = b"" if command is None else command.read_bytes().partition(b"\n")[0]
    interpreter = first.removeprefix(b"#!").decode(errors="replace").split()
    if not first.startswith(b"#!") or "python" not in interpreter[-1]:
        pytest.skip("NOT TESTED: the order of the AWS CLI v2: none that is Python is here")
    return [*interpreter, "-c", CLI_SCRIPT]


@pytest.fixture
def javascript(sdks: Mapping[str, Sdk | str]) -> list[str]:
    """The command that runs a script with the JavaScript SDK."""
    sdk = sdks["the JavaScript SDK v3"]
    if isinstance(sdk, str):
        pytest.skip(f"NOT TESTED: the order of the JavaScript SDK: {sdk}")
    node, program, _ = sdk.command
    script = Path(program).with_name("order.js")
    script.write_text(JAVASCRIPT_SCRIPT)
    return [node, str(script)]


def test_aws_cli_v2_uses_the_credentials_of_the_table(
    aws_cli: list[str], environ: Mapping[str, str]
) -> None:
    answer = run_json([*aws_cli, *cases()], environ)
    kinds = {
        "nothing": CredentialKind.NOTHING,
        "broken": CredentialKind.BROKEN,
        "login": CredentialKind.LOGIN,
        **METHODS,
    }
    for number, (name, (in_config, _, expected, _)) in enumerate(CASES.items()):
        if "login_session" in in_config and not answer["knows logins"]:
            continue
        found = kinds[answer["profiles"][str(number)]]
        # The CLI reports a missing login as broken.
        assert found is expected or (
            found is CredentialKind.BROKEN and expected is CredentialKind.LOGIN
        ), name


def test_javascript_sdk_uses_the_credentials_of_the_table(
    javascript: list[str], environ: Mapping[str, str]
) -> None:
    answer = run_json([*javascript, *cases()], environ)["profiles"]
    for number, (name, (_, _, _, expected)) in enumerate(CASES.items()):
        words = answer[str(number)]
        found = next((kind for word, kind in JAVASCRIPT_SOURCES.items() if word in words), words)
        assert found is expected, name


def test_aws_cli_v2_prefers_the_variables_that_check_reports(
    aws_cli: list[str], environ: Mapping[str, str]
) -> None:
    named = {**environ, "AWS_PROFILE": "fresh"}
    for variables, method in ((ENVIRONMENT_KEYS, "env"), (TOKEN, "assume-role-with-web-identity")):
        answer = run_json([*aws_cli, "fresh"], {**named, **variables})
        assert answer["unnamed"] == method
        assert answer["profiles"] == {"fresh": "shared-credentials-file"}
    both = run_json(aws_cli, {**named, "AWS_DEFAULT_PROFILE": "base"})
    assert both["name"] == "fresh"
    assert run_json(aws_cli, {**environ, "AWS_DEFAULT_PROFILE": "base"})["name"] == "base"


def test_javascript_sdk_prefers_the_variables_that_check_reports(
    javascript: list[str], environ: Mapping[str, str]
) -> None:
    named = {**environ, "AWS_PROFILE": "fresh"}
    assert run_json(javascript, named)["unnamed"] == "ASIAFRESH"
    assert run_json(javascript, {**environ, **ENVIRONMENT_KEYS})["unnamed"] == "AKIAENV"
    assert run_json(javascript, {**named, **ENVIRONMENT_KEYS})["unnamed"] == "ASIAFRESH"
    assert run_json(javascript, {**named, **TOKEN})["unnamed"] == "ASIAFRESH"
    assert run_json(javascript, {**environ, **TOKEN})["unnamed"] == "a"
    assert run_json(javascript, {**environ, "AWS_DEFAULT_PROFILE": "fresh"})["unnamed"] is None
