"""Credentials files as users and other tools write them: an edit changes one profile only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.configloader import load_config, raw_config_parse
from botocore.credentials import SharedCredentialProvider
from botocore.exceptions import ConfigParseError, PartialCredentialsError

from assumed.aws_files import read
from assumed.aws_files.ownership import MANAGED_KEYS
from assumed.aws_files.sdk_dialects import read_like_javascript, read_like_shared_sdks
from assumed.errors import (
    CredentialsFileError,
    CredentialsFileMalformedError,
    ProfileAmbiguousError,
    ProfileNotManagedError,
)
from tests.credentials_files import (
    as_botocore_reads,
    credentials,
    remove_profile,
    set_profile,
    written,
)
from tests.repository import TESTS

CORPUS = TESTS / "corpus"
FILES = {path.stem: path for path in sorted(CORPUS.glob("*.ini"))}
REJECTED = {path.stem: path for path in sorted((CORPUS / "refused").glob("*.ini"))}
JAVASCRIPT = json.loads((CORPUS / "javascript" / "expected.json").read_text())

# In these files `deploy` is not managed by assumed: only `overwrite: true` replaces it.
NOT_MANAGED = {
    "awsume-output-profile-deploy",
    "deploy-with-long-term-keys",
    "granted-in-deploy",
    "saml2aws-in-deploy",
}
STALE = "aws_security_token"


def edited(name: str) -> bytes:
    """Return a file of the corpus with the new credentials in `deploy`."""
    data = FILES[name].read_bytes()
    return set_profile(
        data, "deploy", credentials(), overwrite=name in NOT_MANAGED, path=f"corpus/{name}.ini"
    )


def write_edited(directory: Path) -> None:
    """Write all edited files into a directory, for tests/corpus/javascript/generate.mjs."""
    for name in FILES:
        (directory / f"{name}.ini").write_bytes(edited(name))


@dataclass(frozen=True)
class AsRead:
    """A file as botocore reads it: raw, as profiles, and as credentials."""

    sections: Mapping[str, Mapping[str, str]]
    profiles: Mapping[str, Any]
    credentials: Mapping[str, tuple[str, str, str | None] | None]

    @classmethod
    def of(cls, path: Path) -> AsRead:
        sections = as_botocore_reads(path)
        assert raw_config_parse(str(path)).keys() == sections.keys()
        profiles = load_config(str(path))["profiles"]
        return cls(sections, profiles, {name: cls._credentials(path, name) for name in sections})

    @staticmethod
    def _credentials(path: Path, profile: str) -> tuple[str, str, str | None] | None:
        try:
            found = SharedCredentialProvider(str(path), profile).load()
        except PartialCredentialsError:
            return None
        if found is None:
            return None
        return found.access_key, found.secret_key, found.token


def without_deploy(sections: Mapping[str, Any]) -> dict[str, Any]:
    return {name: section for name, section in sections.items() if name != "deploy"}


def foreign(section: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of a section that assumed never writes; a key may end with a colon."""
    edited = {*MANAGED_KEYS, STALE}
    return {k: v for k, v in section.items() if k.partition(":")[0].strip().lower() not in edited}


def test_corpus_is_large_enough_and_git_keeps_its_bytes() -> None:
    assert len(FILES) >= 60
    assert "tests/corpus/** -text" in (CORPUS.parents[1] / ".gitattributes").read_text()
    assert b"\r\n" in FILES["crlf"].read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_botocore_reads_the_new_credentials_and_all_others_as_before(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(edited(name))

    before, after = AsRead.of(FILES[name]), AsRead.of(path)

    new = credentials()
    assert after.credentials["deploy"] == (
        new.access_key_id,
        new.secret_access_key,
        new.session_token,
    )
    assert after.sections["deploy"].items() >= written().items()
    assert STALE not in after.sections["deploy"]
    inherited = read(FILES[name].read_bytes() + b"\n[probe]\n", path="x")["probe"]
    assert foreign(after.sections["deploy"]) == {
        **inherited,
        **foreign(before.sections.get("deploy", {})),
    }
    assert without_deploy(after.sections) == without_deploy(before.sections)
    assert without_deploy(after.credentials) == without_deploy(before.credentials)
    assert without_deploy(after.profiles) == without_deploy(before.profiles)
    assert list(without_deploy(after.sections)) == list(without_deploy(before.sections))


@pytest.mark.parametrize("name", FILES)
def test_read_returns_what_botocore_reads(name: str) -> None:
    assert read(FILES[name].read_bytes(), path=name) == as_botocore_reads(FILES[name])


@pytest.mark.parametrize("name", FILES)
def test_edit_keeps_every_other_line_byte_for_byte(name: str) -> None:
    def kept(data: bytes) -> list[bytes]:
        keys = "|".join((*MANAGED_KEYS, STALE)).encode()
        lines = re.split(rb"(?<=\n)", data)
        return [
            line.rstrip(b"\r\n")
            for line in lines
            if not re.match(rb"\s*(%b)\s*[=:]" % keys, line, re.IGNORECASE)
            and line.strip() not in {b"[deploy]", b""}
        ]

    assert kept(edited(name)) == kept(FILES[name].read_bytes())


@pytest.mark.parametrize("name", FILES)
def test_edit_twice_changes_nothing(name: str) -> None:
    once = edited(name)

    assert set_profile(once, "deploy", credentials(), path=name) == once


@pytest.mark.parametrize("name", FILES)
def test_removal_restores_the_file_if_the_section_was_new(name: str) -> None:
    before = FILES[name].read_bytes()
    if "deploy" in read(before, path=name):
        after = read(remove_profile(edited(name), "deploy", path=name), path=name)
        assert without_deploy(after) == without_deploy(read(before, path=name))
    else:
        assert remove_profile(edited(name), "deploy", path=name) == before


@pytest.mark.parametrize("name", sorted(NOT_MANAGED))
def test_edit_rejects_credentials_that_assumed_does_not_manage(name: str) -> None:
    with pytest.raises(ProfileNotManagedError):
        set_profile(FILES[name].read_bytes(), "deploy", credentials(), path=name)


# The files of which the SDKs for Rust, Java, Kotlin and C read nothing, before and after an edit.
UNREADABLE_LINES = {
    "colons": 2,
    "colons-in-deploy": 6,
    "deploy-indented-comment-below-the-header": 6,
    "form-feed-between-sections": 4,
    "here-document-indented-throughout": 1,
    "keys-indented-with-spaces": 2,
    "keys-indented-with-tabs": 2,
}


@pytest.mark.parametrize("name", FILES)
def test_rust_java_and_c_read_the_new_credentials_and_all_others_as_before(name: str) -> None:
    def reading(data: bytes) -> tuple[dict[str, dict[str, str]], set[int]]:
        read = read_like_shared_sdks(data.decode().split("\n"), None)
        sections = {
            section: {key: value for key, (value, _line) in keys.items()}
            for section, keys in read.sections.items()
        }
        return sections, {line.index + 1 for line in read.rejected.values()}

    before, lines_before = reading(FILES[name].read_bytes())
    after, lines_after = reading(edited(name))

    assert min(lines_before, default=None) == UNREADABLE_LINES.get(name)
    assert without_deploy(after) == without_deploy(before)
    assert foreign(after.get("deploy", {})) == foreign(before.get("deploy", {}))
    if not lines_after:
        assert after["deploy"].items() >= written().items()
        assert STALE not in after["deploy"]


# Files and profiles that are rejected: the line and the text of the error


LINES = {
    "all-nul-bytes": (1, "NUL"),
    "byte-order-mark": (1, "byte order mark"),
    "csv-from-the-console": (1, "before the first"),
    "cut-short-in-a-header": (5, "not `key = value`"),
    "cut-short-in-a-key": (8, "not `key = value`"),
    "duplicate-key": (4, "duplicate key aws_access_key_id"),
    "duplicate-key-in-other-case": (4, "duplicate key aws_access_key_id"),
    "duplicate-section": (8, "duplicate section [default]; the first is on line 1"),
    "duplicate-section-deploy": (6, "duplicate section [deploy]; the first is on line 1"),
    "empty-header": (4, "not `key = value`"),
    "json": (1, "before the first"),
    "keys-before-the-first-header": (1, "before the first"),
    "latin-1": (1, "not UTF-8"),
    "line-ends-of-old-macs": (1, "carriage return"),
    "login-page-saved-as-credentials": (1, "before the first"),
    "merge-conflict": (4, "not `key = value`"),
    "nested-block-with-prose": (4, "nested block"),
    "nul-bytes-after-a-crash": (4, "NUL"),
    "one-lone-carriage-return": (5, "carriage return"),
    "secret-on-a-line-of-its-own": (4, "not `key = value`"),
    "shell-exports": (1, "before the first"),
    "utf-16-from-notepad": (1, "not UTF-8"),
    "yaml": (1, "before the first"),
}
# botocore reads these files, other SDKs interpret `deploy` differently: only it is rejected.
AMBIGUOUS_LINES = {
    "deploy-header-with-spaces": 5,
    "deploy-header-with-text-behind": 5,
    "deploy-indented-comment-below-a-key": 8,
    "deploy-indented-with-a-control-character": 5,
    "deploy-key-below-an-empty-one": 5,
    "deploy-key-continued-below": 9,
    "deploy-with-an-indented-header-inside": 7,
    "security-token-for-every-profile": 2,
}
# botocore reads these files too, but each SDK interprets them differently.
READ_BY_BOTOCORE = {
    "all-nul-bytes",
    "line-ends-of-old-macs",
    "nul-bytes-after-a-crash",
    "one-lone-carriage-return",
}


def test_every_rejected_file_has_an_expected_line() -> None:
    assert REJECTED.keys() == LINES.keys() | AMBIGUOUS_LINES.keys()


@pytest.mark.parametrize("name", LINES)
def test_edit_rejects_a_malformed_file_with_its_line_and_no_secret(name: str) -> None:
    data = REJECTED[name].read_bytes()
    line, problem = LINES[name]

    with pytest.raises(CredentialsFileMalformedError) as caught:
        set_profile(data, "deploy", credentials(), overwrite=True, path="credentials")

    assert caught.value.message.startswith(f"credentials:{line}: ")
    assert problem in caught.value.message
    assert_no_secret(caught.value)


@pytest.mark.parametrize("name", sorted(LINES.keys() - READ_BY_BOTOCORE))
def test_botocore_rejects_a_malformed_file_too(name: str) -> None:
    with pytest.raises(ConfigParseError):
        raw_config_parse(str(REJECTED[name]))


@pytest.mark.parametrize("name", AMBIGUOUS_LINES)
def test_edit_rejects_a_profile_that_other_sdks_read_differently(name: str) -> None:
    data = REJECTED[name].read_bytes()

    with pytest.raises(ProfileAmbiguousError) as caught:
        set_profile(data, "deploy", credentials(), overwrite=True, path="credentials")

    assert caught.value.message.startswith(f"credentials:{AMBIGUOUS_LINES[name]}: profile deploy")
    assert_no_secret(caught.value)
    raw_config_parse(str(REJECTED[name]))


def assert_no_secret(error: CredentialsFileError) -> None:
    shown = f"{error.message} {error.hint} {error!r}"
    assert not any(secret in shown for secret in ("wJalr", "FwoGZ", "AKIA", "ASIA"))


# The JavaScript SDK: its results are recorded, see corpus/javascript/generate.mjs


def test_recording_of_the_javascript_sdk_has_every_file() -> None:
    assert JAVASCRIPT["files"].keys() == FILES.keys(), "run tests/corpus/javascript/generate.mjs"


@pytest.mark.parametrize("name", FILES)
def test_javascript_sdk_reads_the_new_credentials_and_all_others_as_before(name: str) -> None:
    recorded = JAVASCRIPT["files"][name]
    before, after = recorded["before"], recorded["after"]

    hashes = [hashlib.sha256(data).hexdigest() for data in (FILES[name].read_bytes(), edited(name))]
    assert [recorded["before_sha256"], recorded["after_sha256"]] == hashes, (
        "recorded from other bytes: run tests/corpus/javascript/generate.mjs"
    )
    assert after["deploy"].items() >= written().items()
    assert STALE not in after["deploy"]
    assert foreign(after["deploy"]) == foreign(before.get("deploy", {}))
    assert without_deploy(after) == without_deploy(before)


@pytest.mark.parametrize("name", FILES)
def test_read_like_javascript_returns_what_that_sdk_reads(name: str) -> None:
    lines = FILES[name].read_bytes().decode().split("\n")
    names = read_like_javascript(lines, ()).keys()

    sections = {
        section: {key: value for key, (value, _line) in keys.items()}
        for section, keys in read_like_javascript(lines, names).items()
    }

    assert {k: v for k, v in sections.items() if v} == JAVASCRIPT["files"][name]["before"]
