"""The command `assumed` with parts that raise errors: `BROKEN` names them."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

from assumed.__main__ import main
from assumed.app.file_monitor import FileMonitor
from assumed.app.service_notifier import ServiceNotifier
from assumed.engine.completions import CompletionHandler
from assumed.engine.refresh_queue import RefreshQueue
from assumed.observers.hooks import Hooks
from assumed.observers.metrics import Metrics
from assumed.observers.metrics_textfile import MetricsTextfile
from assumed.platform.reaper import ZombieReaper

_PARTS: dict[str, list[tuple[type, str]]] = {
    "beside": [
        (Metrics, "on_event"),
        (Hooks, "on_event"),
        (ServiceNotifier, "update_status"),
        (MetricsTextfile, "is_due"),
        (FileMonitor, "check"),
        (ZombieReaper, "reap"),
    ],
    "results": [(CompletionHandler, "apply"), (RefreshQueue, "wake_children")],
    "jobs": [(RefreshQueue, "add_job")],
}


def _fail_after(calls: int, original: Callable[..., Any], *, is_final: bool) -> Callable[..., Any]:
    """Return a method that works `calls` times and then fails: once and so on, or for ever."""
    counter = itertools.count(1)

    def fail(*arguments: Any, **options: Any) -> Any:
        call = next(counter)
        if call > calls if is_final else call % (calls + 1) == 0:
            raise ZeroDivisionError
        return original(*arguments, **options)

    return fail


if __name__ == "__main__":
    broken, calls = os.environ["BROKEN"].split()
    for owner, method in _PARTS[broken]:
        original = getattr(owner, method)
        setattr(owner, method, _fail_after(int(calls), original, is_final=broken == "jobs"))
    sys.exit(main())
