from __future__ import annotations

import json
import signal
import subprocess

import pytest

from tests.integration.world import SOURCE, World, wait_until


@pytest.fixture
def role(world: World) -> str:
    arn = world.add_role()
    world.configure({"reports": arn})
    return arn


class TestWait:
    def test_without_a_daemon_wait_refreshes_itself(self, world: World, role: str) -> None:
        for _ in range(2):
            waited = world.run("wait", "--min-left", "45m")
            assert (waited.returncode, waited.stderr) == (0, "")
            assert waited.stdout == "reports: valid, expires in 59m\n"
        assert world.server.calls(role) == 1

    def test_the_daemon_refreshes_what_has_too_little_remaining(
        self, world: World, role: str
    ) -> None:
        with world.running():
            assert world.run("wait", "reports", "--min-left", "30m").returncode == 0
            assert world.server.calls(role) == 1
            assert world.run("wait").stdout.startswith("reports: valid, expires in ")

    @pytest.mark.parametrize("is_running", [True, False], ids=["daemon", "alone"])
    def test_wait_fails_if_even_a_new_session_is_too_short(
        self, world: World, role: str, is_running: bool
    ) -> None:
        if is_running:
            with world.running():
                waited = world.run("wait", "--min-left", "2h")
        else:
            waited = world.run("wait", "--min-left", "2h")
        assert (waited.returncode, waited.stdout) == (1, "")
        assert "reports: MinLeft: even a new session has less remaining" in waited.stderr
        assert "raise duration_seconds" in waited.stderr
        assert world.server.calls(role) <= 3

    def test_wait_continues_after_an_outage(self, world: World, role: str) -> None:
        world.server.disturb(role, "break")
        with subprocess.Popen(  # noqa: S603
            [*world.assumed, "wait", "reports"],
            env=world.environ,
            cwd=world.home,
            stdout=subprocess.PIPE,
            text=True,
        ) as waiting:
            wait_until(lambda: world.server.calls(role) > 0, "the first attempt")
            world.server.disturb(role, "")
            assert waiting.communicate()[0] == "reports: valid, expires in 59m\n"
        assert waiting.returncode == 0

    def test_a_profile_in_memory_needs_the_daemon(self, world: World, role: str) -> None:
        in_memory = {"role_arn": role, "source_profile": SOURCE, "store": "memory"}
        world.configure({"held": in_memory, "reports": world.add_role()})
        waited = world.run("wait", "--timeout", "1s")
        assert waited.returncode == 1
        assert waited.stdout == "reports: valid, expires in 59m\n"
        assert "held: DaemonNeeded: it is kept in memory only" in waited.stderr
        with world.running():
            assert world.run("wait", "--min-left", "45m").returncode == 0

    def test_at_the_timeout_wait_reports_each_profile(self, world: World, role: str) -> None:
        denied = world.add_role(trusts="arn:aws:iam::123456789012:user/other")
        world.configure({"reports": role, "denied": denied})
        for is_running in (False, True):
            with world.daemon() as daemon:
                if is_running:
                    daemon.wait_for("refresh_failed")
                else:
                    daemon.process.kill()
                    daemon.process.wait()
                waited = world.run("wait", "--timeout", "1s")
            assert waited.returncode == 1
            assert waited.stdout == "reports: valid, expires in 59m\n"
            assert waited.stderr.startswith("denied: AccessDenied: ")
            assert "sts:AssumeRole must be allowed twice" in waited.stderr

    def test_a_hanging_endpoint_does_not_extend_the_timeout(self, world: World, role: str) -> None:
        world.server.disturb(role, "hang")
        alone = world.run("wait", "--timeout", "1s")
        assert alone.returncode == 1
        assert "reports: Timeout: the refresh has not finished in time" in alone.stderr
        with world.daemon() as daemon:
            wait_until(lambda: world.status()["daemon"] is not None, "the daemon")
            through = world.run("wait", "--timeout", "1s")
            assert through.returncode == 1
            assert "has not answered in time" in through.stderr
            assert daemon.process.poll() is None
        world.server.disturb(role, "")

    def test_wait_can_be_interrupted(self, world: World, role: str) -> None:
        world.server.disturb(role, "break")
        with subprocess.Popen(  # noqa: S603
            [*world.assumed, "wait"], env=world.environ, cwd=world.home, stderr=subprocess.PIPE
        ) as waiting:
            wait_until(lambda: world.server.calls(role) > 0, "the first attempt")
            waiting.send_signal(signal.SIGINT)
            assert b"Traceback" not in waiting.communicate()[1]
        assert waiting.returncode == 130

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["nope"], "profile nope is not in the configuration"),
            (["--min-left", "soon"], '"soon" is not a duration: write seconds'),
            (["--timeout", ""], "Invalid value for '--timeout'"),
        ],
    )
    def test_a_usage_error_is_reported_at_once(
        self, world: World, role: str, arguments: list[str], expected: str
    ) -> None:
        done = world.run("wait", *arguments)
        assert done.returncode == 2
        assert expected in done.stderr


class TestStatusFormat:
    def test_format_prints_a_line_for_each_profile(self, world: World, role: str) -> None:
        in_memory = {"role_arn": role, "source_profile": SOURCE, "store": "memory"}
        world.configure({"reports": world.add_role(), "held": in_memory})
        template = "{profile} {minutes_left}m"
        with world.running():
            # Under a second may have gone by since the sessions were issued.
            assert world.run("status", "--format", template).stdout in {
                f"reports {reports}m\nheld {kept}m\n" for reports in (59, 60) for kept in (59, 60)
            }
            one = world.run("status", "held", "--format={{{state}}} {expires_at}")
            assert one.stdout.startswith("{valid} 20")
            assert world.run("status", "nope", "--format", template).returncode == 2

    def test_format_reads_the_file_without_a_daemon(self, world: World, role: str) -> None:
        template = "{profile} {state}"
        nothing = world.run("status", "--format", template)
        assert (nothing.returncode, nothing.stdout) == (0, "")
        assert world.run("refresh").returncode == 0
        assert world.run("status", "--format", template).stdout == "reports valid\n"
        left = world.run("status", "--format", "{minutes_left} {seconds_left}").stdout.split()
        assert int(left[0]) == int(left[1]) // 60
        named = world.run("status", "--format", template, "nowhere", "reports")
        assert named.stdout == "nowhere pending\nreports valid\n"
        text = world.credentials.read_text()
        world.credentials.write_text(
            text.replace("x_security_token_expires = 20", "x_security_token_expires = 19")
        )
        over = world.run("status", "--format", "{profile} {minutes_left}m {state}")
        assert (over.returncode, over.stdout) == (1, "reports 0m expired\n")

    @pytest.mark.parametrize("template", ["{nope}", "{profile.__class__}", "{profile", "{", "{}"])
    def test_format_rejects_an_unknown_field(self, world: World, role: str, template: str) -> None:
        assert world.run("refresh").returncode == 0
        done = world.run("status", "--format", template)
        assert (done.returncode, done.stdout) == (2, "")
        assert "there is no field" in done.stderr
        assert "{minutes_left}" in done.stderr

    def test_format_cannot_be_combined_with_json(self, world: World, role: str) -> None:
        done = world.run("status", "--json", "--format", "{profile}")
        assert done.returncode == 2
        assert "excludes --json" in done.stderr


def test_the_default_profile_is_that_of_aws(world: World) -> None:
    roles = {"reports": world.add_role(), "deploy": world.add_role()}
    world.configure(roles)
    done = world.run("wait", "--json", AWS_PROFILE="deploy")
    assert [each["profile"] for each in json.loads(done.stdout)["outcomes"]] == ["deploy"]
    unknown = world.run("wait", "--json", AWS_PROFILE="other")
    assert len(json.loads(unknown.stdout)["outcomes"]) == 2
    with world.running():
        asked = world.run("wait", "--json", AWS_PROFILE="deploy")
        assert [each["profile"] for each in json.loads(asked.stdout)["outcomes"]] == ["deploy"]
        exported = world.run("export-credentials", AWS_PROFILE="deploy")
        world.outputs.clear()
        assert json.loads(exported.stdout)["Expiration"]
        shell = world.run(
            "exec",
            typed="echo $AWS_CONTAINER_CREDENTIALS_FULL_URI\n",
            SHELL="/bin/sh",
            AWS_PROFILE="deploy",
        )
        assert shell.stdout.startswith("http://127.0.0.1:")
        refreshed = world.run("-q", "refresh", "--force")
        assert (refreshed.returncode, refreshed.stdout, refreshed.stderr) == (0, "", "")
