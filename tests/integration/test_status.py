"""`assumed status` on a real terminal: the table, `--watch` and the progress bar."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.integration.terminal import terminal
from tests.integration.world import World, wait_until

_RESTORES_THE_SCREEN = "\x1b[?25h\x1b[?1049l"
_TERMINAL = "xterm-256color"


@pytest.fixture
def role(world: World) -> str:
    role = world.add_role()
    world.configure({"reports": role})
    return role


def test_status_on_a_terminal_has_a_bar(world: World, role: str) -> None:
    world.run("refresh")
    with terminal(world, *world.assumed, "status", kind=_TERMINAL) as shown:
        assert shown.status() == 0
        assert "█" in shown.read()
        assert "reports" in shown.text


@pytest.mark.usefixtures("role")
def test_watch_follows_the_daemon_until_q_is_typed(world: World) -> None:
    with terminal(world, *world.assumed, "status", "--watch", kind=_TERMINAL) as shown:
        wait_until(lambda: "no daemon is running" in shown.screen, "the first screen")
        assert "pending" in shown.screen
        with world.running():
            wait_until(lambda: "valid" in shown.screen, "the daemon's refresh")
            assert "no daemon is running" not in shown.screen
            shown.resize(28, 10)
            wait_until(lambda: "LEFT" in shown.screen, "the narrow table")
            assert max(map(len, shown.screen.splitlines())) <= 28
        wait_until(lambda: "no daemon is " in shown.screen, "the daemon's end")
        assert "valid" in shown.screen
        shown.type("q")
        assert shown.status() == 0
        assert shown.read().rstrip().endswith(_RESTORES_THE_SCREEN)
        assert shown.modes() == shown.modes_before
        assert "Traceback" not in shown.text


@pytest.mark.usefixtures("role")
def test_watch_loses_no_key_while_it_reads_the_status(world: World) -> None:
    with terminal(world, *world.assumed, "status", "--watch", kind=_TERMINAL) as shown:
        wait_until(lambda: "pending" in shown.screen, "the first screen")
        shown.type("xq")
        assert shown.status() == 0


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize(
    ("how", "status"), [("key", 130), ("signal", 128 + signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"]
)
def test_watch_restores_the_terminal(world: World, how: str, status: int) -> None:
    with terminal(world, *world.assumed, "status", "--watch", kind=_TERMINAL) as shown:
        wait_until(lambda: "pending" in shown.screen, "the first screen")
        if how == "key":
            shown.type("\x03")
        else:
            shown.process.terminate()
        assert shown.status() == status
        assert shown.read().rstrip().endswith(_RESTORES_THE_SCREEN)
        assert shown.modes() == shown.modes_before
        assert "Traceback" not in shown.text


@pytest.mark.usefixtures("role")
def test_watch_with_json_prints_a_line_for_each_change(world: World) -> None:
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
def test_watch_in_a_pipe_fails_with_advice(world: World) -> None:
    ended = world.run("status", "--watch")
    assert ended.returncode == 2
    assert "--watch --json" in ended.stderr


@pytest.mark.parametrize("command", [("refresh",), ("check", "--live")], ids=lambda c: c[0])
@pytest.mark.parametrize("with_daemon", [False, True], ids=["alone", "daemon"])
def test_many_profiles_have_a_progress_bar_that_disappears(
    world: World, command: tuple[str, ...], *, with_daemon: bool
) -> None:
    role, untrusted = world.add_role(), "arn:aws:iam::123456789012:role/another"
    world.configure({**{f"team-{number}": role for number in range(5)}, "other": untrusted})

    def run() -> None:
        with terminal(world, *world.assumed, *command, kind=_TERMINAL) as shown:
            assert shown.status() == 1
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
