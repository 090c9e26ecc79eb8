from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "daemon" / "assumed"

# From the bottom up: a room may import what stands above it in this list, and itself.
ROOMS = (
    "model",
    "errors",
    "clock",
    "log",
    "schedule",
    "profiles_file",
    "store",
    "config",
    "sources",
    "sts",
    "refresh",
    "scheduler",
    "delivery",
    "service",
    "daemon",
    "demo",
    "cli",
    "__main__",
)
# The libraries that are each the business of a few rooms alone.
OWNERS = {
    "boto3": set(),
    "botocore": {"sources", "sts", "refresh", "demo"},
    "apscheduler": {"scheduler"},
    "click": {"cli"},
    "cysystemd": {"service"},
    "h11": {"delivery"},
    "hypercorn": {"delivery"},
    "moto": {"demo"},
    "prometheus_client": {"service"},
    "pydantic": {"config"},
    "rich": {"cli"},
    "starlette": {"delivery"},
    "yaml": {"config"},
}
# What decides opens no file and no socket, and reads no clock.
PURE = ("model", "errors", "schedule", "profiles_file")
FILES = sorted(PACKAGE.rglob("*.py"))
OUTSIDE_WORLD = {"os", "socket", "subprocess", "threading", "time", "tempfile"}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            assert node.module is not None
            if node.module == "assumed":
                yield from (f"assumed.{alias.name}" for alias in node.names)
            else:
                yield node.module


def ids(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_an_import_only_points_down(file: Path) -> None:
    if file == PACKAGE / "__init__.py":
        assert not list(imports(file))
        return
    here = ROOMS.index(room_of(file))
    for name in imports(file):
        if name.startswith("assumed.") and name != "assumed.__version__":
            assert ROOMS.index(name.split(".")[1]) <= here, f"{ids(file)} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_a_library_is_the_business_of_a_few_rooms(file: Path) -> None:
    for name in imports(file):
        owners = OWNERS.get(name.split(".")[0])
        assert owners is None or room_of(file) in owners, f"{ids(file)} imports {name}"


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) in PURE], ids=ids)
def test_what_decides_knows_nothing_of_the_outside_world(file: Path) -> None:
    assert not OUTSIDE_WORLD & {name.split(".")[0] for name in imports(file)}
