"""The profiles NAME-live that assumed keeps in both AWS files."""

from __future__ import annotations

import pytest

from assumed.aws_files.adoption import AwsFileKind
from assumed.aws_files.process_profiles import MARK, edit_process_profiles, kept_profiles
from assumed.errors import CredentialsFileMalformedError, ProfileAmbiguousError

CONFIG, CREDENTIALS = AwsFileKind
COMMAND = {"credential_process": "/bin/assumed export-credentials --profile a"}
WANTED = {"a-live": {**COMMAND, "region": "eu-west-1"}}
KEYS = (
    f"{MARK}\ncredential_process = {COMMAND['credential_process']}\nregion = eu-west-1\n".encode()
)
BLOCK = b"[profile a-live]\n" + KEYS

FILES = [
    b"",
    b"[default]\nregion = eu-west-1\n",
    b"[default]\nregion = eu-west-1",
    b"[default]\r\nregion = eu-west-1\r\n",
    b"# only a note\n\n",
    b"[services s]\ns3 =\n  a = b\n\n\n",
    b"[profile a]\nrole_arn = x\n  # an indented note",
]


def edit(data: bytes, wanted: object = WANTED, kind: AwsFileKind = CONFIG) -> bytes:
    return edit_process_profiles(data, kind, wanted, path="f").data  # type: ignore[arg-type]


@pytest.mark.parametrize("data", FILES)
def test_profiles_are_added_at_the_end_and_removed_without_a_trace(data: bytes) -> None:
    added = edit(data)

    assert added.startswith(data)
    assert added.replace(b"\r", b"").endswith(BLOCK)
    assert added.count(b"\r\n") in {0, added.count(b"\n")}
    assert kept_profiles(added, CONFIG, path="f") == {"a-live": COMMAND["credential_process"]}
    assert edit(added) == added
    ended = data if not data or data.endswith(b"\n") else data + b"\n"
    assert edit(added, {}) == ended


def test_a_profile_of_the_credentials_file_has_no_prefix() -> None:
    assert edit(b"", {"a-live": COMMAND}, CREDENTIALS).startswith(b"[a-live]\n")


def test_names_that_need_quotes_in_the_config_file_have_them() -> None:
    assert edit(b"", {"a b-live": COMMAND}).startswith(b"[profile 'a b-live']\n")


def test_a_new_command_replaces_the_old_one_in_place() -> None:
    data = b"[x]\nk = v\n\n" + BLOCK.replace(b"/bin", b"/old") + b"\n[profile y]\nk = v\n"

    assert edit(data) == data.replace(b"/old", b"/bin")


def test_only_the_profiles_that_are_not_wanted_are_removed() -> None:
    both = edit(b"", {"a-live": WANTED["a-live"], "b-live": COMMAND})

    result = edit_process_profiles(both, CONFIG, WANTED, path="f")

    assert (result.removed, result.written) == (("b-live",), ())
    assert result.data == BLOCK
    assert edit_process_profiles(both, CONFIG, {}, stays={"a-live"}, path="f").data == BLOCK


@pytest.mark.parametrize("header", [b"[profile a-live]", b"[profile 'a-live']"])
def test_a_profile_of_the_user_stays_as_it_is(header: bytes) -> None:
    data = header + b"\ncredential_process = mine\n"

    result = edit_process_profiles(data, CONFIG, WANTED, path="f")

    assert result.data == data
    assert result.foreign == ("a-live",)
    assert edit(data, {}) == data


def test_what_the_user_adds_to_a_kept_profile_stays() -> None:
    data = BLOCK + b"output = json\n# mine\n"

    assert edit(data) == data
    assert edit(data, {}) == b"[profile a-live]\noutput = json\n# mine\n"


def test_a_removal_that_would_change_another_value_is_rejected() -> None:
    data = b"[profile x]\nk = v\n" + BLOCK.replace(b"[profile a-live]\n", b"")

    assert edit(data, {}) == data, "the mark is below another key"
    with pytest.raises(ProfileAmbiguousError):
        edit(b"[profile x]\nk = v\n" + BLOCK + b"[profile z] y\nj = w\n", {})


def test_a_file_that_botocore_cannot_read_is_rejected() -> None:
    with pytest.raises(CredentialsFileMalformedError):
        edit(b"k = v\n")
