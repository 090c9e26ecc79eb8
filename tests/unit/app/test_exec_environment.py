from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.credentials import ContainerProvider, create_credential_resolver

from assumed.app.exec_environment import (
    IsolatedAwsFiles,
    child_environ,
    create_isolated_files,
    original_environ,
    remove_stale_exec_dirs,
    with_region,
)
from assumed.models import EndpointAddress

URL = "http://127.0.0.1:1/v1/credentials/deploy"
STATIC = {
    "AccessKeyId": "ASIA",
    "SecretAccessKey": "secret",
    "SessionToken": "token",
    "Expiration": "2026-11-24T13:00:00Z",
}
KEYS = "aws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("AWS_", "BOTO_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def address(tmp_path: Path) -> EndpointAddress:
    token_file = tmp_path / "token"
    token_file.write_text("token-of-deploy")
    return EndpointAddress(url=URL, token_file=token_file)


@pytest.fixture
def files(home: Path) -> IsolatedAwsFiles:
    return create_isolated_files({"HOME": str(home)})


def botocore_under(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], profile: str | None = None
) -> botocore.session.Session:
    """Return the botocore session of a process with this environment."""
    for name in list(os.environ):
        if name not in environ:
            monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return botocore.session.Session(profile=profile)


# botocore prefers each of them to an endpoint.
CREDENTIALS_OF_THE_USER = {
    "env": {"AWS_ACCESS_KEY_ID": "AKIAMINE", "AWS_SECRET_ACCESS_KEY": "mine"},
    "AWS_PROFILE": {"AWS_PROFILE": "mine"},
    "AWS_DEFAULT_PROFILE": {"AWS_DEFAULT_PROFILE": "mine"},
    "web identity": {"AWS_ROLE_ARN": "arn", "AWS_WEB_IDENTITY_TOKEN_FILE": "/dev/null"},
    "ec2 file": {"AWS_CREDENTIAL_FILE": "HOME/ec2"},
    "boto 2 file": {"BOTO_CONFIG": "HOME/boto"},
    "another container endpoint": {
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/mine",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "mine",
    },
    "AWS files": {
        "AWS_CONFIG_FILE": "HOME/.aws/config",
        "AWS_SHARED_CREDENTIALS_FILE": "HOME/.aws/credentials",
    },
    "nothing": {},
}


@pytest.mark.parametrize("profile", [None, "deploy"])
@pytest.mark.parametrize("kind", CREDENTIALS_OF_THE_USER)
def test_botocore_prefers_the_endpoint_to_credentials_of_the_user(
    files: IsolatedAwsFiles,
    address: EndpointAddress,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    profile: str | None,
) -> None:
    home = Path.home()
    (home / ".aws").mkdir()
    section = KEYS + "role_arn = arn:aws:iam::1:role/x\nsource_profile = mine\n"
    (home / ".aws" / "config").write_text(f"[default]\n{section}[profile deploy]\n{section}")
    (home / ".aws" / "credentials").write_text(f"[default]\n{KEYS}[deploy]\n{KEYS}[mine]\n{KEYS}")
    (home / ".boto").write_text(f"[Credentials]\n{KEYS}")
    (home / "boto").write_text(f"[Credentials]\n{KEYS}")
    (home / "ec2").write_text("AWSAccessKeyId=AKIAMINE\nAWSSecretKey=mine\n")
    users = {
        name: value.replace("HOME", str(home))
        for name, value in CREDENTIALS_OF_THE_USER[kind].items()
    }
    files.write("deploy", {"profile": {"region": "eu-west-3"}})
    environ = child_environ({"HOME": str(home), **users}, files, address)
    asked: list[str] = []

    def load(provider: Any) -> Any:
        asked.append(provider._environ[provider.ENV_VAR_FULL])
        assert not provider._provided_relative_uri()
        return "of the endpoint"

    monkeypatch.setattr(ContainerProvider, "load", load)
    session = botocore_under(monkeypatch, environ, profile)
    found: Any = create_credential_resolver(session).load_credentials()
    assert found == "of the endpoint"
    assert asked == [URL]
    assert session.get_config_variable("region") == "eu-west-3"


def test_botocore_has_no_unknown_provider_before_the_endpoint(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """child_environ would have to hide a new provider of a new botocore too."""
    session = botocore_under(monkeypatch, {"HOME": str(home)})
    methods = [provider.METHOD for provider in create_credential_resolver(session).providers]
    assert methods[: methods.index("container-role")] == [
        "env",
        "assume-role",
        "assume-role-with-web-identity",
        "sso",
        "shared-credentials-file",
        "login",
        "custom-process",
        "config-file",
        "ec2-credentials-file",
        "boto-config",
    ]


def test_child_environ_has_the_token_for_sdks_without_token_file_support(
    address: EndpointAddress, files: IsolatedAwsFiles
) -> None:
    environ = child_environ({"AWS_CONTAINER_AUTHORIZATION_TOKEN": "mine"}, files, address)
    assert environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] == str(address.token_file)
    assert environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] == "token-of-deploy"


def test_child_environ_has_static_credentials(home: Path, files: IsolatedAwsFiles) -> None:
    environ = child_environ({"AWS_SESSION_TOKEN": "mine", "A": "b"}, files, STATIC)
    assert environ["AWS_ACCESS_KEY_ID"] == "ASIA"
    assert environ["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert environ["AWS_SESSION_TOKEN"] == "token"
    assert environ["AWS_CREDENTIAL_EXPIRATION"] == "2026-11-24T13:00:00Z"
    assert environ["A"] == "b"


@pytest.mark.parametrize(
    ("environ", "region", "expected"),
    [
        ({}, "eu-west-3", {"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "eu-west-3"}),
        ({}, None, {}),
        ({"AWS_REGION": "us-east-1"}, "eu-west-3", {"AWS_REGION": "us-east-1"}),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "eu-west-3", {"AWS_DEFAULT_REGION": "us-east-1"}),
    ],
)
def test_with_region_keeps_the_region_of_the_environment(
    environ: dict[str, str], region: str | None, expected: dict[str, str]
) -> None:
    assert with_region(environ, region) == expected


def test_child_environ_keeps_a_boto_2_file_without_keys(
    address: EndpointAddress, home: Path, files: IsolatedAwsFiles
) -> None:
    (home / ".boto").write_text("[GSUtil]\nparallel_thread_count = 1\n")
    assert "BOTO_CONFIG" not in child_environ({}, files, address)


@pytest.mark.parametrize(
    "environ",
    [{}, {"AWS_CONFIG_FILE": "/c"}, {"AWS_CONFIG_FILE": "/c", "AWS_SHARED_CREDENTIALS_FILE": "/s"}],
)
def test_original_environ_finds_the_files_of_the_user_at_any_depth(
    address: EndpointAddress, home: Path, files: IsolatedAwsFiles, environ: dict[str, str]
) -> None:
    assert original_environ(environ) == {}
    once = child_environ(environ, files, address)
    twice = child_environ(once, files, address)
    expected = {
        "AWS_CONFIG_FILE": environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        "AWS_SHARED_CREDENTIALS_FILE": environ.get(
            "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"
        ),
    }
    assert original_environ(once) == original_environ(twice) == expected
    assert once["AWS_CONFIG_FILE"] == twice["AWS_CONFIG_FILE"] == str(files.config)


def test_isolated_files_are_private(files: IsolatedAwsFiles) -> None:
    before = os.umask(0)
    try:
        files.write("deploy", {"profile": {}})
    finally:
        os.umask(before)
    for path, mode in ((files.directory, 0o700), (files.config, 0o600), (files.credentials, 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(files.directory.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("profile", ["deploy", "a b", "a'b", "käse", "default"])
def test_botocore_reads_the_settings_from_isolated_files(
    files: IsolatedAwsFiles, address: EndpointAddress, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "region": "eu-west-3",
        "s3": {"max_concurrent_requests": "3", "addressing_style": "path"},
        "services": "local",
        "cli_pager": "",
        "ca_bundle": "/a b/#c;d = e",
    }
    services = {"sts": {"endpoint_url": "http://127.0.0.1:1"}}
    files.write(profile, {"profile": settings, "services local": services})
    environ = child_environ({"HOME": str(Path.home())}, files, address)
    for name in (None, profile):
        session = botocore_under(monkeypatch, environ, name)
        assert session.get_scoped_config() == settings
        assert session.full_config["services"] == {"local": services}


def test_remove_stale_exec_dirs_keeps_those_of_running_commands(
    files: IsolatedAwsFiles, home: Path
) -> None:
    here = files.directory.name.split("-", 2)[2]
    ended = files.directory.with_name(f"999999999-1-{here}")
    (ended / "endpoint-1").mkdir(parents=True)
    remove_stale_exec_dirs({"HOME": str(home)})
    assert list(files.directory.parent.iterdir()) == [files.directory]


def test_remove_stale_exec_dirs_never_fails(home: Path) -> None:
    remove_stale_exec_dirs({"HOME": str(home)})
    (home / "file").write_text("")
    remove_stale_exec_dirs({"XDG_STATE_HOME": str(home / "file")})


def test_child_environ_bypasses_http_proxies_for_the_endpoint(
    files: IsolatedAwsFiles, address: EndpointAddress
) -> None:
    plain = child_environ({"http_proxy": "http://proxy"}, files, address)
    assert (plain["NO_PROXY"], plain["no_proxy"]) == ("127.0.0.1", "127.0.0.1")
    named = child_environ({"no_proxy": "intranet"}, files, address)
    assert named["no_proxy"] == "intranet,127.0.0.1"
