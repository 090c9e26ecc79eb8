"""A hook of MkDocs: the README as the first page, and links out of docs/ to the repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_ROOT = Path(__file__).parents[1]
_METADATA = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_SOURCE = f"{_METADATA['project']['urls']['Source']}/blob/main"


def on_files(files: Any, config: Any) -> Any:
    """Add README.md, with its links as seen from docs/."""
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?!https?:|#|docs/)", "](../", text).replace("](docs/", "](")
    files.append(File.generated(config, "README.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace each link to a file of the repository outside docs/ by its address."""
    directory = (_ROOT / "docs" / page.file.src_uri).parent

    def address(link: re.Match[str]) -> str:
        path, _, anchor = link[1].partition("#")
        target = (directory / path).resolve()
        if target.is_relative_to(_ROOT / "docs") or not target.exists():
            return link[0]  # MkDocs checks it.
        return f"]({_SOURCE}/{target.relative_to(_ROOT)}{'#' if anchor else ''}{anchor})"

    return re.sub(r"\]\((\.\./[^)]*)\)", address, markdown)
