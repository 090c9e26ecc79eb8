"""Properties of the editor, for every file that botocore can read and every edit of it.

The files are generated section by section: each one is readable, and for each line it is known
whether it is a managed key. tests/unit/aws_files/test_editor.py has files of arbitrary lines.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assumed.aws_files import Change, EditResult, RemoveCredentials, SetCredentials, edit, read
from assumed.aws_files.ownership import LONG_TERM_KEYS, MANAGED_KEYS, is_long_term, is_managed
from assumed.aws_files.sdk_dialects import read_like_javascript
from assumed.errors import ProfileAmbiguousError
from tests.credentials_files import (
    as_botocore_reads,
    credentials,
    remove_profile,
    set_profile,
    written,
)

PATH = "credentials"
STALE = "aws_security_token"
PROFILES = ("deploy", "second", "default")

_WRITTEN = {item for number in range(6) for item in written(number).items()}


@dataclass(frozen=True)
class Line:
    """A line of a generated file; `key` is the managed key on it, if there is one."""

    text: str
    profile: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class File:
    """A generated file: its lines and their line end."""

    lines: tuple[Line, ...]
    end: str
    is_ended: bool

    @property
    def data(self) -> bytes:
        text = self.end.join(line.text for line in self.lines)
        return f"{text}{self.end if self.is_ended and self.lines else ''}".encode()

    def foreign(self, written: Mapping[str, Collection[str]]) -> list[bytes]:
        """Return all lines but those of these keys, by profile."""
        lines = [
            line.text.encode()
            for line in self.lines
            if line.key is None or line.key not in written.get(line.profile or "", ())
        ]
        # An empty last line without a line end is not a line.
        return lines[:-1] if lines and self.lines[-1].text == "" and not self.is_ended else lines


_words = st.text(st.sampled_from("abz019-_./+é個"), min_size=1, max_size=8)
_values = st.one_of(
    _words,
    st.sampled_from(("a=b", "x: y", '"quoted"', "a b", "%(x)s", "a ; b", "a # b", "", "[a]", "=")),
)
_asides = st.one_of(
    st.sampled_from(("", "", "  ", "\t", "#", "# [deploy]", ";aws_session_token = x", "\x0c")),
    st.builds(lambda indent, word: f"{indent}# {word}", st.sampled_from(("", "  ")), _words),
)
_delimiters = st.sampled_from((" = ", "=", " =", "= ", "\t=\t", "   =  ", ": ", " : "))
_foreign_keys = ("region", "output", "x-note", "Role_Session_Name", "expiration", "s3", "clé")


@st.composite
def _sections(draw: st.DrawFn, profile: str) -> list[Line]:
    indent = draw(st.sampled_from(("", "", "", "  ", "\t")))
    lines = [Line(f"[{profile}]{draw(st.sampled_from(('', '', ' # mine', '  ')))}")]
    managed = draw(
        st.lists(st.sampled_from((*MANAGED_KEYS[:3], STALE, MANAGED_KEYS[3])), unique=True)
    )
    if draw(st.booleans()) and "manager" not in managed:
        managed.append("manager")
    keys = draw(st.permutations([*managed, *draw(st.sets(st.sampled_from(_foreign_keys)))]))
    for key in keys:
        lines += [Line(text) for text in draw(st.lists(_asides, max_size=2))]
        delimiter = draw(_delimiters)
        if key in {*MANAGED_KEYS, STALE}:
            shown = draw(st.sampled_from((key, key, key, key.upper())))
            value = {"manager": "assumed", "aws_access_key_id": "ASIAOLD"}.get(key, "old")
            trailing = draw(st.sampled_from(("", "", " ")))
            lines.append(Line(f"{indent}{shown}{delimiter}{value}{trailing}", profile, key))
        elif key == "s3":
            lines.append(Line(f"{indent}s3 ="))
            lines += [Line(f"{indent}    max_queue_size{delimiter.replace(':', '=')}5")]
        else:
            lines.append(Line(f"{indent}{key}{delimiter}{draw(_values)}"))
    return lines


@st.composite
def files(draw: st.DrawFn) -> File:
    names = draw(
        st.lists(
            st.sampled_from(("default", "deploy", "second", "a b", "équipe", "kim@team/x", "z")),
            unique=True,
            max_size=4,
        )
    )
    lines = [Line(text) for text in draw(st.lists(_asides, max_size=3))]
    for name in names:
        lines += draw(_sections(name))
    lines += [Line(text) for text in draw(st.lists(_asides, max_size=2))]
    return File(tuple(lines), draw(st.sampled_from(("\n", "\n", "\r\n"))), draw(st.booleans()))


_changes = st.dictionaries(
    st.sampled_from(PROFILES),
    st.one_of(
        st.builds(
            lambda number: SetCredentials(credentials(number), overwrite=True),
            st.integers(min_value=0, max_value=5),
        ),
        st.just(RemoveCredentials()),
    ),
    min_size=1,
)


def as_read(data: bytes, directory: Path) -> Mapping[str, Mapping[str, str]]:
    path = directory / "credentials"
    path.write_bytes(data)
    return as_botocore_reads(path)


def is_written_line(line: bytes) -> bool:
    """Whether a line is a managed key with one of the values that the tests write."""
    key, equals, value = line.decode().partition("=")
    return bool(equals) and (key.strip(), value.strip()) in _WRITTEN


def changed_keys(
    file: File, changes: Mapping[str, Change], result: EditResult
) -> dict[str, set[str]]:
    """Return the keys that the changes must write or remove, by profile."""
    before = read(file.data, path=PATH)
    keys = {}
    for profile in changes.keys() - result.rejected.keys():
        section = before.get(profile, {})
        if isinstance(changes[profile], SetCredentials):
            keys[profile] = {*MANAGED_KEYS, STALE}
        elif is_managed(section):
            kept = LONG_TERM_KEYS if is_long_term(section) else ()
            keys[profile] = {*MANAGED_KEYS, STALE}.difference(kept)
    return keys


@given(file=files())
def test_read_returns_what_botocore_reads(file: File, directory: Path) -> None:
    assert read(file.data, path=PATH) == as_read(file.data, directory)


@given(file=files(), changes=_changes)
def test_edit_keeps_all_other_lines_byte_for_byte_in_their_order(
    file: File, changes: dict[str, Change]
) -> None:
    result = edit(file.data, changes, path=PATH)

    lines = result.data.split(b"\n")
    headers = {f"[{profile}]".encode() for profile in changes}
    kept = [line.removesuffix(b"\r") for line in (lines if lines[-1] else lines[:-1])]
    foreign = file.foreign(changed_keys(file, changes, result))

    def known(lines: list[bytes]) -> list[bytes]:
        return [line for line in lines if line.strip() not in headers and not is_written_line(line)]

    assert known(kept) == known(foreign)
    assert result.data.count(b"\r\n") in {0, result.data.count(b"\n")}


@given(file=files(), changes=_changes)
def test_botocore_reads_the_intended_values_and_all_others_as_before(
    file: File, changes: dict[str, Change], directory: Path
) -> None:
    before = read(file.data, path=PATH)

    result = edit(file.data, changes, path=PATH)

    intended = {name: dict(section) for name, section in before.items()}
    for profile, keys in changed_keys(file, changes, result).items():
        change = changes[profile]
        remaining = {k: v for k, v in intended.get(profile, {}).items() if k not in keys}
        intended[profile] = remaining
        if isinstance(change, SetCredentials):
            intended[profile] |= written(int(change.credentials.access_key_id[-1]))
        elif not remaining and profile not in read(result.data, path=PATH):
            del intended[profile]
    assert as_read(result.data, directory) == intended


@given(file=files(), changes=_changes)
def test_edit_twice_is_edit_once(file: File, changes: dict[str, Change]) -> None:
    once = edit(file.data, changes, path=PATH)

    assert edit(once.data, changes, path=PATH).data == once.data


@given(file=files(), changes=_changes)
def test_edit_of_all_profiles_equals_edits_one_after_the_other(
    file: File, changes: dict[str, Change]
) -> None:
    one_by_one = file.data
    for profile, change in changes.items():
        one_by_one = edit(one_by_one, {profile: change}, path=PATH).data

    assert read(one_by_one, path=PATH) == read(edit(file.data, changes, path=PATH).data, path=PATH)


@given(file=files(), changes=_changes)
def test_a_rejected_profile_reads_as_before(file: File, changes: dict[str, Change]) -> None:
    result = edit(file.data, changes, path=PATH)
    before, after = read(file.data, path=PATH), read(result.data, path=PATH)

    for profile, refusal in result.rejected.items():
        assert isinstance(refusal, ProfileAmbiguousError)
        assert re.match(rf"{PATH}:\d+: profile {profile}: ", refusal.message)
        assert after.get(profile) == before.get(profile)
    if result.rejected.keys() == changes.keys():
        assert result.data == file.data


@given(file=files())
def test_removal_restores_the_file_if_the_section_was_new(file: File) -> None:
    new = "new-one"
    once = set_profile(file.data, new, credentials(), path=PATH)

    assert remove_profile(once, new, path=PATH) == file.data


@given(file=files(), number=st.integers(min_value=1, max_value=5))
def test_only_the_last_of_many_refreshes_remains(file: File, number: int) -> None:
    def refreshed(data: bytes, session: int) -> bytes:
        change = {"deploy": SetCredentials(credentials(session), overwrite=True)}
        return edit(data, change, path=PATH).data

    data = file.data
    for earlier in range(number):
        data = refreshed(data, earlier)

    assert refreshed(data, number) == refreshed(file.data, number)


@given(file=files(), changes=_changes)
def test_javascript_sdk_reads_the_new_credentials_and_all_others_as_before(
    file: File, changes: dict[str, Change]
) -> None:
    def others(data: bytes) -> dict[str, dict[str, str]]:
        lines = data.decode().split("\n")
        names = read_like_javascript(lines, ()).keys()
        return {
            name: {key: value for key, (value, _) in section.items()}
            for name, section in read_like_javascript(lines, names).items()
        }

    result = edit(file.data, changes, path=PATH)
    before, after = others(file.data), others(result.data)

    for profile, change in changes.items():
        if isinstance(change, SetCredentials) and profile not in result.rejected:
            number = int(change.credentials.access_key_id[-1])
            assert after[profile].items() >= written(number).items()
            assert STALE not in after[profile]
    assert {k: v for k, v in after.items() if k not in changes} == {
        k: v for k, v in before.items() if k not in changes
    }


@pytest.mark.parametrize("header", ["[profile deploy]", "[profile 'deploy']"])
def test_edit_rejects_a_name_that_another_header_means_to_other_sdks(header: str) -> None:
    with pytest.raises(ProfileAmbiguousError):
        set_profile(f"{header}\nk = v\n".encode(), "profile.deploy", credentials(), path=PATH)
