"""The help of every command: short lines, defaults, examples."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from assumed.cli.main import _COMMANDS, _assumed
from assumed.cli.options import Command, CommandGroup

MAX_CHARACTERS = 60
COMMON_OPTIONS = {
    "--log-level": "[default: ",
    "--log-format": "[default: text]",
    "--log-file FILE": "[default: ",
}

WITHOUT_CONFIG = {"assumed completion", "assumed demo", "assumed service uninstall"}


def commands() -> dict[str, click.Command]:
    """Return every command by what is typed for it."""
    context = click.Context(_assumed, info_name="assumed")
    found: dict[str, click.Command] = {"assumed": _assumed}
    for name in _COMMANDS:
        command = _assumed.get_command(context, name)
        assert command is not None
        found[f"assumed {name}"] = command
        if isinstance(command, click.Group):
            found |= {f"assumed {name} {each}": one for each, one in command.commands.items()}
    return found


ALL = commands()
SINGLE = {name: command for name, command in ALL.items() if not isinstance(command, click.Group)}


def help_of(name: str, width: int = 80) -> str:
    """Return the help of a command on a terminal of this width."""
    words = name.split()
    context = None
    for end in range(1, len(words) + 1):
        command = ALL[" ".join(words[:end])]
        context = click.Context(
            command, parent=context, info_name=words[end - 1], terminal_width=width
        )
    assert context is not None
    return context.get_help()


@pytest.mark.parametrize("name", ALL)
def test_the_first_line_of_the_help_is_short(name: str) -> None:
    first, _, rest = (ALL[name].help or "").partition("\n")
    assert 0 < len(first) <= MAX_CHARACTERS
    assert first.endswith(".")
    assert not rest.partition("\n")[0].strip(), "a first line of its own"


@pytest.mark.parametrize("width", [50, 80, 200])
@pytest.mark.parametrize("name", ALL)
def test_no_text_of_the_help_is_cut(name: str, width: int) -> None:
    usage, *lines = help_of(name, width).split("\n\n")
    assert "..." not in "\n".join(lines)
    if isinstance(ALL[name], click.Group):
        assert "..." not in usage


@pytest.mark.parametrize("name", ["assumed", "assumed service"])
def test_the_list_of_commands_has_the_first_line_of_each(name: str) -> None:
    text = " ".join(help_of(name).split())
    members = [each for each in ALL if re.fullmatch(rf"{name} [\w-]+", each)]
    assert len(members) >= 2
    for member in members:
        first = (ALL[member].help or "").partition("\n")[0].removesuffix(".")
        assert f"{member.rpartition(' ')[2]} {first}" in text


@pytest.mark.parametrize("name", SINGLE)
def test_the_common_options_show_their_defaults(name: str) -> None:
    text = " ".join(help_of(name, 200).split())
    for option, default in COMMON_OPTIONS.items():
        described = text.partition(f" {option}")[2].partition(" --")[0]
        assert default in described, option
    if name in WITHOUT_CONFIG:
        assert "--config" not in text
    else:
        described = text.partition(" --config FILE")[2].partition(" --log-level")[0]
        expected = "Same as --output" if name == "assumed init" else "[default: the first of"
        assert expected in described


@pytest.mark.parametrize("name", SINGLE)
def test_every_option_is_described_and_shows_its_default(name: str) -> None:
    for parameter in SINGLE[name].params:
        if isinstance(parameter, click.Option):
            assert (parameter.help or "").endswith((".", "]")), parameter.opts
            assert not isinstance(parameter.default, str) or parameter.show_default


@pytest.mark.parametrize("name", ALL)
def test_the_examples_are_command_lines_that_the_command_accepts(name: str) -> None:
    command = ALL[name]
    assert isinstance(command, Command)
    assert command.examples
    for example in command.examples:
        assert f"\n  {example}\n" in f"{help_of(name, 200)}\n"
        words = shlex.split(re.sub(r'^eval "\$\((.*)\)"$', r"\1", example))
        words = words[: words.index("&&")] if "&&" in words else words
        start = words.index("assumed")
        typed = words[start : start + len(name.split())]
        assert " ".join(typed) == name
        if not isinstance(command, CommandGroup):
            command.make_context(name, words[start + len(typed) :])


@pytest.mark.parametrize(("typed", "meant"), [("stauts", "status"), ("chek", "check")])
def test_a_misspelled_command_gets_a_proposal(typed: str, meant: str) -> None:
    with pytest.raises(click.UsageError, match=f"Did you mean {meant}\\?"):
        _assumed.main([typed], prog_name="assumed", standalone_mode=False)
