"""Where the configuration file has each key, for what is found after it was read."""

from __future__ import annotations

from pathlib import Path

from assumed.config.yaml_loader import KeyPath, YamlDocument


class KeyLocations:
    """The lines of the keys of a configuration file.

    Args:
        path: of the file.
        text: its content.
    """

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._document = YamlDocument(text)

    @classmethod
    def read(cls, path: Path) -> KeyLocations:
        """Return the locations in a file; those of an empty one if it cannot be read now."""
        try:
            return cls(path, path.read_text("utf-8-sig"))
        except (OSError, UnicodeDecodeError):
            return cls(path, "")

    def of_profile(self, profile: str, key: str) -> str:
        """Return `FILE:LINE` of the key that gives a profile its value, its own or a default."""
        own: KeyPath = ("profiles", profile, key)
        default: KeyPath = ("defaults", key)
        is_default = not self._document.has(own) and self._document.has(default)
        return self.of(default if is_default else own)

    def of(self, path: KeyPath) -> str:
        """Return `FILE:LINE` of a key, or of the nearest one above it."""
        return f"{self._path}:{self._document.line(path)}"
