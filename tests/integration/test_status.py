"""`assumed status` on a real terminal: the table that stays, the stream, and the bar."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.world import World, wait_until

_GIVES_THE_SCREEN_BACK = "\x1b[?25h\x1b[?1049l"


class Terminal:
    """A terminal with a program of ours in it."""

    def __init__(self, world: World, *arguments: str, columns: int = 100, lines: int = 24) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._ours)
        self.process = subprocess.Popen(  # noqa: S603
            [*world.assumed, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**world.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
            # Ctrl-C comes from the terminal to the group in front.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(theirs)
        self.text = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read(self) -> str:
        """Return all that was drawn so far."""
        while select.select([self._ours], [], [], 0)[0]:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                # That is how the end of the other side shows on Linux.
                break
            if not data:
                break
            self.text += data.decode(errors="replace")
        return self.text

    @property
    def screen(self) -> str:
        """What the last redraw has drawn, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.read().split("\x1b[H")[-1])

    def modes(self) -> list[object]:
        return termios.tcgetattr(self._ours)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextmanager
def terminal(
    world: World, *arguments: str, columns: int = 100, lines: int = 24
) -> Iterator[Terminal]:
    opened = Terminal(world, *arguments, columns=columns, lines=lines)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def role(world: World) -> str:
    role = world.add_role()
    world.configure({"reports": role})
    return role


def test_status_on_a_terminal_has_a_bar(world: World, role: str) -> None:
    world.run("refresh")
    with terminal(world, "status") as shown:
        assert shown.process.wait(30) == 0
        assert "█" in shown.read()
        assert "reports" in shown.text


@pytest.mark.usefixtures("role")
def test_watch_follows_what_the_daemon_does_and_q_ends_it(world: World) -> None:
    with terminal(world, "status", "--watch") as shown:
        wait_until(lambda: "no daemon runs" in shown.screen, "the first screen")
        assert "pending" in shown.screen
        with world.running():
            wait_until(lambda: "valid" in shown.screen, "the daemon's refresh")
            assert "no daemon runs" not in shown.screen
            shown.resize(28, 10)
            wait_until(lambda: "LEFT" in shown.screen, "the narrow table")
            assert max(map(len, shown.screen.splitlines())) <= 28
        wait_until(lambda: "no daemon ru" in shown.screen, "the daemon's end")
        assert "valid" in shown.screen
        shown.type(b"q")
        assert shown.process.wait(30) == 0
        assert shown.read().rstrip().endswith(_GIVES_THE_SCREEN_BACK)
        assert shown.modes() == shown.before
        assert "Traceback" not in shown.text


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize(
    ("how", "status"), [("key", 130), ("signal", 128 + signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"]
)
def test_watch_gives_the_terminal_back_however_it_ends(world: World, how: str, status: int) -> None:
    with terminal(world, "status", "--watch") as shown:
        wait_until(lambda: "pending" in shown.screen, "the first screen")
        if how == "key":
            shown.type(b"\x03")
        else:
            shown.process.terminate()
        assert shown.process.wait(30) == status
        assert shown.read().rstrip().endswith(_GIVES_THE_SCREEN_BACK)
        assert shown.modes() == shown.before
        assert "Traceback" not in shown.text


@pytest.mark.usefixtures("role")
def test_watch_with_json_is_a_line_at_each_change(world: World) -> None:
    with subprocess.Popen(  # noqa: S603
        [*world.assumed, "status", "--watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=world.environ,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        try:
            alone = json.loads(watching.stdout.readline())
            assert (alone["daemon"], alone["profiles"][0]["state"]) == (None, "pending")
            with world.running():
                shown = json.loads(watching.stdout.readline())
                while shown["profiles"][0]["state"] != "valid":
                    shown = json.loads(watching.stdout.readline())
                assert shown["profiles"][0]["refreshes"] == 1
                world.run("refresh", "--force")
                again = json.loads(watching.stdout.readline())
                assert again["profiles"][0]["refreshes"] == 2
            assert json.loads(watching.stdout.readline())["daemon"] is None
        finally:
            watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
        assert watching.stderr.read().strip() == ""


@pytest.mark.usefixtures("role")
def test_watch_in_a_pipe_says_what_to_do(world: World) -> None:
    ended = world.run("status", "--watch")
    assert ended.returncode == 2
    assert "--watch --json" in ended.stderr


@pytest.mark.parametrize("command", [("refresh",), ("check", "--live")], ids=lambda c: c[0])
@pytest.mark.parametrize("with_daemon", [False, True], ids=["alone", "daemon"])
def test_many_profiles_have_a_bar_on_a_terminal_that_goes_when_all_are_done(
    world: World, command: tuple[str, ...], *, with_daemon: bool
) -> None:
    role, untrusted = world.add_role(), "arn:aws:iam::123456789012:role/nobody"
    world.configure({**{f"team-{number}": role for number in range(5)}, "other": untrusted})

    def run() -> None:
        with terminal(world, *command) as shown:
            assert shown.process.wait(60) == 1
            text = shown.read()
        assert "6/6" in text
        assert "1 failed" in text
        assert "team-4: " in text
        assert text.index("6/6") < text.index("team-0: ")

    if with_daemon:
        with world.running():
            run()
    else:
        run()
