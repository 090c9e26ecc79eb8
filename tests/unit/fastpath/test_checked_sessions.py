"""The records of what the full command has found right."""

from __future__ import annotations

from pathlib import Path

import pytest

from assumed.fastpath.checked_sessions import checked_principal, records_path, with_record

ARN = "arn:aws:sts::111122223333:assumed-role/deploy/me"


class Records:
    def __init__(self, directory: Path) -> None:
        self.environ = {"XDG_STATE_HOME": str(directory)}
        self.path = Path(records_path(self.environ))
        self.path.parent.mkdir(parents=True)

    def add(self, profile: str, arn: str, changed_at: int = 1, config: str = "/c.yaml") -> bool:
        text = with_record(self.environ, (config,), changed_at, profile, arn)
        if text is not None:
            self.path.write_text(text)
        return text is not None

    def find(self, profile: str, changed_at: int = 1, config: str = "/c.yaml") -> str | None:
        return checked_principal(self.environ, (config,), changed_at, profile)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def test_a_record_counts_for_its_profile_and_its_state_of_the_configuration(
    records: Records,
) -> None:
    assert records.find("deploy") is None
    assert records.add("deploy", ARN)
    assert records.find("deploy") == ARN
    assert records.find("deploy", changed_at=2) is None
    assert records.find("deploy", config="/other.yaml") is None
    assert records.find("deplo") is None


def test_a_record_is_written_once_and_replaced_by_another_session(records: Records) -> None:
    assert records.add("deploy", ARN)
    assert not records.add("deploy", ARN)
    assert records.add("deploy", f"{ARN}-2")
    assert records.find("deploy") == f"{ARN}-2"
    assert len(records.path.read_text().splitlines()) == 1


def test_what_is_not_one_line_is_not_recorded(records: Records) -> None:
    for profile, arn in (("a\tb", ARN), ("a\nb", ARN), ("deploy", ""), ("deploy", "a\tb")):
        assert not records.add(profile, arn)


def test_old_records_are_dropped(records: Records) -> None:
    for number in range(510):
        records.add("deploy", ARN, changed_at=number)
    assert len(records.path.read_text().splitlines()) == 500
    assert records.find("deploy", changed_at=509) == ARN
    assert records.find("deploy", changed_at=0) is None
