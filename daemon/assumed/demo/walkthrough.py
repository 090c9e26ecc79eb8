"""A walkthrough by real commands: a user without permissions, a role, and sessions that expire.

HOME is a temporary directory for every command, so the files of the user are left alone.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assumed.errors import UsageError

if TYPE_CHECKING:
    from assumed.demo.embedded_aws import EmbeddedAws
    from assumed.models import SourceCredentials

Write = Callable[[str], None]

_USER, _ROLE, _PROFILE, _BUCKET = "learnaws-test-user", "s3-read-only", "s3-read-only", "reports"
# The shortest session of STS, 900 seconds, takes 12.
_LIFETIME_SCALE = 1 / 75
_TIMEOUT_SECONDS = 40
_POLL_SECONDS = 0.25
_COMMAND_TIMEOUT_SECONDS = 60
_REFRESHES = 3
"""The first session and two more."""


class _StepFailedError(Exception):
    """A step did not have the expected result."""


def run_demo(write: Write) -> bool:
    """Run the walkthrough and write its lines; return whether every step succeeded.

    Raises:
        UsageError: moto or the AWS CLI is not installed.
    """
    try:
        from assumed.demo.embedded_aws import EmbeddedAws  # noqa: PLC0415 - it takes seconds
    except ImportError as error:
        raise _not_installed() from error
    with (
        tempfile.TemporaryDirectory(prefix="assumed-demo-") as directory,
        EmbeddedAws(lifetime_scale=_LIFETIME_SCALE) as aws,
    ):
        walkthrough = _Walkthrough(write, Path(directory), aws)
        try:
            walkthrough.run()
        except _StepFailedError as error:
            write(f"\nThe demo failed: {error}")
            return False
    write(
        "\nEvery step succeeded. Everything is cleaned up, and ~/.aws was not touched.\n"
        "Next: `assumed up` does the same with your own profiles, step by step."
    )
    return True


class _Walkthrough:
    def __init__(self, write: Write, home: Path, aws: EmbeddedAws) -> None:
        self._write = write
        self._home = home
        self._aws = aws
        self._aws_command = _find_aws()
        self._config = home / "config.yaml"
        self._log = home / "assumed.log"
        self._environ = _environ(home, aws.endpoint_url)

    def run(self) -> None:
        """Run every step.

        Raises:
            _StepFailedError: a step did not have the expected result.
        """
        self._print(
            f"STS, IAM and S3 run on this machine, at {self._aws.endpoint_url}.",
            "They check signatures, policies, trust policies and expirations as AWS does, but 15",
            "minutes take 12 seconds here. The commands below are the real ones.",
        )
        role_arn = self._create_user_and_role()
        exported, expires_at = self._assume_role_by_hand(role_arn)
        self._configure(role_arn)
        with self._daemon():
            self._use_profile()
            self._print("", "5. Time passes. The exported session expires; the profile does not.")
            self._wait_for("the expiration", lambda: datetime.now(UTC) > expires_at)
            self._expect("ExpiredToken", "aws s3 ls s3://reports", environ=exported)
            self._wait_for("two more refreshes", lambda: self._refreshes() >= _REFRESHES)
            self._expect("q3.csv", f"aws s3 ls s3://{_BUCKET} --profile {_PROFILE}")
            self._print("", "The log of the daemon:")
            self._print(*(f"   {line}" for line in self._log.read_text().splitlines()))
            self._print("")
            self._expect("valid", "assumed status")

    def _create_user_and_role(self) -> str:
        from assumed.demo.embedded_aws import user_arn  # noqa: PLC0415 - imported already

        user: SourceCredentials = self._aws.add_user(_USER)
        self._aws.add_bucket(_BUCKET, {"q3.csv": b"region,total\neu,42\n"})
        file = self._home / ".aws" / "credentials"
        file.parent.mkdir()
        file.touch(mode=0o600)
        file.write_text(
            f"[{_USER}]\naws_access_key_id = {user.access_key_id}\n"
            f"aws_secret_access_key = {user.secret_access_key}\n"
        )
        self._print("", "1. A user without permissions.")
        self._expect("AccessDenied", f"aws s3 ls s3://{_BUCKET} --profile {_USER}")
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": user_arn(_USER)},
            "Action": "sts:AssumeRole",
        }
        read_only = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
        role_arn = self._aws.add_role(_ROLE, read_only, trusts=trust)
        self._print(
            "",
            "   A role that trusts this user and may read S3:",
            f"   {role_arn}",
            f"   {json.dumps(trust)}",
        )
        return role_arn

    def _assume_role_by_hand(self, role_arn: str) -> tuple[Mapping[str, str], datetime]:
        self._print("", "2. By hand: assume the role, export its keys, and work until they expire.")
        command = (
            f"aws sts assume-role --role-arn {role_arn} --role-session-name by-hand "
            f"--duration-seconds 900 --profile {_USER}"
        )
        self._print(f"$ {command}")
        issued = json.loads(self._output(*shlex.split(command)))["Credentials"]
        self._print(f"   {issued['AccessKeyId']}, until {issued['Expiration']}")
        exported = {
            "AWS_ACCESS_KEY_ID": issued["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": issued["SecretAccessKey"],
            "AWS_SESSION_TOKEN": issued["SessionToken"],
        }
        self._print("$ export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_SESSION_TOKEN=…")
        self._expect("q3.csv", f"aws s3 ls s3://{_BUCKET}", environ=exported)
        return exported, datetime.fromisoformat(issued["Expiration"])

    def _configure(self, role_arn: str) -> None:
        text = (
            f"profiles:\n  {_PROFILE}:\n    role_arn: {role_arn}\n"
            f"    source_profile: {_USER}\n    duration_seconds: 15m\n"
        )
        # A umask that lets the group write would make assumed reject the file.
        self._config.touch(mode=0o600)
        self._config.write_text(text)
        self._print("", "3. With assumed: define the profile once.", "$ cat config.yaml")
        self._print(*(f"   {line}" for line in text.splitlines()))

    def _use_profile(self) -> None:
        self._wait_for("the first session", lambda: self._refreshes() >= 1)
        self._print("", "4. The profile works, with the permissions of the role.")
        self._expect("q3.csv", f"aws s3 ls s3://{_BUCKET} --profile {_PROFILE}")
        (self._home / "note.txt").write_text("a note\n")
        copy = f"aws s3 cp note.txt s3://{_BUCKET}/ --profile {_PROFILE}"
        self._expect("AccessDenied", copy)

    @contextmanager
    def _daemon(self) -> Iterator[None]:
        self._print("$ assumed run &")
        with self._log.open("wb") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "assumed", "run"],
                env=self._environ,
                cwd=self._home,
                stdout=log,
                stderr=log,
            )
        try:
            yield
            self._print("", "$ kill %1")
            daemon.send_signal(signal.SIGTERM)
            if daemon.wait(_TIMEOUT_SECONDS) != 0:
                raise _StepFailedError(f"the daemon exited with status {daemon.returncode}")
        except (_StepFailedError, subprocess.TimeoutExpired) as error:
            self._print("", "The log of the daemon:", self._log.read_text())
            raise _StepFailedError(str(error)) from error
        finally:
            daemon.kill()
            daemon.wait()

    def _refreshes(self) -> int:
        status = json.loads(
            self._run(["assumed", "status", "--json"], self._environ).stdout or "{}"
        )
        if not status.get("daemon"):
            return 0
        refreshes: int = status["profiles"][0]["refreshes"]
        return refreshes

    def _wait_for(self, event: str, has_happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not has_happened():
            if time.monotonic() > deadline:
                raise _StepFailedError(f"waited {_TIMEOUT_SECONDS} s for {event}")
            time.sleep(_POLL_SECONDS)

    def _expect(
        self, expected: str, command: str, *, environ: Mapping[str, str] | None = None
    ) -> None:
        """Run a command and print it with its output, which must contain `expected`."""
        self._print(f"$ {command}")
        done = self._run(shlex.split(command), {**self._environ, **(environ or {})})
        output = (done.stdout + done.stderr).strip()
        self._print(*(f"   {line}" for line in output.splitlines() if line))
        is_error = expected in {"AccessDenied", "ExpiredToken"}
        if expected not in output or is_error is (done.returncode == 0):
            raise _StepFailedError(
                f"`{command}` exited with status {done.returncode}; {expected} was expected"
            )

    def _output(self, *command: str) -> str:
        done = self._run(command, self._environ)
        if done.returncode != 0:
            raise _StepFailedError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()}")
        return done.stdout

    def _run(
        self, command: Sequence[str], environ: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        programs = {
            "aws": [self._aws_command],
            "assumed": [sys.executable, "-m", "assumed"],
        }
        try:
            return subprocess.run(  # noqa: S603 - the commands above, without a shell
                [*programs[program], *arguments],
                env=environ,
                cwd=self._home,
                capture_output=True,
                text=True,
                timeout=_COMMAND_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _StepFailedError(f"`{program} {arguments[0]}` timed out") from error

    def _print(self, *lines: str) -> None:
        for line in lines:
            self._write(line)


def _find_aws() -> str:
    beside = Path(sys.executable).with_name("aws")
    found = str(beside) if beside.exists() else shutil.which("aws")
    if found is None:
        raise _not_installed()
    return found


def _not_installed() -> UsageError:
    return UsageError(
        "the demo needs moto and the AWS CLI, which are not installed",
        hint="in a clone, run `make demo`, or `pipx install --force '.[demo]'`",
    )


def _environ(home: Path, endpoint_url: str) -> dict[str, str]:
    environ: dict[str, Any] = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": home,
        "XDG_RUNTIME_DIR": home / "run",
        "ASSUMED_CONFIG": home / "config.yaml",
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "NO_PROXY": "127.0.0.1",
    }
    return {name: str(value) for name, value in environ.items()}
