"""The manual pages, from the texts of `--help` and docs/configuration.md."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import click
import pytest

from tests.repository import REPOSITORY


@pytest.fixture(scope="module")
def man_pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "man_pages", REPOSITORY / "packaging" / "man_pages.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(man_pages: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("man")
    return {path.name: path for path in man_pages.write_pages(directory)}


def rendered(page: Path) -> str:
    """Return a page as `man` shows it, without overstrikes; a warning of groff is an error."""
    done = subprocess.run(  # noqa: S603
        ["/usr/bin/man", "--warnings", "--local-file", str(page)],
        env={
            "PATH": "/usr/bin:/bin",
            "MANWIDTH": "100",
            "LC_ALL": "C.UTF-8",
            "MAN_KEEP_FORMATTING": "",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return subprocess.run(
        ["/usr/bin/col", "-bx"], input=done.stdout, capture_output=True, text=True, check=True
    ).stdout


def test_every_command_has_a_page_with_its_options(
    man_pages: ModuleType, pages: dict[str, Path]
) -> None:
    for context, command in man_pages.commands():
        roff = pages[f"{context.command_path.replace(' ', '-')}.1"].read_text().replace("\\-", "-")
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in roff.replace("\\f[B]", ""), context.command_path


def test_the_pages_name_the_program_and_the_version(pages: dict[str, Path]) -> None:
    assert {"assumed.1", "assumed-service-install.1", "assumed.yaml.5"} <= pages.keys()
    for path in pages.values():
        assert path.read_text().count(".SH NAME") == 1


def test_man_shows_the_pages_without_a_warning(pages: dict[str, Path]) -> None:
    if not Path("/usr/bin/man").exists() or not Path("/usr/bin/col").exists():
        pytest.skip("NOT TESTED: the pages in man: it is not installed here")
    for page in pages.values():
        shown = rendered(page)
        assert "NAME" in shown
    text = rendered(pages["assumed-exec.1"])
    assert "assumed exec [OPTIONS] [PROFILE] [-- CMD [ARGUMENT]...]" in text
    text = rendered(pages["assumed.yaml.5"])
    assert "role_arn" in text
    assert "](" not in text
