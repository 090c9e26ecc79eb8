"""The story of a user with no permissions, a role, and a session that ends: told by real commands.

Nothing of the user's is read or written: HOME is a temporary folder for every command.
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
# 900 seconds, the shortest session of STS, go by in 12.
_LIFETIME_SCALE = 1 / 75
_PATIENCE_SECONDS = 40
_STEP_SECONDS = 0.25
_COMMAND_SECONDS = 60
_REFRESHES = 3
"""The first session and two more."""


class _NotAsToldError(Exception):
    """A step that did not go as it should."""


def run_demo(write: Write) -> bool:
    """Tell the story line by line; return whether every step went as told.

    Raises:
        UsageError: moto or the AWS CLI is not installed.
    """
    try:
        from assumed.demo.embedded_aws import EmbeddedAws  # noqa: PLC0415 - it takes seconds
    except ImportError as error:
        raise _not_installed() from error
    with (
        tempfile.TemporaryDirectory(prefix="assumed-demo-") as folder,
        EmbeddedAws(lifetime_scale=_LIFETIME_SCALE) as aws,
    ):
        story = _Story(write, Path(folder), aws)
        try:
            story.tell()
        except _NotAsToldError as error:
            write(f"\nNot as told: {error}")
            return False
    write("\nEverything went as told; everything is cleaned up, and ~/.aws was not touched.")
    return True


class _Story:
    def __init__(self, write: Write, home: Path, aws: EmbeddedAws) -> None:
        self._write = write
        self._home = home
        self._aws = aws
        self._aws_command = _find_aws()
        self._config = home / "config.yaml"
        self._log = home / "assumed.log"
        self._environ = _environ(home, aws.endpoint_url)

    def tell(self) -> None:
        """Tell all of it.

        Raises:
            _NotAsToldError: a step went otherwise.
        """
        self._say(
            f"An STS, an IAM and an S3 run on this machine, at {self._aws.endpoint_url}.",
            "They check signatures, policies, trust and expiration as AWS does; a quarter of an",
            "hour goes by in 12 seconds here. The commands below are the real ones.",
        )
        role_arn = self._a_user_with_no_permissions()
        by_hand, ends_at = self._by_hand(role_arn)
        self._configure(role_arn)
        with self._daemon():
            self._the_profile_works()
            self._say("", "5. Time goes by. Nobody does anything.")
            self._await("the session by hand to end", lambda: datetime.now(UTC) > ends_at)
            self._expect("ExpiredToken", "aws s3 ls s3://reports", environ=by_hand)
            self._await("two more refreshes", lambda: self._refreshes() >= _REFRESHES)
            self._expect("q3.csv", f"aws s3 ls s3://{_BUCKET} --profile {_PROFILE}")
            self._say("", "What the daemon logged:")
            self._say(*(f"   {line}" for line in self._log.read_text().splitlines()))
            self._say("")
            self._expect("valid", "assumed status")

    def _a_user_with_no_permissions(self) -> str:
        from assumed.demo.embedded_aws import user_arn  # noqa: PLC0415 - `tell` has paid for it

        user: SourceCredentials = self._aws.add_user(_USER)
        self._aws.add_bucket(_BUCKET, {"q3.csv": b"region,total\neu,42\n"})
        file = self._home / ".aws" / "credentials"
        file.parent.mkdir()
        file.touch(mode=0o600)
        file.write_text(
            f"[{_USER}]\naws_access_key_id = {user.access_key_id}\n"
            f"aws_secret_access_key = {user.secret_access_key}\n"
        )
        self._say("", "1. A user with no permissions of its own.")
        self._expect("AccessDenied", f"aws s3 ls s3://{_BUCKET} --profile {_USER}")
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": user_arn(_USER)},
            "Action": "sts:AssumeRole",
        }
        may = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
        role_arn = self._aws.add_role(_ROLE, may, trusts=trust)
        self._say(
            "", "   A role trusts it, and may read S3:", f"   {role_arn}", f"   {json.dumps(trust)}"
        )
        return role_arn

    def _by_hand(self, role_arn: str) -> tuple[Mapping[str, str], datetime]:
        self._say("", "2. By hand: assume the role, export three values, and work until it ends.")
        command = (
            f"aws sts assume-role --role-arn {role_arn} --role-session-name by-hand "
            f"--duration-seconds 900 --profile {_USER}"
        )
        self._say(f"$ {command}")
        issued = json.loads(self._silently(*shlex.split(command)))["Credentials"]
        self._say(f"   {issued['AccessKeyId']}, until {issued['Expiration']}")
        exported = {
            "AWS_ACCESS_KEY_ID": issued["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": issued["SecretAccessKey"],
            "AWS_SESSION_TOKEN": issued["SessionToken"],
        }
        self._say("$ export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_SESSION_TOKEN=…")
        self._expect("q3.csv", f"aws s3 ls s3://{_BUCKET}", environ=exported)
        return exported, datetime.fromisoformat(issued["Expiration"])

    def _configure(self, role_arn: str) -> None:
        text = (
            f"profiles:\n  {_PROFILE}:\n    role_arn: {role_arn}\n"
            f"    source_profile: {_USER}\n    duration_seconds: 15m\n"
        )
        # Where a user's group is their own, files are writable by it, and such a one is refused.
        self._config.touch(mode=0o600)
        self._config.write_text(text)
        self._say("", "3. With assumed: say it once.", "$ cat config.yaml")
        self._say(*(f"   {line}" for line in text.splitlines()))

    def _the_profile_works(self) -> None:
        self._await("the first session", lambda: self._refreshes() >= 1)
        self._say("", "4. The profile works, for what the role may do.")
        self._expect("q3.csv", f"aws s3 ls s3://{_BUCKET} --profile {_PROFILE}")
        (self._home / "note.txt").write_text("a note\n")
        copy = f"aws s3 cp note.txt s3://{_BUCKET}/ --profile {_PROFILE}"
        self._expect("AccessDenied", copy)

    @contextmanager
    def _daemon(self) -> Iterator[None]:
        self._say("$ assumed run &")
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
            self._say("", "$ kill %1")
            daemon.send_signal(signal.SIGTERM)
            if daemon.wait(_PATIENCE_SECONDS) != 0:
                raise _NotAsToldError(f"the daemon ended with status {daemon.returncode}")
        except (_NotAsToldError, subprocess.TimeoutExpired) as error:
            self._say("", "The daemon's log:", self._log.read_text())
            raise _NotAsToldError(str(error)) from error
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

    def _await(self, what: str, is_so: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            if time.monotonic() > give_up_at:
                raise _NotAsToldError(f"waited {_PATIENCE_SECONDS} s for {what}")
            time.sleep(_STEP_SECONDS)

    def _expect(
        self, expected: str, command: str, *, environ: Mapping[str, str] | None = None
    ) -> None:
        """Run a command, show it and what came back; `expected` has to be in it."""
        self._say(f"$ {command}")
        done = self._run(shlex.split(command), {**self._environ, **(environ or {})})
        output = (done.stdout + done.stderr).strip()
        self._say(*(f"   {line}" for line in output.splitlines() if line))
        is_error = expected in {"AccessDenied", "ExpiredToken"}
        if expected not in output or is_error is (done.returncode == 0):
            raise _NotAsToldError(
                f"`{command}` ended with status {done.returncode}, and {expected} was to come"
            )

    def _silently(self, *command: str) -> str:
        done = self._run(command, self._environ)
        if done.returncode != 0:
            raise _NotAsToldError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()}")
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
            return subprocess.run(  # noqa: S603 - the commands above, in no shell
                [*programs[program], *arguments],
                env=environ,
                cwd=self._home,
                capture_output=True,
                text=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _NotAsToldError(f"`{program} {arguments[0]}` hangs") from error

    def _say(self, *lines: str) -> None:
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
        "the demo needs moto and the AWS CLI, and they are not installed",
        hint="pip install 'assumed[demo]', or `make demo` in a clone",
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
