"""Properties of what tests/unit/fastpath/test_credentials_reader.py tests by example."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from assumed.aws_files import read
from assumed.fastpath.credentials_reader import (
    remaining_seconds,
)
from assumed.storage import StoredProfile
from tests.credentials_files import set_profile
from tests.fakes import NOON
from tests.unit.fastpath.test_credentials_reader import (
    DEPLOY,
    MINE,
    READ,
    WRITTEN,
    process,
    reader_of,
)


@given(st.integers(min_value=0, max_value=len(WRITTEN) - 1))
def test_reader_never_returns_torn_credentials_of_a_torn_file(directory: Path, cut: int) -> None:
    assert reader_of(directory, WRITTEN[:cut]).credentials("deploy") in (None, process(DEPLOY))
    assert reader_of(directory, WRITTEN).credentials("deploy") == process(DEPLOY)


LINES = st.sampled_from(
    [
        *WRITTEN.splitlines(keepends=True),
        b"[other]\n", b"[DEFAULT]\n", b"  continued\n", b"\n", b"; comment\n", b"region = x\n",
        b"aws_security_token = x\n", b"manager: assumed\n", b"x\n", b"[deploy] ; x\n",
    ]
)  # fmt: skip


@given(st.lists(LINES, max_size=24))
def test_reader_finds_what_botocore_reads(directory: Path, lines: list[bytes]) -> None:
    data = b"".join(lines)
    credentials = reader_of(directory, data).credentials("deploy")
    if credentials is None:
        return
    try:
        sections = read(data, path="credentials")
    except Exception:  # noqa: BLE001 - no SDK reads the file either
        return
    stored = StoredProfile.from_section("deploy", sections["deploy"])
    assert stored.is_managed
    assert stored.access_key_id == credentials["AccessKeyId"]
    assert stored.secret_access_key == credentials["SecretAccessKey"]
    assert stored.session_token == credentials["SessionToken"]
    assert stored.expiration == datetime.fromisoformat(credentials["Expiration"])


def lone_section(data: bytes, name: bytes) -> bytes:
    """Return the only section of this name as a file of its own; empty if there are several."""
    lines = data.split(b"\n")
    headers = [number for number, line in enumerate(lines) if line.startswith(b"[")]
    wanted = [number for number in headers if lines[number].startswith(b"[%b]" % name)]
    if len(wanted) != 1 or any(lines[number].startswith(b"[DEFAULT]") for number in headers):
        return b""
    behind = [number for number in headers if number > wanted[0]]
    return b"\n".join([*lines[wanted[0] : behind[0]], b""] if behind else lines[wanted[0] :])


ANOTHER = set_profile(b"", "read", READ, path="credentials")


DEPLOYS = WRITTEN.removeprefix(MINE)


PARTS = st.sampled_from(
    [
        DEPLOYS, DEPLOYS[:-1], DEPLOYS.replace(b"[deploy]", b"[deploy] x"), ANOTHER, MINE,
        b"[deploy]\n", b"[deploy", b"[]\n", b"[DEFAULT]", b"[DEFAULT]\n", b"[", b"]", b"\n",
        b"region = [read]\n", b" [read]\n", b"# " + b"x" * 99 + b"\n", "größe = 1\n".encode(),
    ]
)  # fmt: skip


@given(st.lists(PARTS, max_size=8), st.integers(min_value=1, max_value=2 * len(WRITTEN)))
def test_reader_finds_a_section_at_any_place_of_a_big_file(
    directory: Path, parts: list[bytes], chunk_bytes: int
) -> None:
    data = b"".join(parts)
    headers = [line[1:] for line in data.split(b"\n") if line.startswith(b"[") and b"]" in line]
    names = {header.partition(b"]")[0].decode() for header in headers} | {"nowhere"}
    alone = {
        name: reader_of(directory, lone_section(data, name.encode())).credentials(name)
        for name in names
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assumed.fastpath.credentials_reader._CHUNK_BYTES", chunk_bytes)
        found = reader_of(directory, data)
        assert {name: found.credentials(name) for name in alone} == alone
        assert set(found.profiles()) == {name for name, held in alone.items() if held}
        assert {name: found.credentials(name) for name in alone} == alone


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2999, 12, 31)))  # noqa: DTZ001
def test_remaining_seconds_are_those_of_datetime(moment: datetime) -> None:
    aware = moment.replace(microsecond=0, tzinfo=UTC)
    with freeze_time(NOON):
        left = remaining_seconds({"Expiration": aware.strftime("%Y-%m-%dT%H:%M:%SZ")})
    assert left == (aware - NOON).total_seconds()
