from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.credentials import ContainerProvider, create_credential_resolver

from assumed.app.exec_environment import (
    IsolatedAwsFiles,
    create_isolated_files,
    remove_stale_exec_dirs,
)
from assumed.app.exec_variables import TABLE, ExecContext, child_environ, original_environ
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


def environ_of(
    environ: Mapping[str, str],
    files: IsolatedAwsFiles,
    provided: EndpointAddress | Mapping[str, str],
    region: str | None = None,
) -> dict[str, str]:
    """Return the environment of a command."""
    return child_environ(ExecContext(environ, files.config, files.credentials, provided, region))


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
    environ = environ_of({"HOME": str(home), **users}, files, address)
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
    environ = environ_of({"AWS_CONTAINER_AUTHORIZATION_TOKEN": "mine"}, files, address)
    assert environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] == str(address.token_file)
    assert environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] == "token-of-deploy"


def test_child_environ_has_static_credentials(home: Path, files: IsolatedAwsFiles) -> None:
    environ = environ_of({"AWS_SESSION_TOKEN": "mine", "A": "b"}, files, STATIC)
    assert environ["AWS_ACCESS_KEY_ID"] == "ASIA"
    assert environ["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert environ["AWS_SESSION_TOKEN"] == "token"
    assert environ["AWS_CREDENTIAL_EXPIRATION"] == "2026-11-24T13:00:00Z"
    assert environ["A"] == "b"


REGION_OF_THE_PROFILE = "eu-west-3"
BOTH = {"AWS_REGION": REGION_OF_THE_PROFILE, "AWS_DEFAULT_REGION": REGION_OF_THE_PROFILE}


@pytest.mark.parametrize(
    ("environ", "region", "expected"),
    [
        ({}, REGION_OF_THE_PROFILE, BOTH),
        ({}, None, {}),
        ({"AWS_REGION": "us-east-1"}, REGION_OF_THE_PROFILE, {"AWS_REGION": "us-east-1"}),
        (
            {"AWS_DEFAULT_REGION": "us-east-1"},
            REGION_OF_THE_PROFILE,
            {"AWS_DEFAULT_REGION": "us-east-1"},
        ),
    ],
)
def test_child_environ_has_the_region_of_the_profile_unless_the_user_set_one(
    files: IsolatedAwsFiles,
    address: EndpointAddress,
    environ: dict[str, str],
    region: str | None,
    expected: dict[str, str],
) -> None:
    for provided in (address, STATIC):
        child = environ_of(environ, files, provided, region)
        assert {name: child[name] for name in BOTH if name in child} == expected


def test_a_nested_exec_has_the_region_of_its_own_profile(
    files: IsolatedAwsFiles, address: EndpointAddress
) -> None:
    outer = environ_of({}, files, address, "us-east-1")
    assert environ_of(outer, files, address, "eu-west-3")["AWS_REGION"] == "eu-west-3"
    assert "AWS_REGION" not in environ_of(outer, files, address)


def test_every_variable_has_one_row_with_its_clients_and_a_reason() -> None:
    names = [name for row in TABLE for name in row.names]
    assert len(names) == len(set(names))
    assert all(row.clients and row.reason for row in TABLE)


def test_child_environ_names_the_empty_credentials_file_in_the_variable_of_each_client(
    files: IsolatedAwsFiles, address: EndpointAddress
) -> None:
    mine = {
        "AWS_CREDENTIAL_PROFILES_FILE": "/home/me/.aws/credentials",
        "CPL_AWS_CREDENTIALS_FILE": "/home/me/.aws/credentials",
        "AWS_SDK_LOAD_CONFIG": "0",
        "AWS_EC2_METADATA_DISABLED": "false",
    }
    for provided in (address, STATIC):
        child = environ_of(mine, files, provided)
        for name in (
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_CREDENTIAL_PROFILES_FILE",
            "CPL_AWS_CREDENTIALS_FILE",
        ):
            assert child[name] == str(files.credentials)
        assert child["AWS_SDK_LOAD_CONFIG"] == "1"
        assert child["AWS_EC2_METADATA_DISABLED"] == "true"


def test_assumed_under_exec_may_use_the_instance_metadata(
    files: IsolatedAwsFiles, address: EndpointAddress
) -> None:
    assert original_environ(environ_of({}, files, address))["AWS_EC2_METADATA_DISABLED"] is None


def test_child_environ_has_the_token_of_boto_2_only_with_static_credentials(
    files: IsolatedAwsFiles, address: EndpointAddress
) -> None:
    mine = {"AWS_SECURITY_TOKEN": "mine"}
    assert environ_of(mine, files, STATIC)["AWS_SECURITY_TOKEN"] == "token"
    assert "AWS_SECURITY_TOKEN" not in environ_of(mine, files, address)


def test_child_environ_keeps_a_boto_2_file_without_keys(
    address: EndpointAddress, home: Path, files: IsolatedAwsFiles
) -> None:
    (home / ".boto").write_text("[GSUtil]\nparallel_thread_count = 1\n")
    assert "BOTO_CONFIG" not in environ_of({}, files, address)


@pytest.mark.parametrize(
    "environ",
    [{}, {"AWS_CONFIG_FILE": "/c"}, {"AWS_CONFIG_FILE": "/c", "AWS_SHARED_CREDENTIALS_FILE": "/s"}],
)
def test_original_environ_finds_the_files_of_the_user_at_any_depth(
    address: EndpointAddress, home: Path, files: IsolatedAwsFiles, environ: dict[str, str]
) -> None:
    assert original_environ(environ) == {}
    once = environ_of(environ, files, address)
    twice = environ_of(once, files, address)
    expected = {
        "AWS_CONFIG_FILE": environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
        "AWS_SHARED_CREDENTIALS_FILE": environ.get(
            "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"
        ),
    }
    for child in (once, twice):
        assert {name: original_environ(child)[name] for name in expected} == expected
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
    environ = environ_of({"HOME": str(Path.home())}, files, address)
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


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": ".corp,localhost"}, ".corp,localhost,127.0.0.1"),
        ({"no_proxy": ".corp"}, ".corp,127.0.0.1"),
        ({"NO_PROXY": "upper", "no_proxy": "lower"}, "lower,127.0.0.1"),
        ({"NO_PROXY": "upper", "no_proxy": ""}, "upper,127.0.0.1"),
        ({"NO_PROXY": "*"}, "*"),
        ({"NO_PROXY": "127.0.0.1"}, "127.0.0.1"),
        ({"no_proxy": "a, 127.0.0.1, b"}, "a, 127.0.0.1, b"),
    ],
)
def test_child_environ_keeps_the_exceptions_of_the_http_proxy_and_adds_the_endpoint(
    files: IsolatedAwsFiles,
    address: EndpointAddress,
    environ: dict[str, str],
    expected: str,
) -> None:
    once = environ_of(environ, files, address)
    twice = environ_of(once, files, address)
    for child in (once, twice):
        assert (child["NO_PROXY"], child["no_proxy"]) == (expected, expected)
    static = environ_of(environ, files, STATIC)
    assert {name: static[name] for name in ("NO_PROXY", "no_proxy") if name in static} == environ


PROCESS = ["/opt/a b/bin/assumed", "export-credentials", "--profile"]


@pytest.mark.parametrize(
    ("profile", "header"),
    [
        ("deploy", "[profile deploy]"),
        ("account/Role", "[profile account/Role]"),
        ("jane@corp", "[profile jane@corp]"),
        ("a b", "[profile 'a b']"),
        ("default", "[default]"),
    ],
)
def test_isolated_files_quote_a_profile_only_if_its_name_needs_it(
    files: IsolatedAwsFiles, profile: str, header: str
) -> None:
    files.write(profile, {"profile": {"region": "eu-west-3"}})
    lines = files.config.read_text().splitlines()
    assert [line for line in lines if line.startswith("[")] == list(
        dict.fromkeys(["[default]", header])
    )


@pytest.mark.parametrize("name", [None, "a b"])
def test_isolated_files_have_the_credential_process_in_both_profiles(
    files: IsolatedAwsFiles,
    address: EndpointAddress,
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
) -> None:
    files.write("a b", {"profile": {}}, process=[*PROCESS, "a b"])
    environ = environ_of({"HOME": str(Path.home())}, files, address)
    session = botocore_under(monkeypatch, environ, name)
    assert session.get_scoped_config() == {
        "credential_process": "'/opt/a b/bin/assumed' export-credentials --profile 'a b'"
    }
