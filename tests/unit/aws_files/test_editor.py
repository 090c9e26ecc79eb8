"""The editor of the credentials file's text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from botocore.configloader import raw_config_parse
from botocore.exceptions import ConfigParseError

from assumed.aws_files import RemoveCredentials, SetCredentials, edit, read
from assumed.aws_files.ownership import MANAGED_KEYS, is_long_term, is_managed
from assumed.errors import (
    CredentialsFileMalformedError,
    ProfileAmbiguousError,
    ProfileNotManagedError,
)
from assumed.models import Credentials
from tests.credentials_files import remove_profile, set_profile

PATH = "/home/kim/.aws/credentials"
NEW = Credentials(
    access_key_id="ASIANEWNEWNEWNEWNEWN",
    secret_access_key="new/secret+access/key",
    session_token="new/token+of/session==",
    expiration=datetime(2026, 11, 24, 13, 5, tzinfo=UTC),
    principal_arn="arn:aws:sts::222222222222:assumed-role/deploy/kim@laptop",
)
WRITTEN = {
    "aws_access_key_id": "ASIANEWNEWNEWNEWNEWN",
    "aws_secret_access_key": "new/secret+access/key",
    "aws_session_token": "new/token+of/session==",
    "aws_account_id": "222222222222",
    "x_security_token_expires": "2026-11-24T13:05:00Z",
    "x_principal_arn": "arn:aws:sts::222222222222:assumed-role/deploy/kim@laptop",
    "manager": "assumed",
}
SECTION = b"[deploy]\n" + b"".join(f"{k} = {v}\n".encode() for k, v in WRITTEN.items())
LONG_TERM = b"[deploy]\naws_access_key_id = AKIAOLDOLDOLDOLDOLDO\naws_secret_access_key = old\n"
TEMPORARY = (
    b"[deploy]\naws_access_key_id = ASIAOLDOLDOLDOLDOLDO\naws_secret_access_key = old\n"
    b"aws_session_token = old\n"
)


def put(data: bytes, profile: str = "deploy", *, overwrite: bool = False) -> bytes:
    return set_profile(data, profile, NEW, overwrite=overwrite, path=PATH)


def remove(data: bytes, profile: str = "deploy") -> bytes:
    return remove_profile(data, profile, path=PATH)


def as_botocore_reads(data: bytes, directory: Path) -> Mapping[str, Mapping[str, str]] | None:
    """Return the sections, or None if botocore rejects the file."""
    file = directory / "credentials"
    file.write_bytes(data)
    try:
        raw_config_parse(str(file))
    except ConfigParseError:
        return None
    sections: Mapping[str, Mapping[str, str]] = raw_config_parse(str(file), parse_subsections=False)
    return sections


# Set


def test_edit_of_an_empty_file_adds_a_section_with_every_managed_key() -> None:
    assert put(b"") == SECTION
    assert tuple(WRITTEN) == MANAGED_KEYS


def test_edit_writes_an_expiration_of_another_zone_in_utc() -> None:
    elsewhere = NEW.expiration.astimezone(timezone(timedelta(hours=5, minutes=30)))

    data = set_profile(b"", "deploy", replace(NEW, expiration=elsewhere), path=PATH)

    assert data == SECTION


@pytest.mark.parametrize("bad", ["", "two words", "line\nfeed", "é"])
def test_edit_raises_value_error_for_a_credential_that_the_file_cannot_hold(bad: str) -> None:
    with pytest.raises(ValueError, match="aws_session_token is empty, or not printable ASCII"):
        set_profile(b"", "deploy", replace(NEW, session_token=bad), path=PATH)


def test_edit_replaces_values_in_place_and_adds_keys_after_the_last_managed_one() -> None:
    data = (
        b"# mine\n\n[deploy]  # the role\nregion=eu-west-1\naws_secret_access_key=old\n\n"
        b"aws_session_token\t=  old  \n; a note\noutput = json\naws_access_key_id = ASIAOLD\n"
        b"s3 =\n    max_queue_size = 5\n[other]\nk = v\n"
    )

    assert put(data) == (
        b"# mine\n\n[deploy]  # the role\nregion=eu-west-1\n"
        b"aws_secret_access_key=new/secret+access/key\n\n"
        b"aws_session_token\t=  new/token+of/session==\n; a note\noutput = json\n"
        b"aws_access_key_id = ASIANEWNEWNEWNEWNEWN\n"
        b"aws_account_id = 222222222222\n"
        b"x_security_token_expires = 2026-11-24T13:05:00Z\n"
        b"x_principal_arn = arn:aws:sts::222222222222:assumed-role/deploy/kim@laptop\n"
        b"manager = assumed\n"
        b"s3 =\n    max_queue_size = 5\n[other]\nk = v\n"
    )


def test_edit_adds_the_first_keys_of_a_section_right_below_its_header() -> None:
    data = b"[deploy]\n# a note\n  region =\n  s3 =\n    a = b\n[other]\n"

    assert put(data).startswith(b"[deploy]\n  aws_access_key_id = ASIANEWNEWNEWNEWNEWN\n"), (
        "indented like the next line, which would otherwise continue the new value"
    )
    assert put(data).endswith(b"# a note\n  region =\n  s3 =\n    a = b\n[other]\n")


def test_edit_removes_the_legacy_token_which_botocore_would_prefer() -> None:
    data = TEMPORARY + b"aws_security_token = old\nregion = eu-west-1\n"

    section = read(put(data), path=PATH)["deploy"]

    assert section == {**WRITTEN, "region": "eu-west-1"}


def test_edit_rewrites_keys_that_only_botocore_reads() -> None:
    data = b"[deploy]\r\n AWS_Access_Key_ID: ASIAOLD\r\n aws_session_token: old\r\n"

    assert put(data).startswith(
        b"[deploy]\r\n aws_access_key_id = ASIANEWNEWNEWNEWNEWN\r\n"
        b" aws_session_token = new/token+of/session==\r\n aws_secret_access_key = "
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", SECTION),
        (b"\n", b"\n" + SECTION),
        (b"# only this\n", b"# only this\n" + SECTION),
        (b"[a]\nk = v", b"[a]\nk = v\n" + SECTION.removesuffix(b"\n")),
        (b"[a]\r\nk = v\r\n", b"[a]\r\nk = v\r\n" + SECTION.replace(b"\n", b"\r\n")),
        (
            b"[a]\r\nk = v",
            b"[a]\r\nk = v\r\n" + SECTION.replace(b"\n", b"\r\n").removesuffix(b"\r\n"),
        ),
    ],
    ids=["empty", "blank", "comment", "no end of line", "CRLF", "CRLF, no end of line"],
)
def test_edit_keeps_the_line_ends_of_the_file_and_removal_restores_it(
    before: bytes, after: bytes
) -> None:
    assert put(before) == after
    assert remove(after) == before


def test_edit_adds_no_line_end_to_the_last_line() -> None:
    assert put(b"[deploy]") == SECTION.removesuffix(b"\n")
    assert put(b"[a]\r\n[deploy]\r\naws_session_token=x").endswith(b"\r\nmanager = assumed")


def test_edit_with_the_same_credentials_changes_nothing() -> None:
    data = put(b"[a]\nk = v\n\n" + TEMPORARY + b"\n# end")

    assert put(data) == data


# Ownership


@pytest.mark.parametrize("mark", [b"", b"manager = assumed\naws_session_token = left-over\n"])
def test_edit_rejects_long_term_keys_with_the_yaml_to_add(mark: bytes) -> None:
    with pytest.raises(ProfileNotManagedError) as caught:
        put(b"# x\n" + LONG_TERM + mark)

    assert caught.value.message == f"{PATH}:2: profile deploy holds long-term keys"
    assert caught.value.hint.endswith("\nprofiles:\n  deploy:\n    overwrite: true")


def test_edit_with_overwrite_replaces_long_term_keys_and_returns_them() -> None:
    result = edit(LONG_TERM, {"deploy": SetCredentials(NEW, overwrite=True)}, path=PATH)

    assert read(result.data, path=PATH)["deploy"] == WRITTEN
    assert result.replaced_keys == {
        "deploy": {"aws_access_key_id": "AKIAOLDOLDOLDOLDOLDO", "aws_secret_access_key": "old"}
    }
    assert result.taken_over == ()


@pytest.mark.parametrize(
    ("mark", "tool"),
    [
        (b"manager = awsume", "awsume"),
        (b"autoawsume = true", "awsume"),
        (b"granted_sso_account_id = 222222222222", "granted"),
        (b"credential_process = granted credential-process --profile deploy", "granted"),
        (b"x_security_token_expires = 2026-11-24T13:05:00+01:00", "saml2aws"),
        (b"x_principal_arn = arn:aws:sts::222222222222:assumed-role/a/b", "saml2aws"),
        (b"manager = aws secret", "another tool"),
    ],
)
def test_edit_rejects_the_profile_of_another_tool_without_overwrite(mark: bytes, tool: str) -> None:
    data = TEMPORARY + mark + b"\n"

    with pytest.raises(ProfileNotManagedError, match=f"profile deploy is managed by {tool}"):
        put(data)
    assert is_managed(read(put(data, overwrite=True), path=PATH)["deploy"])


def test_edit_takes_over_unmarked_temporary_credentials_and_reports_it() -> None:
    result = edit(TEMPORARY, {"deploy": SetCredentials(NEW), "new": SetCredentials(NEW)}, path=PATH)

    assert result.taken_over == ("deploy",)
    assert read(result.data, path=PATH)["deploy"] == WRITTEN
    assert edit(result.data, {"deploy": SetCredentials(NEW)}, path=PATH).taken_over == ()


def test_edit_fills_a_section_with_settings_only() -> None:
    result = edit(b"[deploy]\nregion = eu-west-1\n", {"deploy": SetCredentials(NEW)}, path=PATH)

    assert result.taken_over == ()
    assert read(result.data, path=PATH)["deploy"] == {**WRITTEN, "region": "eu-west-1"}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({}, False),
        ({"region": "eu-west-1"}, False),
        ({"aws_access_key_id": "AKIAX", "aws_secret_access_key": "x"}, True),
        ({"aws_access_key_id": "AKIAX", "aws_session_token": "left over"}, True),
        ({"aws_access_key_id": "ASIAX", "aws_secret_access_key": "x"}, False),
        ({"aws_access_key_id": "minio", "aws_secret_access_key": "x"}, True),
        ({"aws_secret_access_key": "x"}, True),
        ({"aws_access_key_id": "LSIAX", "aws_session_token": "x"}, False),
        ({"aws_access_key_id": "x", "aws_security_token": "x"}, False),
    ],
)
def test_is_long_term_depends_on_the_prefix_or_the_missing_token(
    section: dict[str, str], *, expected: bool
) -> None:
    assert is_long_term(section) is expected


def test_edit_changes_the_other_profiles_if_one_is_rejected() -> None:
    changes = {"deploy": SetCredentials(NEW), "second": SetCredentials(NEW)}

    result = edit(LONG_TERM, changes, path=PATH)

    assert list(result.rejected) == ["deploy"]
    assert result.data == LONG_TERM + SECTION.replace(b"[deploy]", b"[second]")


def test_edit_returns_the_same_bytes_if_every_profile_is_rejected() -> None:
    assert edit(LONG_TERM, {"deploy": SetCredentials(NEW)}, path=PATH).data is not None
    assert edit(LONG_TERM, {"deploy": SetCredentials(NEW)}, path=PATH).data == LONG_TERM


# Remove


def test_removal_takes_only_the_managed_keys() -> None:
    data = SECTION.replace(b"manager", b"region = eu-west-1\n# mine\nmanager") + b"[a]\nk=v\n"

    assert remove(data) == b"[deploy]\nregion = eu-west-1\n# mine\n[a]\nk=v\n"


def test_removal_leaves_an_unmanaged_section_alone() -> None:
    for data in (LONG_TERM, TEMPORARY, b"[deploy]\n", b"[a]\nk=v\n"):
        assert remove(data) == data


def test_removal_keeps_long_term_keys_written_into_a_managed_section() -> None:
    data = put(b"").replace(b"ASIANEWNEWNEWNEWNEWN", b"AKIAMINE").replace(b"new/secret", b"mine")

    section = read(remove(data), path=PATH)["deploy"]

    assert section == {
        "aws_access_key_id": "AKIAMINE",
        "aws_secret_access_key": "mine+access/key",
    }


def test_removal_keeps_an_empty_section_with_a_comment() -> None:
    assert remove(SECTION.replace(b"[deploy]", b"[deploy] # mine")) == b"[deploy] # mine\n"
    assert remove(SECTION.replace(b"manager", b"# mine\nmanager")) == b"[deploy]\n# mine\n"
    assert remove(SECTION + b"# of the next\n[a]\n") == b"# of the next\n[a]\n"


def test_removal_keeps_a_header_if_a_line_below_would_continue_the_value_above() -> None:
    indented = SECTION.replace(b"\n", b"\n  ")
    data = b"[a]\nk = v\n" + indented + b"[b]\n  k = w\n"

    assert read(remove(data), path=PATH) == {"a": {"k": "v"}, "deploy": {}, "b": {"k": "w"}}


def test_edit_reports_the_removed_profiles() -> None:
    data = SECTION + SECTION.replace(b"[deploy]", b"[second]") + b"[a]\nk = v\n"

    result = edit(
        data,
        {"deploy": RemoveCredentials(), "second": RemoveCredentials(), "a": RemoveCredentials()},
        path=PATH,
    )

    assert (result.data, result.removed) == (b"[a]\nk = v\n", ("deploy", "second"))


# Malformed and ambiguous files


@pytest.mark.parametrize(
    ("data", "line", "problem"),
    [
        (b"\xef\xbb\xbf[a]\nk = v\n", 1, "byte order mark"),
        (b"[a]\nk = v\nname = caf\xe9\n", 3, "not UTF-8"),
        (b"[a]\nk = v\0\n", 2, "NUL"),
        (b"[a]\nk = v\rl = w\n", 2, "carriage return"),
        (b"[a]\nk = v\r", 2, "carriage return"),
        (b"[a]\r\r\nk = v\n", 1, "carriage return"),
        (b"# x\nk = v\n[a]\n", 2, r"before the first \[section\]"),
        (b"[a]\n[b]\n\n[a]\n", 4, r"duplicate section \[a\]; the first is on line 1"),
        (b"[a]\nregion = v\nREGION = w\n", 3, "duplicate key region"),
        (b"[a]\nk = v\nAKIAX\n", 3, "not `key = value`"),
        (b"[a]\n = v\n", 2, "not `key = value`"),
        (b"[]\n", 1, r"before the first \[section\]"),
        (b"[a]\n[]\n", 2, "not `key = value`"),
        (b"[a]\nk = v\n[b\n", 3, "not `key = value`"),
        (b"[a]\ns3 =\n  x = y\n  z\n", 2, "nested block"),
        (b"[a]\naws_session_tok", 2, "not `key = value`"),
    ],
)
def test_a_malformed_file_is_rejected_with_its_line(data: bytes, line: int, problem: str) -> None:
    for attempt in (lambda: read(data, path=PATH), lambda: put(data), lambda: remove(data)):
        with pytest.raises(CredentialsFileMalformedError, match=problem) as caught:
            attempt()
        assert caught.value.message.startswith(f"{PATH}:{line}: ")
        assert caught.value.hint


def test_no_message_repeats_a_possible_secret() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    for data in (f"[a]\n{secret}\n", f"[a]\n{secret}=\n{secret}:\n", f"{secret} = x\n"):
        with pytest.raises(CredentialsFileMalformedError) as caught:
            read(data.encode(), path=PATH)
        shown = caught.value.message + caught.value.hint + repr(caught.value)
        assert secret.lower() not in shown.lower()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"[deploy]\naws_session_token = x\n  region = eu-west-1\n", 3),
        (b"[DEFAULT]\naws_security_token = x\n", 2),
        (b"[a]\n[deploy] # see [prod]\naws_session_token = x\n", 2),
        (b"[a]\n[ deploy ]\naws_session_token = x\n", 2),
        (b"[deploy]x\naws_session_token = x\n", 1),
        (b"[deploy]\n  region =\n  aws_session_token = x\n", 1),
        (b"[deploy]\nname = x\n  aws_session_token = y\n", 3),
        (b"[deploy]\nregion = x\n[a]\nname = x\n  [deploy]\n  aws_access_key_id = y\n", 6),
    ],
    ids=[
        "a managed key is continued",
        "a token for every profile",
        "a header with more brackets",
        "a header with spaces",
        "a header with text after it",
        "an indented key below an empty one",
        "an indented key below another",
        "an indented header",
    ],
)
def test_edit_rejects_a_section_that_sdks_read_differently_with_its_line(
    data: bytes, line: int
) -> None:
    with pytest.raises(ProfileAmbiguousError) as caught:
        put(data)
    assert caught.value.message.startswith(f"{PATH}:{line}: profile deploy: ")
    assert caught.value.hint


@pytest.mark.parametrize(
    "name",
    ["", "a]", "[a", " a", "a ", '"a"', "a\nb", "a #b", "DEFAULT", "__proto__", "profile a", "a b"],
)
def test_edit_rejects_a_name_that_no_header_can_hold(name: str) -> None:
    with pytest.raises(ProfileAmbiguousError):
        put(b"", name)


@pytest.mark.parametrize(
    "name", ["default", "a b c", "a.b", "kim@team/prod", "grün", "a#b", "x:y=z"]
)
def test_edit_writes_any_other_name(name: str, tmp_path: Path) -> None:
    assert as_botocore_reads(put(b"", name), tmp_path) == {name: WRITTEN}


# Properties


# Cost


def test_edit_changes_a_thousand_profiles_in_one_pass() -> None:
    names = [f"team-{number}" for number in range(1000)]
    data = b"".join(SECTION.replace(b"deploy", name.encode(), 1) for name in names)
    newer = replace(NEW, session_token="newer")
    few, many = (
        {name: SetCredentials(newer) for name in names[:10]},
        {name: SetCredentials(newer) for name in names},
    )

    def took(changes: Mapping[str, SetCredentials]) -> float:
        start = time.process_time()
        edit(data, changes, path=PATH)
        return time.process_time() - start

    # Work on the whole file for each profile would take a hundred times as long.
    assert min(took(many) for _ in range(3)) < 10 * min(took(few) for _ in range(3))
