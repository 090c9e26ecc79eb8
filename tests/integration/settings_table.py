"""What `aws --profile X` calls and gets, beside `assumed refresh`, `init`'s new name and `exec`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from shutil import copy
from urllib.parse import quote

from assumed.aws_files.profiles import AwsFiles, read_aws_files
from tests.integration.intercepted_aws import Call, InterceptedAws
from tests.integration.metadata import Metadata

# What the AWS CLI does for `aws sts get-caller-identity --profile X`, for many profiles; and the
# AWS CLI itself for `aws configure get region`.
_ASK = """
import contextlib, io, json, sys, urllib.parse
import botocore.session
from awscli.clidriver import create_clidriver
found = {}
for name in sys.argv[1:]:
    session = botocore.session.Session(profile=name)
    session.user_agent_extra = "for/" + urllib.parse.quote(name, safe="")
    try:
        prompt = session.get_component("credential_provider").get_provider("assume-role")
        prompt._prompter = lambda _: "123456"
        identity = session.create_client("sts").get_caller_identity()["Arn"]
    except Exception as error:
        identity = f"{type(error).__name__}: {error}"
    region = io.StringIO()
    with contextlib.redirect_stdout(region):
        create_clidriver().main(["configure", "get", "region", "--profile", name])
    found[name] = identity, region.getvalue().strip()
print(json.dumps(found))
"""
# The same in a command under `exec`, without the start of the AWS CLI for each.
_ASK_IN_EXEC = """
import json, botocore.session
session = botocore.session.Session()
session.user_agent_extra = "for/-"
identity = session.create_client("sts").get_caller_identity()["Arn"]
print(json.dumps([identity, session.get_scoped_config().get("region", "")]))
"""

Answers = Mapping[str, Sequence[str]]
"""The identity, or the error, and the region, by profile."""


@dataclass(frozen=True, slots=True)
class Row:
    """One profile.

    Args:
        profile: of the AWS files.
        fresh: the name that `init` gives.
        differences: of the call that assumes the role, by field: those of AWS tools and of assumed.
        identities: of AWS tools, of the fresh name and of `exec`, without the session's name.
        regions: likewise, of `aws configure get region`.
    """

    profile: str
    fresh: str
    differences: Mapping[str, tuple[str, str]]
    identities: tuple[str, str, str]
    regions: tuple[str, str, str]


class SettingsTable:
    """A home whose profiles are compared.

    Args:
        home: an empty directory.
        files: the AWS files by name; `{home}` in them is replaced.
        aws: answers.
        environ: leads to it.
        metadata: the metadata service of the instance.
    """

    def __init__(
        self,
        home: Path,
        files: Mapping[str, str],
        aws: InterceptedAws,
        environ: Mapping[str, str],
        metadata: Metadata,
    ) -> None:
        self.home, self._aws = home, aws
        self.config = home / ".aws" / "config"
        for name, text in files.items():
            path = home / ".aws" / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_text(text.replace("{home}", str(home)))
            path.chmod(0o600)
        copy(environ["REQUESTS_CA_BUNDLE"], home / "corp-ca.pem")
        (home / "token").write_text("a.web.identity.token")
        (home / "bin").mkdir()
        metadata.credentials = {
            "AccessKeyId": "ASIAINSTANCE00000001",
            "SecretAccessKey": "instance-secret",
            "Token": "t",
            "Expiration": _moment(hours=6),
            "LastUpdated": _moment(),
        }
        aws.identities["ASIAINSTANCE00000001"] = "arn:aws:sts::1:assumed-role/instance/i-1"
        aws.identities["ASIASAML000000000001"] = "arn:aws:sts::1:assumed-role/saml/robin"
        self.environ = {
            "HOME": str(home),
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(home / "run"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url,
            **{name: value for name, value in os.environ.items() if name.startswith("COV")},
            **environ,
        }
        self.files = self._read()
        self._log_in()

    def assumed(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of assumed."""
        return self._run([sys.executable, "-m", "assumed", *arguments], typed)

    def rows(self, fresh: Mapping[str, str]) -> list[Row]:
        """Ask for every profile.

        Args:
            fresh: the new name of each profile.
        """
        theirs = self._ask(list(fresh))
        by_tool = [call for call in self._aws.calls if "for/" in call.user_agent]
        self._refresh(fresh.values())
        ours = self._made_by_assumed()
        under_new_name = self._ask(list(fresh.values()))
        with ThreadPoolExecutor(4) as pool:
            in_exec = dict(zip(fresh, pool.map(self._exec, fresh.values()), strict=True))
        rows = []
        for profile, name in fresh.items():
            role = self.files.profiles[profile].value("role_arn") or ""
            marker = f"for/{quote(profile, safe='')}"
            tool = [call for call in by_tool if marker in call.user_agent.split()]
            answers = theirs[profile], under_new_name[name], in_exec[profile]
            rows.append(
                Row(
                    profile,
                    name,
                    self._differences(_last(tool, role), _last(ours, role)) if role else {},
                    tuple(_role_of(answer[0]) for answer in answers),  # type: ignore[arg-type]
                    tuple(answer[1] for answer in answers),  # type: ignore[arg-type]
                )
            )
        return rows

    def hosts(self, action: str) -> tuple[set[str], set[str]]:
        """Return the hosts that received an action from AWS tools, and from assumed."""
        ours = self._made_by_assumed()
        calls = [call for call in self._aws.calls if call.action == action]
        tools = {call.host for call in calls if call not in ours}
        return tools, {call.host for call in calls if call in ours}

    def _made_by_assumed(self) -> list[Call]:
        return [call for call in self._aws.calls if "for/" not in call.user_agent]

    def _differences(self, theirs: Call | None, ours: Call | None) -> dict[str, tuple[str, str]]:
        one, other = self._fields(theirs), self._fields(ours)
        return {
            key: (one.get(key, ""), other.get(key, ""))
            for key in {**one, **other}
            if one.get(key, "") != other.get(key, "")
        }

    def _fields(self, call: Call | None) -> dict[str, str]:
        if call is None:
            return {}
        found = {"DurationSeconds": "3600", **call.parameters}
        # AWS tools name a session by the time, and assumed by the user and the host.
        if found["RoleSessionName"].startswith(("botocore-session-", "assumed-")):
            del found["RoleSessionName"]
        signer = self._aws.identity_of(call.signer)
        return {"host": call.host, "region": call.region, "signer": _role_of(signer), **found}

    def _ask(self, profiles: Sequence[str]) -> Answers:
        done = self._run([sys.executable, "-c", _ASK, *profiles])
        assert done.returncode == 0, done.stderr
        answers: Answers = json.loads(done.stdout)
        return answers

    def _refresh(self, names: Iterable[str]) -> None:
        done = self.assumed("refresh", *names)
        if "with `assumed login`" in done.stderr:
            # Each code is valid once.
            codes = (f"{code}\n" for code in range(200_001, 200_009))
            started = self.assumed("login", typed="".join(codes))
            assert started.returncode == 0, started.stderr
            self.assumed("refresh", *names)

    def _exec(self, name: str) -> Sequence[str]:
        done = self.assumed("exec", name, "--", sys.executable, "-c", _ASK_IN_EXEC)
        assert done.returncode == 0, done.stderr
        answer: Sequence[str] = json.loads(done.stdout)
        return answer

    def _run(self, command: Sequence[str], typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            command,
            env=self.environ,
            cwd=self.home,
            input=typed,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def _read(self) -> AwsFiles:
        return read_aws_files(self.config, self.home / ".aws" / "credentials")

    def _log_in(self) -> None:
        """Log in to every SSO, and install every command."""
        cache = self.home / ".aws" / "sso" / "cache"
        cache.mkdir(parents=True)
        for profile in self.files.profiles.values():
            key = profile.value("sso_session") or profile.value("sso_start_url")
            if key is not None:
                token = {"accessToken": "t", "expiresAt": _moment(hours=8), "region": "us-east-1"}
                name = sha1(key.encode(), usedforsecurity=False).hexdigest()
                (cache / f"{name}.json").write_text(json.dumps(token))
            if (command := profile.value("mfa_process")) is not None:
                self._install(command.split()[0], "echo 654321")
            process = profile.value("credential_process")
            if process is not None:
                program = process.split()[0]
                key = (
                    f"ASIA{sha1(program.encode(), usedforsecurity=False).hexdigest()[:16].upper()}"
                )
                self._aws.identities[key] = f"arn:aws:sts::1:assumed-role/{program}/x"
                keys = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": "s"}
                keys |= {"SessionToken": "t", "Expiration": _moment(hours=8)}
                if "--no-session" in process:
                    keys = {"Version": 1, "AccessKeyId": "AKIAVAULT", "SecretAccessKey": "s"}
                self._install(program, f"echo '{json.dumps(keys)}'")

    def _install(self, program: str, text: str) -> None:
        path = self.home / "bin" / program
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)


def _last(calls: Sequence[Call], role: str) -> Call | None:
    found = [call for call in calls if call.parameters.get("RoleArn") == role]
    return found[-1] if found else None


def _role_of(arn: str) -> str:
    """Return an ARN without the name of the session."""
    return arn.rpartition("/")[0] if ":assumed-role/" in arn else arn


def _moment(*, hours: int = 0) -> str:
    return f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
