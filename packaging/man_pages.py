"""Write the manual pages: assumed(1), one page for each command, and assumed.yaml(5).

Usage: python packaging/man_pages.py DIRECTORY

The texts are those of `--help` and of docs/configuration.md. Pandoc turns them into roff.
Source of the sections and their order: man-pages(7).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pypandoc

from assumed import __version__
from assumed.cli.main import _assumed
from assumed.cli.options import Command

_DOCS = Path(__file__).parents[1] / "docs"
_EXIT_STATUS = """\
0
:   Success.

1
:   At least one profile failed, or a file cannot be read now.

2
:   Wrong usage.

78
:   The configuration is missing or has errors.

130
:   Interrupted with Ctrl-C.
"""
_FILES = """\
*~/.config/assumed/config.yaml*, */etc/assumed/config.yaml*
:   The configuration: **assumed.yaml**(5).

*~/.aws/credentials*
:   Where the credentials are written.
"""


def commands() -> Iterator[tuple[click.Context, Command]]:
    """Yield every command with its context: `assumed`, `assumed run`, `assumed service install`."""

    def below(context: click.Context) -> Iterator[tuple[click.Context, Command]]:
        command = context.command
        assert isinstance(command, Command)
        yield context, command
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                part = command.get_command(context, name)
                assert part is not None
                yield from below(click.Context(part, parent=context, info_name=name))

    yield from below(click.Context(_assumed, info_name="assumed"))


def command_page(context: click.Context, command: Command) -> str:
    """Return the page of one command, as Markdown for Pandoc."""
    path = context.command_path
    summary, _, description = (command.help or "").partition("\n")
    purpose = summary[:1].lower() + summary[1:].removesuffix(".")
    usage = " ".join(_literal(piece) for piece in command.collect_usage_pieces(context))
    parts = [
        f"# NAME\n{path.replace(' ', '-')} - {_literal(purpose)}",
        f"# SYNOPSIS\n**{path}** {usage}",
        f"# DESCRIPTION\n{_literal(_paragraphs(description)) or _literal(summary)}",
    ]
    if isinstance(command, click.Group):
        parts.append("# COMMANDS\n" + _subcommands(context, command))
    parts += [
        f"# OPTIONS\n{_options(context, command)}",
        "# EXAMPLES\n" + "\n".join(f"    {example}" for example in command.examples),
    ]
    if path == "assumed":
        parts += [f"# EXIT STATUS\n{_EXIT_STATUS}", f"# FILES\n{_FILES}"]
    others = "**assumed.yaml**(5), **aws**(1)" if path == "assumed" else "**assumed**(1)"
    return "\n\n".join([*parts, f"# SEE ALSO\n{others}"])


def configuration_page() -> str:
    """Return assumed.yaml(5): docs/configuration.md with links as plain text."""
    text = (_DOCS / "configuration.md").read_text(encoding="utf-8")
    _, _, body = text.partition("\n")
    body = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", body)
    body = re.sub(r"(?:^\|.*\n)+", _definition_list, body, flags=re.M)
    body = re.sub(r"^(#+) (.*)$", lambda m: f"{m[1][1:]} {m[2].upper()}", body, flags=re.M)
    return (
        "# NAME\nassumed.yaml - configuration of assumed\n\n"
        f"# DESCRIPTION\n{body}\n\n# SEE ALSO\n**assumed**(1)"
    )


def _definition_list(table: re.Match[str]) -> str:
    """Turn a table into a list of its rows, since a cell of a manual page does not wrap well."""
    header, _, *rows = (
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table[0].splitlines()
    )
    found = []
    for term, *cells in rows:
        titled = zip(header[1:], cells, strict=True)
        texts = cells if len(cells) == 1 else [f"{title}: {cell}" for title, cell in titled if cell]
        found.append(f"{term}\n:   " + "\n\n    ".join(texts) + "\n")
    return "\n".join(found)


def _paragraphs(text: str) -> str:
    lines = [line.strip() for line in text.replace("\b", "").splitlines()]
    return "\n".join(lines).strip()


def _literal(text: str) -> str:
    """Escape what Pandoc would take for markup, but for code in backquotes."""
    return re.sub(r"(?<![`\w])([\[\]<>*_$~@#|^\\])", r"\\\1", text)


def _options(context: click.Context, command: Command) -> str:
    found = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            found.append(f"**{_literal(record[0])}**\n:   {_literal(record[1])}\n")
    return "\n".join(found)


def _subcommands(context: click.Context, command: click.Group) -> str:
    found = []
    for name in command.list_commands(context):
        part = command.get_command(context, name)
        assert isinstance(part, Command)
        page = f"{context.command_path} {name}".replace(" ", "-")
        found.append(f"**{page}**(1)\n:   {part.get_short_help_str()}.\n")
    return "\n".join(found)


def write_pages(directory: Path) -> list[Path]:
    """Write every page into `directory`, which must exist; return their paths."""
    pages = {
        f"{context.command_path.replace(' ', '-')}.1": command_page(context, command)
        for context, command in commands()
    }
    pages["assumed.yaml.5"] = configuration_page()
    written = []
    for file, markdown in pages.items():
        name, _, section = file.rpartition(".")
        roff = pypandoc.convert_text(
            markdown,
            "man",
            format="markdown-smart",  # Options keep their two hyphens.
            extra_args=[
                "--standalone",
                f"--variable=title:{name}",
                f"--variable=section:{section}",
                f"--variable=footer:assumed {__version__}",
            ],
        )
        path = directory / file
        path.write_text(roff, encoding="utf-8")
        written.append(path)
    return written


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
