from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from assumed import errors
from assumed.errors import (
    AssumedError,
    AssumeRoleDeniedError,
    ConfigurationError,
    ParentNotReadyError,
    SourceMissingError,
    StsUnavailableError,
    UsageError,
    retry_advice,
)
from tests.repository import modules

# The fast path imports nothing, the demo is no part of the program, and those of storage, fsutil
# the TLS context and the limits of responses never reach a user: their callers translate them.
OUTSIDE_THE_TREE = {
    "fastpath/main.py": {"CommandFailedError"},
    "fastpath/unix_http.py": {"DaemonNotAnsweringError"},
    "fsutil.py": {"FileTooLargeError", "ForeignDirectoryError", "NotRegularFileError"},
    "path_trust.py": {"UntrustedPathError"},
    "storage/atomic_replace.py": {"MountPointError"},
    "storage/renameat2.py": {"ExchangeUnsupportedError"},
    "file_calls.py": {"HangingFileError"},
    "sts/response_limits.py": {"ResponseLimitError"},
    "sts/tls_context.py": {"_ContextChangeError"},
}
CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AssumedError)
]


def exceptions_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            if any(base.endswith(("Error", "Exception")) for base in bases):
                yield node.name


def test_every_exception_is_in_the_error_tree() -> None:
    found = {
        file: set(exceptions_of(tree))
        for file, tree in modules().items()
        if file != "errors.py" and not file.startswith("demo/")
    }
    assert {path: names for path, names in found.items() if names} == OUTSIDE_THE_TREE


@pytest.mark.parametrize("kind", CLASSES)
def test_error_classes_end_in_error_and_codes_are_one_word(kind: type[AssumedError]) -> None:
    assert kind.__name__.endswith("Error")
    assert kind.code.isalpha()


@pytest.mark.parametrize(
    ("error", "by_daemon", "standalone"),
    [
        (
            StsUnavailableError("no route", hint="check the network"),
            "the daemon will retry",
            "then run the command again",
        ),
        (
            AssumeRoleDeniedError("no", hint="allow it"),
            "the daemon will retry",
            "then run the command again",
        ),
        (
            SourceMissingError("no login", hint="log in"),
            "the daemon will retry after that",
            "then run the command again",
        ),
        (
            ParentNotReadyError(profile="child", parent="hub"),
            "the daemon refreshes this profile as soon as hub has a session",
            "then run the command again",
        ),
        (UsageError("no such profile", hint="name another"), None, None),
        (ConfigurationError(["line 1: no"], hint="fix it"), None, None),
    ],
    ids=lambda error: type(error).__name__ if isinstance(error, AssumedError) else "",
)
def test_retry_advice_says_who_retries(
    error: AssumedError, by_daemon: str | None, standalone: str | None
) -> None:
    assert retry_advice(error, by_daemon=True) == by_daemon
    assert retry_advice(error, by_daemon=False) == standalone
