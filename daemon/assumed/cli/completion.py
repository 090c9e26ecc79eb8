"""`assumed completion`: the script that completes commands, options and profiles in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from assumed.cli.options import Command, Options, common_options
from assumed.errors import UsageError

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    examples=(
        'eval "$(assumed completion bash)"',
        'eval "$(assumed completion zsh)"',
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
@common_options(config_help=None)
@click.pass_context
def command(context: click.Context, options: Options, shell: str) -> None:
    """Print the completion script of a shell.

    Put one of these lines into ~/.bashrc or ~/.zshrc. For fish, the line for
    ~/.config/fish/config.fish is `assumed completion fish | source`.
    """
    options.configure_log()
    script = get_completion_class(shell)
    assert script is not None, shell  # noqa: S101 - click has these three
    try:
        text = script(context.find_root().command, {}, "assumed", "_ASSUMED_COMPLETE").source()
    except RuntimeError as error:  # bash is too old
        raise UsageError(str(error), hint="use bash 4.4 or later, zsh or fish") from error
    click.echo(text)
