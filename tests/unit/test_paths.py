"""`assumed.paths`: every value leads where botocore would go, and no other module reads one."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator, Mapping

import pytest
from botocore.configloader import raw_config_parse
from botocore.credentials import BotoProvider
from botocore.exceptions import ConfigNotFound
from botocore.session import Session
from botocore.utils import get_login_token_cache_directory

from assumed import paths
from tests.aws_suites import suite
from tests.repository import modules

VARIABLES = {
    "ASSUMED_CONFIG",
    "AWS_CONFIG_FILE",
    "AWS_LOGIN_CACHE_DIRECTORY",
    "AWS_SHARED_CREDENTIALS_FILE",
    "BOTO_CONFIG",
    "HOME",
    "RUNTIME_DIRECTORY",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
}
VALUES = {
    "unset": None,
    "empty": "",
    "absolute": "/etc/aws/file",
    "relative": "aws/file",
    "variable": "$ROOM/file",
    "braces": "${ROOM}/file",
    "two variables": "$ROOM/${ROOM}",
    "unknown variable": "$NO_SUCH_VARIABLE/file",
    "home": "~/file",
    "home behind a variable": "$TILDE/file",
    "home of a user": "~root/file",
    "unknown user": "~no-such-user/file",
    "tilde inside": "aws/~/file",
    "dollar at the end": "file$",
}
each_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/jane")
    monkeypatch.setenv("ROOM", "/room")
    monkeypatch.setenv("TILDE", "~")


def set_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv(name, value)


def path_of_botocore(name: str) -> str:
    """Return the path of the file that botocore does not find."""
    with pytest.raises(ConfigNotFound) as raised:
        raw_config_parse(Session().get_config_variable(name))
    return str(raised.value.kwargs["path"])


@each_value
@pytest.mark.parametrize(
    ("variable", "find", "name"),
    [
        ("AWS_CONFIG_FILE", paths.aws_config_file, "config_file"),
        ("AWS_SHARED_CREDENTIALS_FILE", paths.aws_credentials_file, "credentials_file"),
    ],
)
def test_the_aws_files_are_those_of_botocore(
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    find: Callable[[Mapping[str, str]], str],
    name: str,
    value: str | None,
) -> None:
    set_variable(monkeypatch, variable, value)
    assert find(os.environ) == path_of_botocore(name)


@each_value
def test_the_directory_of_logins_is_that_of_botocore(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    set_variable(monkeypatch, "AWS_LOGIN_CACHE_DIRECTORY", value)
    assert paths.login_cache_directory(os.environ, "login") == get_login_token_cache_directory()
    assert paths.login_cache_directory(os.environ, "sso") == "/home/jane/.aws/sso/cache"


@each_value
def test_the_files_of_boto_2_are_those_of_botocore(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    set_variable(monkeypatch, "BOTO_CONFIG", value)
    missing: list[str] = []

    def parse(path: str) -> dict[str, dict[str, str]]:
        try:
            return raw_config_parse(path)
        except ConfigNotFound as error:
            missing.append(str(error.kwargs["path"]))
            raise

    BotoProvider(os.environ, parse).load()
    assert paths.boto_2_files(os.environ) == tuple(missing)


CONFIGURATIONS = ("/home/jane/.config/assumed/config.yaml", "/etc/assumed/config.yaml")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, CONFIGURATIONS),
        ("", CONFIGURATIONS),
        ("/etc/file", ("/etc/file",)),
        ("relative", ("relative",)),
        ("$ROOM/file", ("/room/file",)),
        ("${ROOM}/file", ("/room/file",)),
        ("~/file", ("/home/jane/file",)),
        ("~root/file", ("/root/file",)),
        ("~no-such-user/file", ("~no-such-user/file",)),
    ],
)
def test_assumed_config_names_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
    expected: tuple[str, ...],
) -> None:
    set_variable(monkeypatch, "ASSUMED_CONFIG", value)
    assert paths.configuration_files(os.environ) == expected


@pytest.mark.parametrize(
    ("explicit", "expected"),
    [
        ("file", "file"),
        ("~/file", "/home/jane/file"),
        ("~no-such-user/file", "~no-such-user/file"),
        ("$ROOM/file", "$ROOM/file"),
    ],
)
def test_the_option_comes_before_the_variable_and_its_variables_are_the_shells(
    explicit: str, expected: str
) -> None:
    named = {"ASSUMED_CONFIG": "/etc/file"}
    assert paths.configuration_files(named, explicit) == (expected,)


NOT_ABSOLUTE = [None, "", "relative/base", "~/base", "$ROOM/base"]


@pytest.mark.parametrize("base", NOT_ABSOLUTE)
def test_an_xdg_directory_that_is_not_absolute_is_ignored(
    monkeypatch: pytest.MonkeyPatch, base: str | None
) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        set_variable(monkeypatch, name, base)
    assert paths.config_home(os.environ) == "/home/jane/.config"
    assert paths.configuration_files(os.environ) == CONFIGURATIONS
    assert paths.state_directory(os.environ) == "/home/jane/.local/state/assumed"
    assert paths.runtime_directory(os.environ) is None
    assert paths.daemon_socket(os.environ) == "/home/jane/.local/state/assumed/run/assumed.sock"


def test_an_xdg_directory_is_taken_as_it_is() -> None:
    given = {
        "XDG_CONFIG_HOME": "/$ROOM/config",
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "XDG_STATE_HOME": "/~/state",
    }
    assert paths.config_home(given) == "/$ROOM/config"
    assert paths.configuration_files(given)[0] == "/$ROOM/config/assumed/config.yaml"
    assert paths.state_directory(given) == "/~/state/assumed"
    assert paths.runtime_directory(given) == "/run/user/1000"


def test_the_home_directory_is_that_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.home_directory() == "/home/jane"
    monkeypatch.delenv("HOME")
    assert f"{paths.home_directory()}/.aws/config" == path_of_botocore("config_file")


def test_a_client_looks_in_the_directories_of_the_user_and_of_the_system() -> None:
    given = {"XDG_RUNTIME_DIR": "/run/user/1000", "XDG_STATE_HOME": "/state"}
    assert paths.client_sockets(given, "jane") == (
        "/run/user/1000/assumed/assumed.sock",
        "/run/assumed/jane/assumed.sock",
        "/state/assumed/run/assumed.sock",
    )
    assert paths.client_sockets({"XDG_STATE_HOME": "/state"}, "jane") == (
        "/run/assumed/jane/assumed.sock",
        "/state/assumed/run/assumed.sock",
    )


@pytest.mark.parametrize(
    "given",
    [
        {"RUNTIME_DIRECTORY": "/run/assumed/jane:/run/more", "XDG_RUNTIME_DIR": "/run/user/1000"},
        {"XDG_RUNTIME_DIR": "/run/user/1000", "XDG_STATE_HOME": "/state"},
        {"XDG_STATE_HOME": "/state"},
        {},
    ],
)
def test_a_client_finds_the_socket_that_a_daemon_makes(given: Mapping[str, str]) -> None:
    assert paths.daemon_socket(given) in paths.client_sockets(given, "jane")


def test_the_runtime_directory_of_a_unit_comes_first_for_the_daemon() -> None:
    given = {"RUNTIME_DIRECTORY": "/run/assumed/me:/run/more", "XDG_RUNTIME_DIR": "/run/user/1"}
    assert paths.daemon_socket(given) == "/run/assumed/me/assumed.sock"


def test_a_user_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert paths.user_name() == "4000000000"


def reads(tree: ast.AST) -> Iterator[int]:
    """Yield the line of each expression that finds a path by the environment."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="expanduser" | "expandvars"):
                yield node.lineno
            case ast.Attribute(ast.Name("Path"), "home"):
                yield node.lineno
            case ast.Call(ast.Attribute(attr="get" | "getenv" | "pop"), [ast.Constant(name), *_]):
                yield from [node.lineno] if name in VARIABLES else []
            case ast.Subscript(_, ast.Constant(name), ast.Load()):
                yield from [node.lineno] if name in VARIABLES else []
            case ast.Compare(ast.Constant(name), [ast.In() | ast.NotIn()]):
                yield from [node.lineno] if name in VARIABLES else []


def test_no_other_module_reads_a_variable_that_names_a_path() -> None:
    found = [
        f"{file}:{line}"
        for file, tree in modules().items()
        if file != "paths.py"
        for line in reads(tree)
    ]
    assert found == []


def test_every_way_to_read_one_is_seen() -> None:
    ways = [
        'environ.get("HOME")',
        'environ.get("HOME", "")',
        'os.environ["XDG_STATE_HOME"]',
        'os.getenv("AWS_CONFIG_FILE")',
        'environ.pop("BOTO_CONFIG")',
        '"XDG_RUNTIME_DIR" in environ',
        '"XDG_RUNTIME_DIR" not in environ',
        'Path("x").expanduser()',
        "os.path.expandvars(text)",
        "Path.home()",
    ]
    assert list(reads(ast.parse("\n".join(ways)))) == [*range(1, len(ways) + 1)]
    others = ['environ.get("PATH")', 'environ["HOME"] = home', '{"HOME": home}', "Path.cwd()"]
    assert list(reads(ast.parse("\n".join(others)))) == []


def test_the_aws_files_are_where_the_suite_of_the_sdks_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = suite("smithy-rs/file-location-tests.json", "where the SDKs look for the AWS files")
    on_linux = [case for case in cases["tests"] if case["platform"] == "linux"]
    assert len(on_linux) >= 4
    for case in on_linux:
        for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.delenv(variable, raising=False)
        for variable, value in case["environment"].items():
            monkeypatch.setenv(variable, value)
        assert paths.aws_config_file(os.environ) == case["configLocation"], case["name"]
        assert paths.aws_credentials_file(os.environ) == case["credentialsLocation"], case["name"]
