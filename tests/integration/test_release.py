"""`packaging/release.sh --check` rejects a tree that must not be published."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import assumed
from tests.repository import REPOSITORY

SCRIPT = Path("packaging/release.sh")
PLACEHOLDER = "github.com/OWNER/"
VERSION = assumed.__version__


def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command,
        cwd=tree,
        env={
            "PATH": "/usr/bin:/bin",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CEILING_DIRECTORIES": str(tree.parent),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def git(tree: Path, *arguments: str) -> None:
    person = ("-c", "user.name=jane", "-c", "user.email=jane@example.org")
    done = run(tree, "git", *person, *arguments)
    assert done.returncode == 0, done.stderr


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "Change")


def not_ready(tree: Path) -> list[str]:
    """Return the reasons that the script prints; its exit status must agree with them."""
    done = run(tree, "/bin/sh", str(SCRIPT), "--check")
    assert done.stderr == ""
    reasons = [line for line in done.stdout.splitlines() if line.startswith("not ready: ")]
    assert done.returncode == (1 if reasons else 0), done.stdout
    return reasons


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Create a repository that is ready, with this project's script, metadata and version."""
    for name in (SCRIPT, Path("pyproject.toml"), Path("daemon/assumed/__init__.py")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    metadata = tmp_path / "pyproject.toml"
    owned = re.sub(r"github\.com/[^/]+/", "github.com/jane/", metadata.read_text())
    metadata.write_text(owned)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION} - 2026-12-01\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def test_given_a_complete_tree_when_it_is_checked_then_it_is_ready(tree: Path) -> None:
    assert not_ready(tree) == []


def test_given_the_placeholder_in_the_metadata_when_it_is_checked_then_it_is_rejected(
    tree: Path,
) -> None:
    metadata = tree / "pyproject.toml"
    metadata.write_text(metadata.read_text().replace("github.com/jane/", PLACEHOLDER))
    commit(tree)
    assert not_ready(tree) == [
        "not ready: replace the placeholder OWNER with the owner of the repository in: "
        "pyproject.toml"
    ]


def test_given_a_changelog_without_the_version_when_it_is_checked_then_it_is_rejected(
    tree: Path,
) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    commit(tree)
    assert not_ready(tree) == [
        f'not ready: rename the section Unreleased of CHANGELOG.md to "## {VERSION}"'
    ]


def test_given_an_uncommitted_file_when_it_is_checked_then_it_is_rejected(tree: Path) -> None:
    (tree / "new.txt").touch()
    assert not_ready(tree) == ["not ready: commit or remove the changes that `git status` lists"]


def test_given_the_tag_of_the_version_on_this_commit_when_it_is_checked_then_it_is_ready(
    tree: Path,
) -> None:
    git(tree, "tag", "--annotate", "--message", "", f"v{VERSION}")
    assert not_ready(tree) == []


def test_given_the_tag_of_the_version_on_another_commit_when_it_is_checked_then_it_is_rejected(
    tree: Path,
) -> None:
    git(tree, "tag", f"v{VERSION}")
    commit(tree)
    assert not_ready(tree) == [
        f"not ready: the tag v{VERSION} exists: increase __version__ in daemon/assumed/__init__.py"
    ]


def test_given_a_tag_of_another_version_on_this_commit_when_it_is_checked_then_it_is_rejected(
    tree: Path,
) -> None:
    git(tree, "tag", "v99.0")
    assert not_ready(tree) == [
        f"not ready: the tag of this commit is v99.0, but the version is {VERSION}"
    ]
