"""How a request waits for what the scheduler does for others too."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

_Result = TypeVar("_Result")


def follower(future: Future[_Result]) -> Future[_Result]:
    """Return a future that ends as `future` does, and that may be cancelled by itself.

    A request that ends early cancels what it waits for, and the outcome is not its own.
    """
    follows: Future[_Result] = Future()

    def follow(done: Future[_Result]) -> None:
        if not follows.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is None:
            follows.set_result(done.result())
        else:
            follows.set_exception(error)

    future.add_done_callback(follow)
    return follows
