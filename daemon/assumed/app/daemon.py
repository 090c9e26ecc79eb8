"""`assumed run`: the daemon."""

from __future__ import annotations

import logging
import math
import os
import queue
import random
import signal
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import timedelta
from enum import Enum, auto
from pathlib import Path
from threading import Thread

from assumed import __version__
from assumed.app.exec_environment import tidy
from assumed.app.factory import (
    MOST_THREADS,
    credentials_file,
    credentials_path,
    load_configuration,
    make_jobs,
    make_refresher,
    stored_credentials,
)
from assumed.app.observers import EventObservers
from assumed.clock import SystemClock
from assumed.credential_sources.base import SourceProfiles
from assumed.engine.heartbeat import HEARTBEAT
from assumed.engine.scheduler import RefreshScheduler
from assumed.engine.status import Summary
from assumed.errors import AssumedError, ConfigurationError, DaemonUnreachableError, UnexpectedError
from assumed.logs import event
from assumed.models import (
    Configuration,
    Credentials,
    DaemonStatus,
    EndpointAddress,
    Login,
    Outcome,
    Status,
    WriteMode,
)
from assumed.paths import daemon_socket
from assumed.platform.inotify import DirectoryWatcher
from assumed.platform.signal_aware_queue import SignalAwareQueue
from assumed.platform.systemd.notify import SystemdNotifier, watchdog_interval
from assumed.server.api import ApiServer
from assumed.server.container_credentials import ContainerCredentialsEndpoint
from assumed.server.unix_socket import listen, private_directory
from assumed.storage import DaemonLock, FileSignature
from assumed.sts.timed import TimedStsClient

_READY_SECONDS = 20
_INTERRUPTED = 130
# Where a folder comes to be, or a command is killed, of which no event tells.
_BETWEEN_LOOKS_AROUND_SECONDS = 60.0


class _MainLoopEvent(Enum):
    """What the main thread is asked for, by signals and by the scheduler."""

    READY = auto()
    SERVE = auto()
    RELOAD = auto()
    LOOK_AT_CREDENTIALS = auto()
    WRITE_METRICS = auto()
    TERMINATE = auto()
    INTERRUPT = auto()


_SIGNALS = {
    signal.SIGHUP: _MainLoopEvent.RELOAD,
    signal.SIGTERM: _MainLoopEvent.TERMINATE,
    signal.SIGINT: _MainLoopEvent.INTERRUPT,
}


class Daemon:
    """The daemon: keeps a configuration's profiles fresh until it is asked to stop."""

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        """Read everything and make every object; nothing runs yet.

        Raises:
            ConfigurationError: with every mistake in the configuration.
            AlreadyRunningError: another daemon holds the socket or the credentials file.
            AssumedError: the socket or the lock can't be made.
        """
        self._config_path = config_path
        self._environ = environ
        self._clock = SystemClock()
        self._started_at = self._clock.now()
        self._sources = SourceProfiles()
        self._configuration = load_configuration(config_path, self._sources)
        self._config_error: str | None = None
        self._wishes = SignalAwareQueue[_MainLoopEvent]()
        self._reloads: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()
        """Whoever waits for a reload."""
        self._file = credentials_file(self._configuration, environ)
        self._credentials_path = credentials_path(self._configuration, environ)
        self._config_seen = self._config_pending = FileSignature.stat(config_path)
        self._credentials_seen = FileSignature.stat(self._credentials_path)
        self._looked_around_at = -math.inf
        self._has_stirred = False
        """Whether something has changed since, in a folder or in what is known."""
        self._is_unreadable = False
        """So the log says of the credentials file."""
        self._notifier = SystemdNotifier(environ)
        self._told: tuple[Summary, str | None] | None = None
        """What systemd shows: of the profiles, and of the configuration."""
        every = min(HEARTBEAT, watchdog_interval(environ, os.getpid()) or HEARTBEAT)
        self._jobs = make_jobs(beat=self._beat, every=every)
        self._telling = EventObservers(environ, self._clock, self.metrics)
        took = self._telling.counts.sts_took
        sts = TimedStsClient(self._clock, connections=MOST_THREADS, took=took)
        self._refresher = make_refresher(self._clock, self._sources, self._file, sts=sts)
        self._scheduler = RefreshScheduler(
            clock=self._clock,
            refresher=self._refresher,
            jobs=self._jobs,
            jitter=random.random,
        )
        self._scheduler.subscribe(self._telling.tell)
        self._endpoint = ContainerCredentialsEndpoint(self, Path(daemon_socket(environ)).parent)
        self._watch = DirectoryWatcher(self._stir)
        self._scheduler.first_pass.add_done_callback(
            lambda _: self._wishes.put(_MainLoopEvent.READY)
        )

    def run(self) -> int:
        """Keep the profiles fresh until a signal ends it; return the exit status.

        SIGTERM ends it with 0, SIGINT with 130; SIGHUP reloads the configuration.

        Raises:
            AlreadyRunningError: another daemon holds the socket or the credentials file.
            AssumedError: the socket or the lock can't be made.
        """
        for signal_number, wish in _SIGNALS.items():
            signal.signal(signal_number, lambda *_, wish=wish: self._wishes.put(wish))
        self._wishes.enable_signal_wakeup()
        with ExitStack() as stack:
            stack.enter_context(self._file.acquire_daemon_lock(str(self._config_path)))
            server = ApiServer(self, self._listen(stack))
            self._start(stack, server)
            return self._obey(server)

    def status(self, profiles: Sequence[str]) -> Status:
        """Return the status of the daemon and of `profiles`, of all where none is named.

        Raises:
            UsageError: a profile that is not in the configuration.
        """
        return Status(
            daemon=DaemonStatus(
                pid=os.getpid(),
                version=__version__,
                started_at=self._started_at,
                config=str(self._config_path),
                config_error=self._config_error,
                clock_skew_seconds=round(self._refresher.clock_skew.total_seconds()),
            ),
            profiles=self._scheduler.statuses(profiles),
        )

    def refresh(
        self, profiles: Sequence[str], *, force: bool, min_left: timedelta | None = None
    ) -> dict[str, Future[Outcome]]:
        """Refresh profiles now; return the outcomes to come.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
        """
        return self._scheduler.refresh(profiles, force=force, min_left=min_left)

    def credentials(self, profile: str, *, min_left: timedelta) -> Future[Credentials]:
        """Return a profile's credentials, refreshed first where under `min_left` is left of them.

        Raises:
            UsageError: a profile that is not in the configuration, or is disabled there.
        """
        return self._scheduler.credentials(profile, min_left=min_left)

    def log_in(self, profile: str, code: str) -> Future[Login]:
        """Start the MFA session that a profile hangs on; what waits for it goes on at once."""
        answer: Future[Login] = Future()
        answer.set_running_or_notify_cancel()

        def start() -> None:
            try:
                answer.set_result(self._scheduler.log_in(profile, code))
            except AssumedError as error:
                answer.set_exception(error)
            except Exception as error:  # noqa: BLE001 - whoever waits must not wait for ever
                event(logging.ERROR, "internal_error", profile=profile, exc_info=error)
                answer.set_exception(
                    UnexpectedError(
                        f"profile {profile}: {type(error).__name__}: a mistake in assumed",
                        hint="please report it with the traceback in the log",
                    )
                )
            self._stir()

        # The process may end while STS hangs.
        Thread(target=start, name="login", daemon=True).start()
        return answer

    def endpoint(self, profile: str) -> EndpointAddress:
        """Return where the AWS SDKs find the credentials of a profile.

        Raises:
            DaemonUnreachableError: the endpoint can't be opened.
        """
        return self._endpoint.address(profile)

    def metrics(self) -> bytes:
        """Return what is counted, in the text format of Prometheus."""
        return self._telling.counts.text(self.status(()), commits=self._file.writes)

    def reload(self) -> Future[None]:
        """Read the configuration again; what came of it is in the status afterwards."""
        answer: Future[None] = Future()
        answer.set_running_or_notify_cancel()
        self._reloads.put(answer)
        self._wishes.put(_MainLoopEvent.RELOAD)
        return answer

    def _listen(self, stack: ExitStack) -> socket.socket:
        path = Path(daemon_socket(self._environ))
        try:
            private_directory(path.parent)
            stack.enter_context(
                DaemonLock(path.with_suffix(".lock"), config=str(self._config_path))
            )
            listener = listen(path)
        except OSError as error:
            raise DaemonUnreachableError(
                f"{path}: the socket can't be made: {error.strerror}",
                hint="set XDG_RUNTIME_DIR to a folder of your own",
            ) from error
        stack.callback(path.unlink, missing_ok=True)
        return listener

    def _start(self, stack: ExitStack, server: ApiServer) -> None:
        event(
            logging.INFO,
            "daemon_started",
            version=__version__,
            config=self._config_path,
            credentials_file=self._file.path,
            profiles=len(self._configuration.profiles),
            socket=daemon_socket(self._environ),
            pid=os.getpid(),
        )
        self._file.recover()
        self._telling.apply(self._configuration)
        stack.callback(self._telling.stop)
        self._scheduler.update_definitions(self._configuration.profiles, self._stored() or {})
        stack.callback(server.stop)
        self._endpoint.restore()
        stack.callback(self._endpoint.close)
        self._watch.start()
        stack.callback(self._watch.stop)
        self._jobs.start()
        stack.callback(self._stop)
        # After READY where all is fresh: whoever connects waits until it has been imported.
        self._wishes.put(_MainLoopEvent.SERVE)

    def _stop(self) -> None:
        self._notifier.stopping()
        summary = self._scheduler.summary()
        self._scheduler.stop()
        self._jobs.shutdown(wait=False)
        self._file.close()
        event(logging.INFO, "daemon_stopped", profiles=summary.enabled, valid=summary.valid)

    def _obey(self, server: ApiServer) -> int:
        is_ready = False
        ready_by = self._clock.boottime() + _READY_SECONDS
        while True:
            timeout = None if is_ready else max(0.0, ready_by - self._clock.boottime())
            try:
                wish = self._wishes.get(timeout=timeout)
            except queue.Empty:
                wish = _MainLoopEvent.READY
            match wish:
                case _MainLoopEvent.READY:
                    is_ready = True
                    # The first refreshes have found more folders that are to be watched.
                    self._stir()
                    self._notifier.ready()
                    self._tell_status()
                    self._telling.write_file()
                case _MainLoopEvent.SERVE:
                    server.start()
                case _MainLoopEvent.RELOAD:
                    self._reload()
                case _MainLoopEvent.LOOK_AT_CREDENTIALS:
                    self._scheduler.reconcile(self._stored())
                case _MainLoopEvent.WRITE_METRICS:
                    self._telling.write_file()
                case _MainLoopEvent.TERMINATE:
                    return 0
                case _MainLoopEvent.INTERRUPT:
                    return _INTERRUPTED

    def _reload(self) -> None:
        awaited = self._reloads.qsize()
        self._notifier.reloading()
        self._config_seen = self._config_pending = FileSignature.stat(self._config_path)
        try:
            configuration = load_configuration(self._config_path, self._sources)
        except AssumedError as error:
            self._config_error = str(error)
            problems = error.problems if isinstance(error, ConfigurationError) else [str(error)]
            for problem in problems:
                event(
                    logging.ERROR,
                    "config_rejected",
                    problem=problem,
                    hint=f"{error.hint}; the daemon goes on with what it had: don't restart it "
                    "before this is mended",
                )
        else:
            self._config_error = None
            if self._file_settings(configuration) != self._file_settings(self._configuration):
                event(
                    logging.WARNING,
                    "restart_needed",
                    hint="credentials_file has changed: that takes a restart",
                )
            self._telling.apply(configuration)
            self._scheduler.update_definitions(configuration.profiles, self._stored() or {})
            event(
                logging.INFO,
                "config_reloaded",
                config=self._config_path,
                profiles=len(configuration.profiles),
            )
        finally:
            # systemd shows "reloading" until it is told otherwise, after a refusal too.
            self._notifier.ready()
            self._tell_status()
            self._stir()
            for _ in range(awaited):
                self._reloads.get().set_result(None)

    def _file_settings(self, configuration: Configuration) -> tuple[Path, WriteMode]:
        return credentials_path(configuration, self._environ), configuration.write

    def _stored(self) -> Mapping[str, Credentials] | None:
        try:
            stored = stored_credentials(self._file)
        except AssumedError as error:
            self._is_unreadable = True
            event(
                logging.ERROR,
                "credentials_file_unreadable",
                error_code=error.code,
                error=error.message,
                hint=error.hint,
            )
            return None
        if self._is_unreadable:
            self._is_unreadable = False
            event(logging.INFO, "credentials_file_readable")
        return stored

    def _beat(self) -> None:
        """Called by the scheduler itself: if it is stuck, systemd's watchdog is not fed."""
        try:
            self._scheduler.heartbeat()
            self._look_at_files()
            self._look_around()
            self._tell_status()
            if self._telling.is_file_due():
                self._wishes.put(_MainLoopEvent.WRITE_METRICS)
        except Exception as error:  # noqa: BLE001 - a defect must not end the scheduler's thread
            event(logging.ERROR, "internal_error", exc_info=error)
        self._notifier.keep_alive()

    def _stir(self) -> None:
        """Have everything looked at soon; called from any thread."""
        self._has_stirred = True
        self._jobs.beat_soon()

    def _look_at_files(self) -> None:
        config = FileSignature.stat(self._config_path)
        if config == self._config_seen:
            pass
        elif config != self._config_pending:
            # Somebody may be in the midst of saving it: the next beat is a second away.
            self._config_pending = config
            self._stir()
        else:
            self._wishes.put(_MainLoopEvent.RELOAD)
            self._config_seen = config
        credentials = FileSignature.stat(self._credentials_path)
        if credentials != self._credentials_seen:
            self._credentials_seen = credentials
            self._has_stirred = True
            if credentials != self._file.own_last_write:
                self._wishes.put(_MainLoopEvent.LOOK_AT_CREDENTIALS)

    def _look_around(self) -> None:
        now = self._clock.boottime()
        if self._has_stirred or now >= self._looked_around_at + _BETWEEN_LOOKS_AROUND_SECONDS:
            self._has_stirred, self._looked_around_at = False, now
            self._watch.watch(self._folders())
            tidy(self._environ)

    def _folders(self) -> frozenset[Path]:
        files = {self._config_path, self._config_path.resolve(), self._file.path}
        return self._refresher.source_directories | {file.parent for file in files}

    def _tell_status(self) -> None:
        if not self._notifier.is_enabled:
            return
        summary = self._scheduler.summary()
        if (summary, self._config_error) == self._told:
            return
        text = f"{summary.valid} of {summary.enabled} profiles valid"
        if summary.next_attempt_at is not None:
            text += f", next refresh {summary.next_attempt_at.astimezone():%H:%M}"
        if self._config_error is not None:
            text += "; the configuration on disk is wrong and not used"
        if self._notifier.status(text):
            self._told = summary, self._config_error
