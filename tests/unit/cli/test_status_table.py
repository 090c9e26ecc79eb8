"""The table of `assumed status`, on terminals of different sizes and in a pipe."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len
from rich.console import Console

from assumed.cli.status_table import print_status, render_screen
from assumed.models import DaemonStatus, Failure, ProfileState, ProfileStatus, Status, StorageMode
from tests.fakes import NOON

DAEMON = DaemonStatus(pid=812, version="0.1.0", started_at=NOON, config="config.yaml")
DENIED = Failure(
    code="AccessDenied",
    message="User: jane is not authorized to perform: sts:AssumeRole",
    hint="it must be allowed twice",
    at=NOON,
)


def profile(
    name: str,
    state: ProfileState = ProfileState.VALID,
    left: int | None = 2820,
    failure: Failure | None = None,
) -> ProfileStatus:
    return ProfileStatus(
        profile=name,
        role_arn=f"arn:aws:iam::641879703613:role/{name}",
        source="profile learnaws-test-user",
        state=state,
        seconds_left=left,
        lifetime_seconds=None if left is None else 3600,
        next_attempt_at=NOON + timedelta(minutes=7),
        last_error=failure,
    )


VALID = profile("s3-read-only")
FAILING = profile("deploy", ProfileState.FAILING, 1000, DENIED)
EXPIRED = profile("prod", ProfileState.EXPIRED, 0, DENIED)
PENDING = profile("new", ProfileState.PENDING, None)
FEW = (VALID, FAILING, EXPIRED, PENDING)
TEAMS = tuple(profile(f"team-{number}", left=3000 + number) for number in range(996))


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def printed(
    profiles: Sequence[ProfileStatus],
    monkeypatch: pytest.MonkeyPatch,
    *,
    width: int = 120,
    height: int = 40,
    show_all: bool = False,
) -> list[str]:
    """Return the lines on a terminal of this size, without their colours."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_status(Status(daemon=DAEMON, profiles=tuple(profiles)), now=NOON, show_all=show_all)
    text = terminal.getvalue()
    assert "\x1b[" in text, "no colours"
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


def drawn(status: Status, width: int, height: int, notes: Sequence[str] = ()) -> list[str]:
    console = Console(file=Terminal(), width=width, height=height, force_terminal=True)
    return render_screen(status, console, now=NOON, notes=notes).plain.splitlines()


def test_print_status_shows_a_row_with_a_bar_and_the_error_below_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert printed(FEW, monkeypatch, width=132) == [
        "PROFILE       ROLE                            SOURCE                      STATE    "
        "EXPIRES IN        NEXT REFRESH",
        "s3-read-only  641879703613:role/s3-read-only  profile learnaws-test-user  valid    "
        "████████░░  47m   in 7m",
        "deploy        641879703613:role/deploy        profile learnaws-test-user  failing  "
        "███░░░░░░░  16m   in 7m",
        "  AccessDenied: User: jane is not authorized to perform: sts:AssumeRole",
        "    it must be allowed twice",
        "prod          641879703613:role/prod          profile learnaws-test-user  expired  "
        "░░░░░░░░░░  -     in 7m",
        "  AccessDenied: User: jane is not authorized to perform: sts:AssumeRole",
        "    it must be allowed twice",
        "new           641879703613:role/new           profile learnaws-test-user  pending  "
        "            -     in 7m",
    ]


@pytest.mark.parametrize(
    ("width", "header"),
    [
        (100, "PROFILE ROLE STATE EXPIRES IN NEXT REFRESH"),
        (60, "PROFILE STATE EXPIRES IN NEXT REFRESH"),
        (44, "PROFILE STATE EXPIRES IN"),
        (37, "PROFILE STATE LEFT"),
        (30, "PROFILE STATE LEFT"),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns(
    width: int, header: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = printed(FEW, monkeypatch, width=width)
    assert " ".join(lines[0].split()) == header
    assert all(cell_len(line) <= width for line in lines)
    assert [line.split()[1] for line in lines if line.startswith("s3")] == (
        ["641879703613:role/s3-read-only"] if width == 100 else ["valid"]
    )


@pytest.mark.parametrize("width", [1, 8, 20, 23, 39, 80])
def test_no_line_is_wider_than_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = profile("日本語の長い名前のプロファイル-eu-west-1-production")
    most = max(width, 19)
    assert all(cell_len(line) <= most for line in printed((*FEW, wide), monkeypatch, width=width))
    assert all(
        cell_len(line) <= most
        for line in drawn(Status(daemon=DAEMON, profiles=(*FEW, wide)), width, 30)
    )


def test_unhealthy_profiles_come_first_and_the_rest_is_summarized(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = printed((*TEAMS, *FEW), monkeypatch, height=12)
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert names == [
        "PROFILE", "prod", "deploy", "new", "s3-read-only", *(f"team-{i}" for i in range(6)), "and",
    ]  # fmt: skip
    assert lines[-1] == "and 990 more: 990 valid; next refresh in 7m"


def test_show_all_keeps_every_profile_in_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = printed((*TEAMS, *FEW), monkeypatch, height=12, show_all=True)
    assert [line.split()[0] for line in lines[1:3]] == ["team-0", "team-1"]
    assert sum(not line.startswith(" ") for line in lines) == 1001


def test_a_bar_is_empty_only_after_the_expiration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = ProfileStatus(
        profile="long", role_arn=None, source="x", state=ProfileState.VALID,
        seconds_left=6 * 3600, lifetime_seconds=12 * 3600,
    )  # fmt: skip
    assert "█░░░░░░░░░  1s" in printed([profile("end", left=1)], monkeypatch)[1]
    assert "█████░░░░░  6h00m" in printed([long], monkeypatch)[1]


def test_the_table_needs_neither_colour_nor_unicode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(Terminal, "encoding", "ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    print_status(Status(daemon=DAEMON, profiles=(FAILING,)), now=NOON)
    text = terminal.getvalue()
    assert "failing  ###-------  16m   in 7m" in text
    assert not re.search(r"\x1b\[[0-9;]*3\dm", text), "a colour"


def test_control_characters_of_an_error_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = Failure(code="X", message="a\x1b]0;title\x07b[bold]c", hint="h", at=NOON)
    lines = printed([profile("deploy", ProfileState.FAILING, 9, failure)], monkeypatch)
    assert r"  X: a\x1b]0;title\x07b[bold]c" in lines


def test_control_characters_of_names_and_notes_are_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    role = "arn:aws:iam::641879703613:role/a"
    row = replace(VALID, source="profile a\x1b]0;title\x07b", role_arn=f"{role}\x1b[2J")
    wrong = replace(DAEMON, config_error="config.yaml:1: a\x1b]0;title\x07b\nconfig.yaml:2: c")
    status = Status(daemon=wrong, profiles=(row,))
    print_status(status, now=NOON)
    plain = capsys.readouterr()
    for text in (
        plain.out,
        plain.err,
        "\n".join(drawn(status, 200, 30, ["no\x1b[2J\x1b]0;title\x07"])),
        "\n".join(printed([row], monkeypatch, width=200)),
    ):
        assert r"\x1b]0;title\x07" in text
        assert "\x1b" not in text
    assert "\nconfig.yaml:2: c" in plain.err


class TestRenderScreen:
    def test_it_has_a_line_for_each_profile_and_the_errors_that_fit(self) -> None:
        lines = drawn(Status(daemon=DAEMON, profiles=FEW), 90, 14)
        at = f"{NOON.astimezone():%H:%M:%S}"
        assert lines == [
            f"assumed status, {at}; q to quit",
            "PROFILE       STATE    EXPIRES IN        NEXT REFRESH  LAST ERROR",
            "s3-read-only  valid    ████████░░  47m   in 7m         -",
            "deploy        failing  ███░░░░░░░  16m   in 7m         AccessDenied",
            "prod          expired  ░░░░░░░░░░  -     in 7m         AccessDenied",
            "new           pending              -     in 7m         -",
            "",
            "deploy: AccessDenied: User: jane is not authorized to perform: sts:AssumeRole",
            "  it must be allowed twice",
            "",
            "prod: AccessDenied: User: jane is not authorized to perform: sts:AssumeRole",
            "  it must be allowed twice",
        ]

    @pytest.mark.parametrize("height", [3, 5, 6, 24, 60])
    @pytest.mark.parametrize("profiles", [FEW, (*TEAMS, *FEW)], ids=["few", "many"])
    def test_it_is_never_taller_than_the_terminal(
        self, height: int, profiles: tuple[ProfileStatus, ...]
    ) -> None:
        lines = drawn(
            Status(daemon=None, profiles=profiles),
            80,
            height,
            notes=["not up to date: the daemon stops"],
        )
        assert len(lines) <= height
        assert lines[1] == "not up to date: the daemon stops"
        assert lines[2] == "no daemon is running: this status is from the credentials file"

    def test_the_error_column_is_absent_without_errors(self) -> None:
        assert "LAST ERROR" not in drawn(Status(daemon=DAEMON, profiles=(VALID,)), 132, 9)[1]

    def test_notes_about_the_daemon_come_first(self) -> None:
        daemon = DaemonStatus(
            pid=1, version="0", started_at=NOON, config="c", config_error="c:3: no\nc:4: nor this",
            clock_skew_seconds=-300, endpoint_clock_skew_seconds={"http://127.0.0.1:4566": 3300},
        )  # fmt: skip
        ends = ProfileStatus(
            profile="mfa", role_arn=None, source="x", state=ProfileState.VALID,
            mfa_serial="arn:aws:iam::1:mfa/jane", login_expires_at=NOON + timedelta(minutes=90),
        )  # fmt: skip
        assert drawn(Status(daemon=daemon, profiles=(ends,)), 120, 20)[1:7] == [
            "the configuration file cannot be used, so the previous configuration is used:",
            "c:3: no",
            "c:4: nor this",
            "this machine's clock is 5m behind that of STS: set it; refreshes use the time of STS",
            "this machine's clock is 55m ahead of that of http://127.0.0.1:4566: set the clock of "
            "that server",
            "the MFA session of arn:aws:iam::1:mfa/jane expires in 1h30m: run `assumed login mfa`",
        ]


def test_a_pipe_gets_every_profile_and_every_column(
    capsys: pytest.CaptureFixture[str],
) -> None:
    in_memory = ProfileStatus(
        profile="secret", role_arn=None, source="x", store=StorageMode.MEMORY,
        state=ProfileState.VALID, seconds_left=60, lifetime_seconds=3600,
    )  # fmt: skip
    print_status(Status(daemon=None, profiles=(*TEAMS, in_memory, FAILING)), now=datetime.now(UTC))
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "PROFILE"
    assert len(lines) == 1 + 998 + 3
    assert lines[997].split() == ["secret", "-", "x", "valid,", "in", "memory", "1m", "-", "-"]
    assert lines[-2].startswith("deploy: AccessDenied: ")
    assert "no daemon is running" in err
    assert "only a daemon has the sessions of profiles with `store: memory`" in err
