"""A home with the two AWS files, for tests of source profiles."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
from botocore.credentials import SSOProvider
from botocore.tokens import SSOTokenProvider

from assumed.credential_sources.base import SourceProfiles
from assumed.errors import AssumedError
from assumed.models import SourceCredentials
from tests.aws_environment import clear_aws_environment

KEYS = "aws_access_key_id = AKIAFIRST\naws_secret_access_key = first-secret\n"
OTHER_KEYS = "aws_access_key_id = AKIAOTHER\naws_secret_access_key = other-secret\n"
CLOSED_PORT = "http://127.0.0.1:1/"


class AwsFiles:
    """The AWS files of a home; the environment leads to them and to no endpoint.

    Args:
        home: the home.
        monkeypatch: sets the environment.
    """

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.config_path = home / "config"
        self.credentials_path = home / "credentials"
        clear_aws_environment(monkeypatch)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(self.config_path))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(self.credentials_path))
        # botocore reads the home when it is imported.
        for kind in (SSOProvider, SSOTokenProvider):
            monkeypatch.setattr(kind, "_SSO_TOKEN_CACHE_DIR", str(home / ".aws/sso/cache"))
        # No test may reach an endpoint, not even one of the machine that runs it.
        monkeypatch.setenv("AWS_ENDPOINT_URL", CLOSED_PORT)

    def config(self, text: str) -> None:
        self.config_path.write_text(text)

    def credentials(self, text: str) -> None:
        self.credentials_path.write_text(text)

    def process(self, output: str, *, status: int = 0, stderr: str = "") -> None:
        """Make profile `keys` a credential_process, which counts its runs."""
        (self.home / "stdout").write_text(output)
        (self.home / "stderr").write_text(stderr)
        program = self.home / "program.py"
        program.write_text(
            "import pathlib, sys\n"
            f"home = pathlib.Path({str(self.home)!r})\n"
            "home.joinpath('runs').open('a').write('x')\n"
            "sys.stdout.write(home.joinpath('stdout').read_text())\n"
            "sys.stderr.write(home.joinpath('stderr').read_text())\n"
            f"sys.exit({status})\n"
        )
        self.config(f"[profile keys]\ncredential_process = {sys.executable} -I -S {program}\n")

    @property
    def process_runs(self) -> int:
        return len((self.home / "runs").read_text())

    def sso_token(self, cache_key: str, text: str) -> None:
        directory = self.home / ".aws" / "sso" / "cache"
        directory.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha1(cache_key.encode(), usedforsecurity=False).hexdigest()
        (directory / f"{name}.json").write_text(text)


def credentials_of(name: str) -> SourceCredentials:
    return SourceProfiles().resolve(name).credentials()


def failure_of(kind: type[AssumedError], name: str) -> AssumedError:
    """Return the error that resolving a source profile raises; it has a hint."""
    with pytest.raises(kind) as raised:
        credentials_of(name)
    assert raised.value.hint
    return raised.value
