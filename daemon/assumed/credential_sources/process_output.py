"""Reads the output of a `credential_process` up to a limit."""

from __future__ import annotations

import os
import selectors
import subprocess
from typing import Any

from assumed.errors import SourceUnavailableError

_MAX_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16


class LimitedProcess(subprocess.Popen[bytes]):
    """A process that is killed if it prints more than 1 MiB.

    It has no time-out: a `credential_process` may ask the user for something.
    """

    def communicate(self, *_: Any, **__: Any) -> tuple[bytes, bytes]:
        """Return standard output and standard error.

        Raises:
            SourceUnavailableError: one of them is too large.
        """
        assert self.stdout is not None  # noqa: S101 - botocore asks for both pipes
        assert self.stderr is not None  # noqa: S101
        found = {self.stdout.fileno(): bytearray(), self.stderr.fileno(): bytearray()}
        with self, selectors.DefaultSelector() as selector:
            for descriptor in found:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                for key, _events in selector.select():
                    data = os.read(key.fd, _CHUNK_BYTES)
                    if not data:
                        selector.unregister(key.fd)
                    found[key.fd] += data
                    if len(found[key.fd]) > _MAX_BYTES:
                        self.kill()
                        raise SourceUnavailableError(
                            f"a credential_process printed more than {_MAX_BYTES >> 20} MiB",
                            hint="run it by hand: it must print one JSON object",
                        )
        output, errors = found.values()
        return bytes(output), bytes(errors)
