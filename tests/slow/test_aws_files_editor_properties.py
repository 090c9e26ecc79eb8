"""Properties of what tests/unit/aws_files/test_editor.py tests by example."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assumed.aws_files import read
from assumed.aws_files.ownership import MANAGED_KEYS
from assumed.errors import (
    CredentialsFileMalformedError,
    ProfileAmbiguousError,
    ProfileNotManagedError,
)
from tests.unit.aws_files.test_editor import (
    PATH,
    WRITTEN,
    as_botocore_reads,
    put,
    remove,
)

LINES = st.sampled_from(
    (
        "[a]",
        "[deploy]",
        " [deploy]",
        "[deploy] # the [role]",
        "[DEFAULT]",
        "[ c ]",
        "aws_access_key_id = ASIAX",
        "AWS_SECRET_ACCESS_KEY: x",
        "aws_session_token=tok ; x",
        "  aws_session_token = t2",
        "aws_security_token = z",
        "# comment",
        "  ; comment",
        "",
        "  ",
        "s3 =",
        "  max = 3",
        "\tx=1",
        "region",
        "k = v # c",
        "manager = assumed",
        "  [q]",
        "\x0c",
        "k\u00a0= é",
        "x: y=z",
        "[]",
        "[a]b]",
    )
)


FILES = st.builds(
    lambda head, lines, end, last: (end.join([*head, *lines]) + (end if last else "")).encode(),
    st.sampled_from(([], ["[deploy]"], ["[a]"], ["[a]", "k = v", "", "[b]", "region = x"])),
    st.lists(LINES, max_size=8),
    st.sampled_from(("\n", "\r\n")),
    st.booleans(),
)


@given(data=FILES)
def test_read_of_any_file_returns_what_botocore_reads(data: bytes, directory: Path) -> None:
    expected = as_botocore_reads(data, directory)
    if expected == {}:
        # botocore ignores [DEFAULT] if no section inherits from it.
        return
    if expected is None:
        with pytest.raises(CredentialsFileMalformedError):
            read(data, path=PATH)
    else:
        assert read(data, path=PATH) == expected


@example(data=b"[deploy]\n\naws_security_token = z", overwrite=False)
@example(data=b"[deploy]\r\n\r\naws_security_token = z", overwrite=False)
@given(data=FILES, overwrite=st.booleans())
def test_edit_of_any_file_changes_only_the_managed_keys(
    data: bytes, directory: Path, *, overwrite: bool
) -> None:
    try:
        edited = put(data, overwrite=overwrite)
    except (CredentialsFileMalformedError, ProfileNotManagedError, ProfileAmbiguousError):
        return
    before, after = read(data, path=PATH), as_botocore_reads(edited, directory)

    assert after is not None
    assert {key: after["deploy"][key] for key in WRITTEN} == WRITTEN
    inherited = read(data + b"\n[probe]\n", path=PATH)["probe"]
    foreign = {**inherited, **before.get("deploy", {})}
    foreign.pop("aws_security_token", None)
    assert after == {**before, "deploy": foreign | WRITTEN}
    assert foreign_lines(edited) == foreign_lines(data), "every other line stays, byte for byte"
    assert put(edited, overwrite=overwrite) == edited, "twice is once"


@given(data=FILES)
def test_removal_restores_any_file_if_the_section_was_new(
    data: bytes,
) -> None:
    try:
        if "deploy" in read(data, path=PATH):
            return
        edited = put(data)
    except (CredentialsFileMalformedError, ProfileAmbiguousError):
        return

    assert remove(edited) == data


def foreign_lines(data: bytes) -> list[bytes]:
    """Return the lines of a file that are neither a managed key of [deploy] nor its header."""
    kept, section = [], ""
    for line in data.splitlines():
        text = line.decode().strip()
        if text.startswith("[") and "]" in text[2:] and not line.startswith(b"  "):
            section = text[1 : text.rfind("]")]
        key = text.replace(":", "=").split("=")[0].strip().lower()
        is_managed_key = key in MANAGED_KEYS or key == "aws_security_token"
        if section != "deploy" or (not is_managed_key and text != "[deploy]"):
            kept.append(line)
    return kept
