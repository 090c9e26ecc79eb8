"""What the daemon does for the clients of its API socket."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from threading import Thread

from assumed import __version__
from assumed.app.refresh_engine import RefreshEngine
from assumed.app.reloader import ConfigReloader
from assumed.clock import SystemClock
from assumed.errors import AssumedError, UnexpectedError
from assumed.local_faults import LOCAL_FAULTS, thread_shortage
from assumed.logs import event, log_error
from assumed.models import Credentials, DaemonStatus, EndpointAddress, Login, Outcome, Status
from assumed.observers.metrics import Metrics
from assumed.server.container_credentials import ContainerCredentialsEndpoint

_MIN_DIFFERENCE_SECONDS = 60


class DaemonApiBackend:
    """Implements `server.api.DaemonApi`; thread-safe.

    Args:
        engine: refreshes the profiles.
        reloader: reloads the configuration.
        endpoint: the container credentials endpoint.
        metrics: the counters.
        on_login: called from any thread after an MFA code was tried.
    """

    def __init__(
        self,
        engine: RefreshEngine,
        reloader: ConfigReloader,
        endpoint: ContainerCredentialsEndpoint,
        metrics: Metrics,
        on_login: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._reloader = reloader
        self._endpoint = endpoint
        self._metrics = metrics
        self._on_login = on_login
        self._started_at = SystemClock().now()

    def status(self, profiles: Sequence[str]) -> Status:
        """Return the status of the daemon and of `profiles`; of all profiles if it is empty.

        Raises:
            UsageError: a profile that is not in the configuration.
        """
        skew, differing = clock_skew_seconds(self._engine.clock_skews)
        return Status(
            daemon=DaemonStatus(
                pid=os.getpid(),
                version=__version__,
                started_at=self._started_at,
                config=str(self._reloader.initial.path),
                config_error=self._reloader.error,
                clock_skew_seconds=skew,
                endpoint_clock_skew_seconds=differing,
                log_error=log_error(),
                local_fault=LOCAL_FAULTS.describe(),
            ),
            profiles=self._engine.scheduler.statuses(profiles),
        )

    def refresh(
        self, profiles: Sequence[str], *, force: bool, min_left: timedelta | None = None
    ) -> dict[str, Future[Outcome]]:
        """Refresh profiles now; return a future for each outcome.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
        """
        return self._engine.scheduler.refresh(profiles, force=force, min_left=min_left)

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        """Return a profile's credentials, refreshed first if less than `min_left` remains.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
        """
        return self._engine.scheduler.credentials(profile, min_left=min_left)

    def log_in(self, profile: str, code: str) -> Future[Login]:
        """Start the MFA session that a profile needs; profiles that wait for it are retried."""
        login: Future[Login] = Future()
        login.set_running_or_notify_cancel()
        # A daemon thread: the process must be able to exit while STS hangs.
        thread = Thread(target=self._log_in, args=[profile, code, login], name="login", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            login.set_exception(thread_shortage(error))
        return login

    def endpoint(self, profile: str) -> EndpointAddress:
        """Return where the AWS SDKs find the credentials of a profile.

        Raises:
            DaemonUnreachableError: the endpoint cannot be opened.
        """
        return self._endpoint.address(profile)

    def metrics(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        return self._metrics.text(
            self.status(()),
            file_writes=self._engine.file_writes,
            internal_errors=self._engine.errors.counts,
        )

    def reload(self) -> Future[None]:
        """Reload the configuration; afterwards the status says whether it was rejected."""
        return self._reloader.request()

    def _log_in(self, profile: str, code: str, login: Future[Login]) -> None:
        try:
            login.set_result(self._engine.scheduler.log_in(profile, code))
        except AssumedError as error:
            login.set_exception(error)
        except Exception as error:  # noqa: BLE001 - the client must not wait forever
            event(logging.ERROR, "internal_error", profile=profile, exc_info=error)
            login.set_exception(
                UnexpectedError(
                    f"profile {profile}: internal error in assumed: {type(error).__name__}",
                    hint="please report it with the traceback in the log of the daemon",
                )
            )
        self._on_login()


def clock_skew_seconds(skews: Mapping[str, timedelta]) -> tuple[int, Mapping[str, int]]:
    """Return the skew of this machine's clock, and that of each endpoint that differs from it.

    The smallest skew is the one of this machine: if any endpoint agrees with its clock, then the
    clock of each endpoint that does not is the wrong one.

    Args:
        skews: how far the local clock is ahead of each endpoint's, by URL.
    """
    seconds = {url: round(skew.total_seconds()) for url, skew in skews.items()}
    smallest = min(seconds.values(), key=abs, default=0)
    return smallest, {
        url: skew
        for url, skew in seconds.items()
        if abs(skew - smallest) >= _MIN_DIFFERENCE_SECONDS
    }
