"""Group commit: what is asked for while a commit is under way, or shortly after, is one commit."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from assumed.clock import Clock
from assumed.errors import CredentialsFileUnwritableError

_WINDOW_SECONDS = 0.05
# While more keeps coming, commits take no more than this share of one processor's time.
_MOST_OF_A_PROCESSOR = 0.15
_CLOSE_SECONDS = 2.0

RequestT = TypeVar("RequestT")


class BatchWriter(Generic[RequestT]):
    """Gathers requests of many threads; a thread that is there for as long as need be commits them.

    A request that comes alone is committed at once. The next commit begins no earlier than 50 ms
    after the last one began, with all that came meanwhile. Where a commit is much work, for the
    file is a big one, the next waits for up to seven times the processor time of the last, while
    more keeps coming. How long it took does not count: a commit that waits for a processor or for
    the disk takes nothing away from the calls.

    Args:
        commit: commits all requests, and returns for each of them an error or None. What it
            raises goes to all of them.
        clock: tells when the last commit began.
        sleep: waits some seconds.
        worked: returns the processor time of the thread that asks, in seconds.
        close_seconds: how long `close` waits for a commit that hangs.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[RequestT]], Sequence[Exception | None]],
        *,
        clock: Clock,
        sleep: Callable[[float], None],
        worked: Callable[[], float] = time.thread_time,
        close_seconds: float = _CLOSE_SECONDS,
    ) -> None:
        self._commit = commit
        self._clock = clock
        self._sleep = sleep
        self._worked = worked
        self._close_seconds = close_seconds
        self._changed = threading.Condition()
        self._waiting: list[tuple[RequestT, Future[None]]] = []
        self._is_led = False
        self._is_closed = False
        self._began_at = -math.inf
        self._work = 0.0

    def submit(self, request: RequestT) -> Future[None]:
        """Have a request committed; return what becomes of it.

        Returns:
            Done when it is committed. It fails with what `commit` made of it, and with
            `CredentialsFileUnwritableError` where it comes after `close`. What is called back then
            holds up the next commit.
        """
        answer: Future[None] = Future()
        answer.set_running_or_notify_cancel()
        with self._changed:
            if self._is_closed:
                answer.set_exception(
                    CredentialsFileUnwritableError("assumed is stopping", hint="start it again")
                )
                return answer
            self._waiting.append((request, answer))
            if not self._is_led:
                try:
                    threading.Thread(target=self._lead, name="commit", daemon=True).start()
                except RuntimeError as error:
                    self._waiting.pop()
                    answer.set_exception(
                        CredentialsFileUnwritableError(
                            f"no thread to write with: {error}",
                            hint="raise the limit: `ulimit -u`, or TasksMax= of the unit",
                        )
                    )
                    return answer
                self._is_led = True
        return answer

    def close(self) -> None:
        """Take no more requests, and return when those that were taken are committed.

        A commit that hangs keeps nobody for more than 2 s: it has to be one that may be killed.
        """
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._is_led, self._close_seconds)

    def _lead(self) -> None:
        while True:
            self._gather()
            with self._changed:
                group, self._waiting = self._waiting, []
            self._began_at, worked = self._clock.boottime(), self._worked()
            errors: Sequence[BaseException | None]
            try:
                errors = self._commit([request for request, _ in group])
            except BaseException as error:  # noqa: BLE001 -- it goes to whoever waits
                errors = [error] * len(group)
            self._work = self._worked() - worked
            for (_, answer), failure in zip(group, errors, strict=True):
                if failure is None:
                    answer.set_result(None)
                else:
                    answer.set_exception(failure)
            with self._changed:
                if not self._waiting:
                    self._is_led = False
                    self._changed.notify_all()
                    return

    def _gather(self) -> None:
        """Wait for what is to be committed together."""
        left = self._began_at + _WINDOW_SECONDS - self._clock.boottime()
        if left > 0:
            self._sleep(left)
        last_look = self._began_at + self._work / _MOST_OF_A_PROCESSOR - _WINDOW_SECONDS
        came = 0
        while len(self._waiting) > came and self._clock.boottime() <= last_look:
            came = len(self._waiting)
            self._sleep(_WINDOW_SECONDS)
