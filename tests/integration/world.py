"""A home directory for each test, an AWS in another process, daemons, and the real AWS CLI."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from assumed.credential_sources.mfa_command import is_mfa_code
from tests.integration.secret_search import leaks
from tests.repository import REPOSITORY

READ_ONLY = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": "*"}
MAY_ASSUME = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
SOURCE = "learnaws-test-user"

_TIMEOUT_SECONDS = 30
_POLL_INTERVAL_SECONDS = 0.02


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = _TIMEOUT_SECONDS) -> None:
    """Poll for the effect of another process."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(_POLL_INTERVAL_SECONDS)


class AwsServer:
    """The embedded AWS, in another process."""

    def __init__(
        self,
        *,
        lifetime_scale: float = 1,
        environ: Mapping[str, str] | None = None,
        module: str = "tests.integration.aws_server",
    ) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module, str(lifetime_scale)],
            cwd=REPOSITORY,
            env={**(environ or {}), **own},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.endpoint_url = self._process.stdout.readline().strip()

    def stop(self) -> None:
        self._process.communicate()

    def ask(self, command: str, asked: object = None) -> Any:
        connection = HTTPConnection(urlsplit(self.endpoint_url).netloc, timeout=30)
        try:
            connection.request("POST", f"/_test/{command}", json.dumps(asked))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            return json.loads(answer.read())
        finally:
            connection.close()

    def add_user(self, *statements: object) -> tuple[str, str, str]:
        """Return the name, the access key ID and the secret key of a new user."""
        name = f"user-{uuid.uuid4().hex[:8]}"
        access_key_id, secret = self.ask("user", {"name": name, "statements": statements})
        return name, access_key_id, secret

    def add_role(self, *statements: object, trusts: object) -> str:
        name = f"role-{uuid.uuid4().hex[:8]}"
        asked = {"name": name, "statements": statements, "trusts": trusts}
        arn: str = self.ask("role", asked)
        return arn

    def allow_seconds(self, role_arn: str, seconds: int) -> None:
        """Set the maximum session duration of a role, which is an hour at first."""
        self.ask("max_duration", {"name": role_arn.rpartition("/")[2], "seconds": seconds})

    def disturb(self, role_arn: str, fault: str) -> None:
        """Make AssumeRole of a role `hang`, `throttle`, `break`, return `garbage`, or work: ``."""
        self.ask("fault", {"role_arn": role_arn, "fault": fault})

    def calls(self, *role_arns: str) -> int:
        """Return the number of AssumeRole calls for these roles, including failed ones."""
        return sum(role_arn in role_arns for role_arn in self.ask("calls"))

    def requests(self, role_arn: str) -> list[dict[str, str]]:
        """Return the parameters of all AssumeRole calls for a role.

        Signed calls have the access key ID as `signed by` and the region as `signed for`.
        """
        return [sent for sent in self.ask("requests") if sent["RoleArn"] == role_arn]

    def revoke(self, role_arn: str) -> None:
        """Forget the sessions of a role, as AWS does when the role is deleted."""
        self.ask("revoke", role_arn)

    def checks(self, *role_arns: str) -> int:
        """Return the number of GetCallerIdentity calls with sessions of these roles."""
        found: int = self.ask("checks", role_arns)
        return found

    def outlived(self, role_arn: str) -> int:
        """Return how many expired sessions of a role have signed calls."""
        found: int = self.ask("outlived", role_arn)
        return found

    def accept(self, *identity_tokens: str) -> None:
        """Accept these web identity tokens from now on, and no others."""
        self.ask("identity_tokens", identity_tokens)

    def add_mfa(self, *codes: str, role_arn: str, seconds: int | None = None) -> str:
        """Return the serial of an MFA device with these codes.

        A session that one of them starts has the permissions of `role_arn`, and lasts `seconds`
        instead of the requested duration.
        """
        serial = f"arn:aws:iam::123456789012:mfa/{uuid.uuid4().hex[:8]}"
        asked = {"serial": serial, "codes": codes, "role_arn": role_arn, "seconds": seconds}
        self.ask("mfa", asked)
        return serial

    def session_tokens(self, serial: str) -> list[dict[str, str]]:
        """Return the parameters of all GetSessionToken calls with this device."""
        return [sent for sent in self.ask("session_tokens") if sent.get("SerialNumber") == serial]

    def secrets(self) -> Sequence[str]:
        found: list[str] = self.ask("secrets")
        return found


class Daemon:
    """A real `assumed run`; its output goes to `log`."""

    def __init__(self, world: World, log: Path, *options: str, **environ: str) -> None:
        self.log = log
        self._world = world
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603
                [*world.assumed, "run", "--log-level", "debug", *options],
                env=world.environ | environ,
                cwd=world.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, text: str, *, times: int = 1) -> None:
        def is_there() -> bool:
            assert self.process.poll() is None, f"it exited:\n{self.log.read_text()}"
            return self.log.read_text().count(text) >= times

        wait_until(is_there, f"{text!r} in the log")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it as systemd does, and return its exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(_TIMEOUT_SECONDS)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()


class World:
    """The home directory of a user on a machine where `server` is AWS."""

    def __init__(self, home: Path, server: AwsServer) -> None:
        self.home = home
        self.server = server
        self.assumed = [sys.executable, "-m", "assumed"]
        self.credentials = home / ".aws" / "credentials"
        self.config = home / ".config" / "assumed" / "config.yaml"
        self.outputs: list[str] = []
        self.environ = {
            **{name: value for name, value in os.environ.items() if name.startswith("COV")},
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(home / "run"),
            "AWS_ENDPOINT_URL": server.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }
        self.user_name, access_key_id, secret = server.add_user(MAY_ASSUME)
        self.user_secret = secret
        self.secrets = {secret}
        """Besides those of the server: what may occur in no output."""
        self.credentials.parent.mkdir(mode=0o700)
        self.credentials.touch(mode=0o600)
        self.credentials.write_text(
            f"# mine\n[{SOURCE}]\naws_access_key_id = {access_key_id}\n"
            f"aws_secret_access_key = {secret}   \n\n"
        )
        self.config.parent.mkdir(mode=0o700, parents=True)

    @property
    def user_arn(self) -> str:
        return f"arn:aws:iam::123456789012:user/{self.user_name}"

    def add_role(self, *, trusts: object = None) -> str:
        """Return the ARN of a role that may read S3; by default it trusts this user."""
        statements = [READ_ONLY, MAY_ASSUME]
        return self.server.add_role(*statements, trusts=trusts or self.user_arn)

    def configure(self, profiles: Mapping[str, str | Mapping[str, object]]) -> None:
        """Write a configuration; a string is the ARN of a role that SOURCE may assume."""
        shapes = {
            name: {"role_arn": shape, "source_profile": SOURCE} if isinstance(shape, str) else shape
            for name, shape in profiles.items()
        }
        # JSON is YAML.
        self.write_config(json.dumps({"profiles": shapes}))

    def write_config(self, text: str) -> None:
        self.config.write_text(text)
        self.config.chmod(0o600)

    def daemon(self, *options: str, **environ: str) -> Daemon:
        number = len(list(self.home.glob("daemon-*.log"))) + 1
        return Daemon(self, self.home / f"daemon-{number}.log", *options, **environ)

    @contextmanager
    def running(self, *options: str, **environ: str) -> Iterator[Daemon]:
        """Run a daemon; wait until it has tried every profile once."""
        with self.daemon(*options, **environ) as daemon:
            self.wait_for_first_pass()
            self.collect_secrets()
            yield daemon
            self.collect_secrets()

    def wait_for_first_pass(self) -> None:
        def is_done() -> bool:
            status = self.status()
            return status["daemon"] is not None and all(
                profile["state"] != "pending" for profile in status["profiles"]
            )

        wait_until(is_done, "the first pass of the daemon")

    def run(
        self, *arguments: str, typed: str | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of assumed, with `typed` on its standard input."""
        return self._run([*self.assumed, *arguments], environ, typed)

    def aws(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the real AWS CLI."""
        beside = Path(sys.executable).with_name("aws")
        command = str(beside) if beside.exists() else shutil.which("aws")
        assert command is not None
        return self._run([command, *arguments], environ)

    def status(self) -> Any:
        done = self.run("status", "--json")
        return json.loads(done.stdout) if done.stdout else {"daemon": None, "profiles": []}

    def states(self) -> dict[str, str]:
        return {profile["profile"]: profile["state"] for profile in self.status()["profiles"]}

    def caller(self, profile: str) -> str:
        """Return the ARN of a profile, as the AWS CLI sees it."""
        done = self.aws("sts", "get-caller-identity", "--profile", profile)
        assert done.returncode == 0, done.stderr
        arn: str = json.loads(done.stdout)["Arn"]
        return arn

    def session(self, role: str, name: str) -> dict[str, str]:
        """Return a role session from STS; the check for secrets does not see it."""
        done = self.aws(
            "sts", "assume-role", "--role-arn", role, "--role-session-name", name,
            "--profile", SOURCE,
        )  # fmt: skip
        self.outputs.clear()
        found: dict[str, str] = json.loads(done.stdout)["Credentials"]
        return found

    def written(self) -> str:
        """Return everything that daemons and commands have logged or printed."""
        logs = [log.read_text() for log in self.home.glob("*.log*")]
        return "\n".join([*logs, *self.outputs])

    def collect_secrets(self) -> None:
        """Remember the tokens of endpoints and of SSO that are on disk now."""
        state = self.home / ".local" / "state" / "assumed"
        for root in (self.home / "run", state / "exec"):
            # Not `glob`, which fails where a command that ends removes its directory.
            for directory, _, names in os.walk(root):
                for name in names:
                    with suppress(FileNotFoundError):
                        if name.endswith(".token"):
                            self.secrets.add(Path(directory, name).read_text())
        for path in self.home.glob(".aws/sso/cache/*.json"):
            with suppress(ValueError):
                login = json.loads(path.read_text())
                secret = ("accessToken", "refreshToken", "clientSecret")
                self.secrets |= {login[name] for name in secret if name in login}

    def check_written(self) -> None:
        """Check that nothing that was logged or printed has a secret or a traceback."""
        self.collect_secrets()
        written = self.written()
        assert leaks(written, {*self.server.secrets(), *self.secrets}) == []
        assert "Traceback" not in written

    def _run(
        self, command: Sequence[str], environ: Mapping[str, str], typed: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(  # noqa: S603
            command,
            env={**self.environ, **environ},
            cwd=self.home,
            input=typed or "",
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        self.outputs += [done.stdout, done.stderr]
        if typed and is_mfa_code(typed.strip()):
            self.secrets.add(typed.strip())
        self.collect_secrets()
        return done
