"""The rules that the SDKs for Rust, Java, Kotlin and C share."""

from __future__ import annotations

import pytest

from assumed.aws_files import edit
from assumed.aws_files.editor import RemoveCredentials, SetCredentials
from assumed.aws_files.sdk_dialects import SharedReader, read_like_shared_sdks
from assumed.errors import ProfileAmbiguousError
from tests.credentials_files import credentials, set_profile, written

STRICT, LENIENT = SharedReader
KEYS = "\n".join(f"{key} = {value}" for key, value in written().items())


def values(text: str) -> dict[str, dict[str, str]]:
    return {
        name: {key: value for key, (value, _) in section.items()}
        for name, section in read_like_shared_sdks(text.split("\n"), None).sections.items()
    }


@pytest.mark.parametrize(
    ("below_header", "read"),
    [
        ("k = v", {"k": "v"}),
        ("k\t=  a=b \t", {"k": "a=b"}),
        ("k = v\r", {"k": "v"}),
        ("Key = v", {"key": "v"}),
        ("k = v # note\nj = v#1 ;2", {"k": "v", "j": "v#1"}),
        ("k = 1\nK = 2", {"k": "2"}),
        ("k = v\n  more # kept \n\n# skipped\n\tlast", {"k": "v\nmore # kept\nlast"}),
        ("k = v\n  # note", {"k": "v\n# note"}),
        ("k = v\n  [z]", {"k": "v\n[z]"}),
        ("s3 =\n  a = b\n \n  c =", {"s3": "\na = b\nc ="}),
        ("k = v\n[ p ] ; same\nj = w", {"k": "v", "j": "w"}),
    ],
)
def test_shared_rules_read_keys_and_their_continuation(
    below_header: str, read: dict[str, str]
) -> None:
    assert values(f"[p]\n{below_header}") == {"p": read}
    assert not read_like_shared_sdks(f"[p]\n{below_header}".split("\n"), None).rejected


@pytest.mark.parametrize(
    ("text", "line", "problem", "kinds"),
    [
        ("  # note\n[p]", 1, "an indented comment above the first header", {STRICT, LENIENT}),
        ("[p]\n  k = v", 2, "an indented line with no key above it", {STRICT, LENIENT}),
        ("[p]\nk = v\n[p]\n  # x", 4, "an indented comment with no key", {STRICT, LENIENT}),
        ("[p]\ns3 =\n  # x\n  a = b", 3, "an indented comment in a nested", {STRICT, LENIENT}),
        ("[p]\ns3 =\n  = b", 3, "an indented line in a nested block", {STRICT, LENIENT}),
        ("[p]\nk:v", 2, "a line that is not `key = value`", {STRICT, LENIENT}),
        ("[p]\nk : v", 2, "a line that is not `key = value`", {STRICT}),
        ("[p]\n\x0c\nk = v", 2, "a line that is not `key = value`", {STRICT}),
        ("[p] x\nk = v", 1, "text behind a header", {STRICT}),
        ("[p#1]\nk = v", 1, "a header without `]`", {STRICT, LENIENT}),
        ("[a b]\nk = v\n  # x", 3, "an indented comment below a name", {LENIENT}),
        ("[p]\na key = v\n  x", 3, "an indented line below a name", {LENIENT}),
    ],
)
def test_shared_rules_reject_a_file_because_of_one_line(
    text: str, line: int, problem: str, kinds: set[SharedReader]
) -> None:
    rejected = read_like_shared_sdks(text.split("\n"), None).rejected

    assert rejected.keys() == kinds
    for kind in kinds:
        assert rejected[kind].index == line - 1
        assert rejected[kind].problem.startswith(problem)


def test_each_kind_of_sdk_stops_at_its_own_line() -> None:
    rejected = read_like_shared_sdks(["[p] x", "k : v", "[q]", "  # x"], None).rejected

    assert (rejected[STRICT].index, rejected[LENIENT].index) == (0, 3)


@pytest.mark.parametrize("blank", [b"", b"\n", b"# a note at the margin\n"])
def test_edit_rejects_an_indented_comment_below_a_key_that_it_writes(blank: bytes) -> None:
    data = b"[deploy]\naws_access_key_id = ASIAOLD\n" + blank + b"  # mine\nmanager = assumed\n"
    line = 3 + blank.count(b"\n")

    with pytest.raises(ProfileAmbiguousError, match=rf"^f:{line}: profile deploy: .*Rust, Java"):
        set_profile(data, "deploy", credentials(), path="f")
    removed = edit(data, {"deploy": RemoveCredentials()}, path="f")
    assert removed.data == data
    assert removed.rejected.keys() == {"deploy"}, "the comment would continue another value"


def test_edit_adds_keys_below_an_indented_comment_which_then_continues_none_of_them() -> None:
    data = b"[deploy]\n# one\n  # two\n\nregion = eu-west-1\n"

    assert set_profile(data, "deploy", credentials(), path="f") == (
        b"[deploy]\n# one\n  # two\n" + KEYS.encode() + b"\n\nregion = eu-west-1\n"
    )


def test_removal_keeps_a_header_that_an_indented_comment_below_needs() -> None:
    data = b"[a]\nk = v\n[deploy]\n  manager = assumed\n\n  # two\n"

    assert edit(data, {"deploy": RemoveCredentials()}, path="f").data == (
        b"[a]\nk = v\n[deploy]\n\n  # two\n"
    )


def test_removal_keeps_a_header_if_the_next_one_is_none_for_javascript() -> None:
    data = b"[a]\nk = v\n[deploy]\nmanager = assumed\n[second] x\nregion = eu-west-1\n"

    assert edit(data, {"deploy": RemoveCredentials()}, path="f").data == data.replace(
        b"manager = assumed\n", b""
    )


@pytest.mark.parametrize(
    "data",
    [
        b"[z]\nk = v\n[deploy] x\nmanager = assumed\n",
        b"[deploy]\nk = v\n  [z]\nmanager = assumed\n",
    ],
)
def test_removal_rejects_a_section_that_javascript_does_not_see_alike(data: bytes) -> None:
    result = edit(data, {"deploy": RemoveCredentials()}, path="f")

    assert result.data == data
    assert result.rejected.keys() == {"deploy"}


@pytest.mark.parametrize("old", ["old  ", "old\t", "old\u00a0", "old\x0b"])
def test_edit_leaves_no_blanks_behind_a_value(old: str) -> None:
    data = f"[deploy]\naws_access_key_id = ASIA{old}\nmanager = assumed \n".encode()

    lines = set_profile(data, "deploy", credentials(), path="f").decode().split("\n")

    assert lines[1] == f"aws_access_key_id = {written()['aws_access_key_id']}"
    assert all(line == line.rstrip() for line in lines)


def test_edit_rewrites_a_key_with_another_space_than_these_sdks_know() -> None:
    data = "[deploy]\naws_access_key_id\u00a0= ASIAOLD\nmanager = assumed\n".encode()

    assert values(set_profile(data, "deploy", credentials(), path="f").decode()) == {
        "deploy": written()
    }


def test_edit_rejects_a_profile_that_a_padded_header_sets_again() -> None:
    data = b"[deploy]\nmanager = assumed\n[ deploy ]\naws_access_key_id = AKIAOTHER\n"
    change = {"deploy": SetCredentials(credentials())}

    assert edit(data, change, path="f").rejected.keys() == {"deploy"}


def test_edit_accepts_an_indented_profile_of_which_these_sdks_read_nothing() -> None:
    data = b"[deploy]\n  manager = assumed\n  # mine\n"

    assert b"  aws_access_key_id = ASIANEW" in set_profile(data, "deploy", credentials(), path="f")
