"""The documentation site: every page is in its navigation, and every link leads somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

MKDOCS = Path(sys.executable).with_name("mkdocs")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    done = subprocess.run(  # noqa: S603
        [
            MKDOCS, "build", "--strict",
            "--config-file", REPOSITORY / "packaging" / "mkdocs.yml", "--site-dir", directory,
        ],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return directory


def test_the_site_has_every_page_and_a_search_index(site: Path) -> None:
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert (site / page.stem / "index.html").exists(), page.name
    assert "assumed exec" in (site / "search" / "search_index.json").read_text()


def test_a_link_out_of_the_documents_leads_to_the_repository(site: Path) -> None:
    fleet = (site / "fleet" / "index.html").read_text()
    assert '/blob/main/config/kubernetes.yaml"' in fleet
    assert 'href="../config/' not in fleet


def test_the_site_loads_nothing_from_another_host(site: Path) -> None:
    start = (site / "index.html").read_text()
    assert 'src="http' not in start
    assert "fonts.googleapis.com" not in start
    assert "docs/" not in start.partition("<article")[2].partition("</article>")[0].replace(
        "/blob/main/docs/", ""
    )
