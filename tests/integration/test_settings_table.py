"""Every profile of two homes: AWS tools with its own name, and assumed, call the same STS.

`DIFFERENCES` has each difference of the calls, and above it the reason. There is no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.intercepted_aws import intercepted_aws
from tests.integration.metadata import Metadata
from tests.integration.settings_table import SettingsTable
from tests.repository import TESTS

Difference = Mapping[str, tuple[str, str]]

# A session of GetSessionToken, which one code starts, signs instead of the keys with a code.
_ROBIN = {"SerialNumber": ("arn:aws:iam::111111111111:mfa/robin", ""), "TokenCode": ("123456", "")}
_YUBI = {"SerialNumber": ("arn:aws:iam::100000000000:mfa/yubi", ""), "TokenCode": ("123456", "")}
# No region: the global endpoint is served from us-east-1, but its sessions are not valid in
# regions that have to be enabled. Both requests are signed for us-east-1.
_GLOBAL = {"host": ("sts.amazonaws.com", "sts.us-east-1.amazonaws.com")}
_CAPPED = {"DurationSeconds": ("43200", "3600")}

DIFFERENCES: Mapping[str, Mapping[str, Difference]] = {
    "agency": {
        # A session that an MFA code starts assumes roles for an hour.
        "me-admin": {**_ROBIN, **_CAPPED},
        "me-audit": _ROBIN,
        "me-ro": _GLOBAL,
        # Role chaining: the AWS tools fail, and so does everything that is chained to it.
        "bank-prod": {"DurationSeconds": ("14400", "3600")},
        "bank-dr": {
            "host": ("", "sts-fips.us-west-2.amazonaws.com"),
            "region": ("", "us-west-2"),
            "signer": ("", "arn:aws:sts::222222222223:assumed-role/BankProd"),
            "DurationSeconds": ("", "3600"),
            "Version": ("", "2011-06-15"),
            "RoleArn": ("", "arn:aws:iam::222222222224:role/BankDr"),
        },
        # No region: the AWS tools call the global endpoint of another partition.
        "gov-no-region": {
            "host": ("sts.amazonaws.com", "sts.us-gov-west-1.amazonaws.com"),
            "region": ("us-east-1", "us-gov-west-1"),
        },
        "corp-deploy-long": {"DurationSeconds": ("28800", "3600")},
        # Only aws-vault reads these keys, and include_profile.
        "hosted-vault": {
            **_GLOBAL,
            "DurationSeconds": ("3600", "7200"),
            "RoleSessionName": ("", "robin@example.com"),
            "Tags.member.1.Key": ("", "team"),
            "Tags.member.1.Value": ("", "platform"),
            "Tags.member.2.Key": ("", "cost-center"),
            "Tags.member.2.Value": ("", "42"),
            "TransitiveTagKeys.member.1": ("", "team"),
            "SourceIdentity": ("", "robin"),
        },
    },
    "platform": {
        "yubi-admin": _YUBI,
        "yubi-ro": _YUBI,
        "saml-prod": _CAPPED,
        # botocore ignores the duration of a web identity.
        "pod": {"DurationSeconds": ("3600", "7200")},
        "no-region": _GLOBAL,
    },
}
# The AWS tools get no session of these: STS rejects the duration.
REJECTED = {"bank-prod", "bank-dr", "corp-deploy-long", "saml-prod"}
SKIPPED = {
    "agency": [
        "profile corp-through-broken is skipped: its source, profile corp-broken: there is no "
        "[sso-session corp-old] in ",
        "AWS tools ignore the section [hosted-lost]: a profile of this file is written as "
        "[profile hosted-lost]",
        "[profile hosted-old] is not profile hosted-old for AWS tools",
    ],
    "platform": [
        "profile in-a-loop is skipped: its source, profile in-a-loop-too, is skipped too",
        "profile in-a-loop-too is skipped: its role chain is a loop",
        "AWS tools ignore the section [profile ops keys]: a name with a blank or a quote has to be "
        "quoted: [profile 'ops keys']",
    ],
}
SSO_HOSTS = {
    "agency": {"portal.sso.eu-west-1.amazonaws.com", "portal.sso.eu-west-1.api.aws"},
    "platform": {"portal.sso-fips.us-east-1.amazonaws.com"},
}
MFA_HOSTS = {
    "agency": {"sts.eu-central-1.amazonaws.com"},
    "platform": {"sts.ca-central-1.amazonaws.com"},
}


@pytest.fixture(params=DIFFERENCES)
def home(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def table(tmp_path: Path, home: str) -> Iterator[SettingsTable]:
    for name in ("ca", "home"):
        (tmp_path / name).mkdir()
    directory = TESTS / "integration" / "homes"
    files = {kind: (directory / f"{home}.{kind}").read_text() for kind in ("config", "credentials")}
    with intercepted_aws(tmp_path / "ca") as (aws, environ), Metadata().serving() as metadata:
        yield SettingsTable(tmp_path / "home", files, aws, environ, metadata)


def test_every_profile_calls_the_sts_of_aws_tools_and_gets_the_same_identity(
    table: SettingsTable, home: str
) -> None:
    before = table.config.read_bytes()
    made = table.assumed("init", "--write-aws-config")
    assert made.returncode == 0, made.stderr
    assert len(made.stderr.splitlines()) == len(SKIPPED[home])
    for line, expected in zip(made.stderr.splitlines(), SKIPPED[home], strict=True):
        assert expected in line
    names = re.findall(r"^profile (.*): use --profile (.*) instead$", made.stdout, re.M)
    after = table.config.read_bytes()
    assert after.startswith(before)

    rows = table.rows(dict(names))
    found = {row.profile: row.differences for row in rows if row.differences}
    assert found == DIFFERENCES[home]
    for row in rows:
        tools, fresh, in_exec = row.identities
        assert ":assumed-role/" in fresh
        assert (fresh, fresh) == (in_exec, fresh if row.profile in REJECTED else tools), row
        assert ("1 hour session limit" in tools) is (row.profile in REJECTED)
        own, of_fresh, of_exec = row.regions
        assert own == of_fresh == of_exec, row
    assert table.hosts("GetRoleCredentials") == (SSO_HOSTS[home], SSO_HOSTS[home])
    assert table.hosts("GetSessionToken") == (set(), MFA_HOSTS[home])

    again = table.assumed("init", "--write-aws-config")
    assert again.returncode == 0
    assert f"{table.config}: no section is missing" in again.stdout
    assert table.config.read_bytes() == after
