"""Check that a bill of materials lists exactly what is installed in an environment.

Usage: check_sbom.py SBOM PYTHON
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def main(sbom: Path, python: str) -> int:
    """Print the differences; return 1 if there are any."""
    command = [python, "-m", "pip", "list", "--format", "json"]
    listed = json.loads(subprocess.check_output(command))  # noqa: S603
    installed = {(each["name"].lower().replace("_", "-"), each["version"]) for each in listed}
    content = json.loads(sbom.read_text(encoding="utf-8"))
    components = [*content["components"], content["metadata"]["component"]]
    named = {(each["name"].lower().replace("_", "-"), each.get("version")) for each in components}
    own = {each for each in installed if each[0] in {"pip", "setuptools", "assumed"}}
    differences = (installed ^ named) - own - {("assumed", None)}
    for name, version in sorted(differences, key=str):
        print(f"only in one of the bill of materials and the environment: {name} {version}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
