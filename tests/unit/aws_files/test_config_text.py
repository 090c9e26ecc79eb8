"""New sections of the AWS config file: each byte stays, and botocore reads what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.configloader import load_config

from assumed.aws_files.config_text import append_sections, header, is_setting, sections_text
from assumed.aws_files.profiles import parse_aws_files
from assumed.errors import CredentialsFileMalformedError

SETTINGS = {
    "region": "eu-west-1",
    "s3": "\nmax_queue_size = 10\naddressing_style = path",
    "cli_pager": "",
}
NESTED = {"max_queue_size": "10", "addressing_style": "path"}
FILES = {
    "empty": b"",
    "one line": b"[default]\n",
    "no line end": b"[default]\nregion = x",
    "blank lines": b"\n[default]\nregion = x\n\n\n",
    "windows": b"[default]\r\nregion = x\r\n",
    "windows, no line end": b"[default]\r\nregion = x",
    "an open block": b"[default]\ns3 =\n  max_queue_size = 1\n",
    "a comment": b"[default]\nregion = x\n# adopted by assumed: role_arn = y\n",
    "non-ASCII": "[default]\n# für später\nregion = x\n".encode(),
}


@pytest.mark.parametrize("before", FILES.values(), ids=FILES)
@pytest.mark.parametrize("name", ["deploy-fresh", "a b", "it's", "acme/dev", "default-fresh"])
def test_a_section_is_appended_and_every_byte_stays(
    tmp_path: Path, before: bytes, name: str
) -> None:
    blocks = {header("profile", name): SETTINGS}
    after = append_sections(before, blocks, path="config")
    assert after.startswith(before)
    assert append_sections(after, blocks, path="config") == after
    ends_with_crlf = b"\r\n" in before
    assert (after.count(b"\n") == after.count(b"\r\n")) is ends_with_crlf
    path = tmp_path / "config"
    path.write_bytes(after)
    found = load_config(str(path))["profiles"]
    assert found.pop(name) == {**SETTINGS, "s3": NESTED}
    path.write_bytes(before)
    assert found == load_config(str(path))["profiles"]


def test_a_profile_that_the_file_has_under_another_spelling_is_left_out() -> None:
    for before in (b'[profile "deploy-fresh"]\n', b"[profile  deploy-fresh]\n"):
        blocks = {"profile deploy-fresh": {"region": "x"}}
        assert append_sections(before, blocks, path="config") == before


def test_a_malformed_file_is_rejected_with_its_line() -> None:
    with pytest.raises(CredentialsFileMalformedError, match="config:2"):
        append_sections(b"[default]\nregion\n", {"profile x": {"region": "x"}}, path="config")


def test_sections_text_separates_sections_and_indents_nested_blocks() -> None:
    text = sections_text({"profile a": {"s3": NESTED}, "services x": {"region": "y"}})
    assert text == (
        "[profile a]\ns3 =\n  max_queue_size = 10\n  addressing_style = path\n\n"
        "[services x]\nregion = y\n"
    )


def test_settings_have_nothing_that_leads_to_credentials() -> None:
    settings = (
        "region output services endpoint_url ca_bundle use_fips_endpoint retry_mode s3 cli_pager "
        "sts_regional_endpoints use_dualstack_endpoint"
    )
    others = (
        "aws_access_key_id role_arn source_profile mfa_serial mfa_process sso_session "
        "credential_process web_identity_token_file session_tags transitive_session_tags "
        "include_profile granted_sso_region manager x_principal_arn my_password a_secret "
        "login_session external_id duration_seconds source_identity"
    )
    assert all(map(is_setting, settings.split()))
    assert not any(map(is_setting, others.split()))


def test_every_section_that_aws_tools_ignore_is_named_with_its_line() -> None:
    config = """\
[default]
region = a
[preview]
[plugins]
[services x]
[sso-session corp]
sso_region = b
[staging]
[profile two words]
[profile 'broken]
[profile default]
region = b
"""
    files = parse_aws_files((Path("config"), config.encode()), (Path("credentials"), b""))
    assert [(each.header, each.location.line) for each in files.ignored] == [
        ("staging", 8),
        ("profile two words", 9),
        ("profile 'broken", 10),
        ("default", 1),
    ]
    assert [each.reason for each in files.ignored][:2] == [
        "a profile of this file is written as [profile staging]",
        "a name with a blank or a quote has to be quoted: [profile 'two words']",
    ]
    assert files.profiles["default"].value("region") == "b"
    assert files.sso_sessions["corp"]["sso_region"].value == "b"
