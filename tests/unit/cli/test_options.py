"""The common options: their place on the command line, and what they decide."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from assumed.cli.exec import _ExecCommand
from assumed.cli.options import (
    Command,
    CommandGroup,
    Options,
    common_options,
    parse_duration_option,
)
from assumed.cli.other_user import typed_arguments
from assumed.fastpath.arguments import put_command_first


@pytest.mark.parametrize(
    ("typed", "moved"),
    [
        ("", ""),
        ("status --json", "status --json"),
        ("--config FILE run", "run --config FILE"),
        ("--config=FILE -vv -q status --json", "status --config=FILE -vv -q --json"),
        ("--log-level debug --log-file L refresh a", "refresh --log-level debug --log-file L a"),
        ("-h", "-h"),
        ("-v --help", "--help -v"),
        ("--json status", "--json status"),
        ("--config", "--config"),
    ],
)
def test_common_options_before_the_command_move_behind_it(typed: str, moved: str) -> None:
    assert put_command_first(typed.split()) == moved.split()


@click.group("group", cls=CommandGroup)
def group() -> None:
    """Do something."""


@group.command("show")
@common_options(log_level="warning", has_json=True)
def show(options: Options) -> None:
    """Show the options."""
    click.echo(f"{options.log_level} {options.config} {options.as_json}")
    options.echo("done")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("show", "warning None False\ndone\n"),
        ("show -v", "info None False\ndone\n"),
        ("-v show -v --json", "debug None True\ndone\n"),
        ("show -vvv", "debug None False\ndone\n"),
        ("--config x -q show", "error x False\n"),
        ("show --log-level error -v", "warning None False\ndone\n"),
    ],
)
def test_verbosity_is_counted_from_the_default_of_the_command(typed: str, shown: str) -> None:
    done = CliRunner().invoke(group, typed.split())
    assert (done.exit_code, done.output) == (0, shown)


@click.command("exec", cls=_ExecCommand)
@click.argument("profile", required=False)
@click.argument("words", nargs=-1)
@click.option("--env", is_flag=True)
@click.option("--config")
@click.option("-q", "quiet", is_flag=True)
def run(
    profile: str | None, words: tuple[str, ...], config: str | None, *, env: bool, quiet: bool
) -> None:
    click.echo(f"{profile} {list(words)} {config} {env} {quiet}")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("deploy -- ls -q", "deploy ['ls', '-q'] None False False"),
        ("deploy ls -q --env", "deploy ['ls', '-q', '--env'] None False False"),
        ("deploy --env -q -- ls", "deploy ['ls'] None True True"),
        ("--config x deploy --env ls -l", "deploy ['ls', '-l'] x True False"),
        ("deploy -- -- ls", "deploy ['--', 'ls'] None False False"),
        ("deploy", "deploy [] None False False"),
        ("-- ls -l", "named ['ls', '-l'] None False False"),
        ("--env -- ls", "named ['ls'] None True False"),
        ("--env", "named [] None True False"),
    ],
)
def test_exec_leaves_the_options_of_the_command_alone(typed: str, shown: str) -> None:
    done = CliRunner(env={"AWS_PROFILE": "named"}).invoke(run, typed.split())
    assert (done.exit_code, done.output) == (0, f"{shown}\n")


@click.command("check", cls=Command)
@click.argument("profiles", nargs=-1)
@click.option("--live", is_flag=True)
@click.option("--timeout", callback=parse_duration_option, default="60s")
@click.option("--system", "user")
@common_options(has_json=True)
def check(options: Options, **_: object) -> None:
    click.echo(shlex.join(typed_arguments(click.get_current_context(), without="user")))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("--system jane", ""),
        ("a --system jane --live b", "--live -- a b"),
        ("--system jane -vv -q --json --timeout 2m", "--timeout 120s --json -v -v -q"),
        ("--system jane --config /etc/x.yaml -- -a", "--config /etc/x.yaml -- -a"),
        ("--config x.yaml", f"--config {Path.cwd()}/x.yaml"),
    ],
)
def test_another_user_gets_the_typed_arguments_without_system(typed: str, kept: str) -> None:
    done = CliRunner().invoke(check, typed.split())
    assert (done.exit_code, done.output) == (0, f"{kept}\n")


def test_exec_has_no_profile_without_the_variable() -> None:
    done = CliRunner(env={"AWS_PROFILE": None}).invoke(run, ["--", "ls"])
    assert done.output == "None [] None False False\n"
