"""Which source profiles a configuration has asked for, and whether the answers still hold."""

from __future__ import annotations

from assumed.credential_sources.base import SourceProfiles
from assumed.errors import AssumedError


class SourceLookup:
    """The source profiles of the AWS files, as the last reading of the configuration saw them.

    `begin` and `exists` are called by one thread; `has_changed` may be called from another.
    """

    def __init__(self, sources: SourceProfiles) -> None:
        self._sources = sources
        self._names: frozenset[str] = frozenset()
        self._answers: dict[str, bool] = {}

    @property
    def has_files(self) -> bool:
        """Whether one of the AWS files exists, also if it cannot be read now."""
        return self._sources.has_files

    @property
    def names(self) -> frozenset[str]:
        """The profiles of the AWS files."""
        return self._names

    def confirm_processes(self) -> None:
        """Let each `credential_process` run that the credentials file now has."""
        self._sources.confirm_processes()

    def begin(self) -> None:
        """Begin to read a configuration.

        Raises:
            SourceUnavailableError: the AWS files cannot be read.
        """
        self._names, self._answers = frozenset(self._sources.names()), {}

    def exists(self, name: str) -> bool:
        """Return whether the AWS files have a profile."""
        self._answers[name] = name in self._names
        return self._answers[name]

    def has_changed(self) -> bool:
        """Return whether the configuration would get another answer now."""
        try:
            names = frozenset(self._sources.names())
        except AssumedError:
            return False
        answers = list(self._answers.items())
        return any((name in names) is not existed for name, existed in answers)
