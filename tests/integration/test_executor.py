"""The threads of the executor, in a process of their own."""

from __future__ import annotations

import subprocess
import sys

# Only a test that fails waits for so long.
TIMEOUT = 20

HANGS_FOREVER = """
from threading import Event
from assumed.engine.heartbeat import HeartbeatScheduler
from assumed.engine.executor import WorkerPool
is_running = Event()
def hang():
    is_running.set()
    Event().wait()
jobs = HeartbeatScheduler(lambda: None)
jobs.add_executor(WorkerPool(2))
jobs.add_job(hang)
jobs.start()
is_running.wait()
jobs.shutdown(wait=False)
print("stopped", flush=True)
"""


def test_a_process_ends_while_a_job_hangs_forever() -> None:
    ended = subprocess.run(  # noqa: S603 - the program is above
        [sys.executable, "-c", HANGS_FOREVER],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert ended.stdout == "stopped\n"
    assert ended.stderr == ""
