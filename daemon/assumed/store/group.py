"""Group commit: what is asked for while a commit is under way, or shortly after, is one commit."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from assumed.clock import Clock
from assumed.errors import CredentialsFileUnwritable

_WINDOW_SECONDS = 0.05

RequestT = TypeVar("RequestT")


class _Ticket(Generic[RequestT]):
    __slots__ = ("error", "is_done", "request")

    def __init__(self, request: RequestT) -> None:
        self.request = request
        self.is_done = False
        self.error: Exception | None = None


class GroupCommit(Generic[RequestT]):
    """Gathers requests of many threads; one of them commits for all, there is no thread of ours.

    A request that comes alone is committed at once. The next commit begins no earlier than 50 ms
    after the last one began, with all that came meanwhile.

    Args:
        commit: commits all requests, and returns for each of them an error or None. What it
            raises goes to all of them.
        clock: tells when the last commit began.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[RequestT]], Sequence[Exception | None]],
        *,
        clock: Clock,
        sleep: Callable[[float], None],
    ) -> None:
        self._commit = commit
        self._clock = clock
        self._sleep = sleep
        self._changed = threading.Condition()
        self._waiting: list[_Ticket[RequestT]] = []
        self._is_led = False
        self._is_closed = False
        self._began_at = -math.inf

    def submit(self, request: RequestT) -> None:
        """Return when the request is committed, or raise what became of it.

        Raises:
            CredentialsFileUnwritable: it comes after `close`; or what `commit` made of it.
        """
        ticket = _Ticket(request)
        with self._changed:
            if self._is_closed:
                raise CredentialsFileUnwritable("assumed is stopping", hint="start it again")
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: ticket.is_done or not self._is_led)
            if not ticket.is_done:
                self._is_led = True
        if not ticket.is_done:
            self._lead()
        if ticket.error is not None:
            raise ticket.error

    def close(self) -> None:
        """Take no more requests, and return when those that were taken are committed."""
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._waiting and not self._is_led)

    def _lead(self) -> None:
        group: list[_Ticket[RequestT]] = []
        try:
            left = self._began_at + _WINDOW_SECONDS - self._clock.boottime()
            if left > 0:
                self._sleep(left)
            with self._changed:
                group, self._waiting = self._waiting, []
            self._began_at = self._clock.boottime()
            errors = self._commit([ticket.request for ticket in group])
            for ticket, error in zip(group, errors, strict=True):
                ticket.error = error
        except Exception as error:  # noqa: BLE001 -- each thread raises it from its own `submit`
            for ticket in group:
                ticket.error = error
        except BaseException:
            for ticket in group:
                ticket.error = CredentialsFileUnwritable(
                    "the write was interrupted", hint="start again"
                )
            raise
        finally:
            with self._changed:
                for ticket in group:
                    ticket.is_done = True
                self._is_led = False
                self._changed.notify_all()
