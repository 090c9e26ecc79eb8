from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# In a process of its own: there is no way back from some of it.
PROTECTED = """
import ctypes, json, os, resource, sys
from pathlib import Path
from assumed.platform.hardening import harden_process
exec(sys.argv[1])
harden_process()
Path("file").touch()
Path("folder").mkdir()
PR_GET_DUMPABLE = 3
print(json.dumps({
    "file": Path("file").stat().st_mode & 0o777,
    "folder": Path("folder").stat().st_mode & 0o777,
    "umask": os.umask(0),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "is_dumpable": ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0),
}))
"""


def protected(folder: Path, first: str = "") -> dict[str, Any]:
    """Return how a process finds itself that was protected after `first` was done in it."""
    ended = subprocess.run(  # noqa: S603 - the program is above
        [sys.executable, "-c", PROTECTED, first],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert ended.stderr == ""
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_what_a_protected_process_makes_is_its_users_alone(tmp_path: Path) -> None:
    found = protected(tmp_path, "os.umask(0)")
    assert found["umask"] == 0o077
    assert found["file"] == 0o600
    assert found["folder"] == 0o700


def test_a_protected_process_may_leave_no_core_file(tmp_path: Path) -> None:
    assert protected(tmp_path)["core"] == [0, 0]


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_protected_process_can_be_dumped_and_traced_by_nobody(tmp_path: Path) -> None:
    assert protected(tmp_path)["is_dumpable"] == 0


def test_where_there_was_no_core_file_already_nothing_fails(tmp_path: Path) -> None:
    first = "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    assert protected(tmp_path, first)["core"] == [0, 0]


def test_where_the_limit_can_not_be_set_the_rest_still_holds(tmp_path: Path) -> None:
    first = """
def refuse(*_):
    raise ValueError("not allowed to raise maximum limit")
resource.setrlimit = refuse
"""
    found = protected(tmp_path, first)
    assert found["umask"] == 0o077
    if sys.platform == "linux":
        assert found["is_dumpable"] == 0


def test_protecting_twice_is_as_good_as_once(tmp_path: Path) -> None:
    assert protected(tmp_path, "harden_process()") == protected_anew(tmp_path)


def protected_anew(folder: Path) -> dict[str, Any]:
    (folder / "file").unlink()
    (folder / "folder").rmdir()
    return protected(folder)
