"""`assumed run`: the daemon. It creates all objects, connects them, and runs the main loop."""

from __future__ import annotations

import logging
import os
import queue
import random
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from enum import Enum, auto
from functools import partial
from pathlib import Path

from assumed import __version__
from assumed.app.api_listener import ApiListener
from assumed.app.daemon_api import DaemonApiBackend
from assumed.app.factory import (
    MAX_THREADS,
    credentials_file,
    load_first_configuration,
    make_jobs,
    make_refresher,
)
from assumed.app.file_monitor import FileMonitor
from assumed.app.file_tasks import FileTasks
from assumed.app.process_profiles import ProcessProfiles
from assumed.app.refresh_engine import RefreshEngine
from assumed.app.reloader import ConfigReloader
from assumed.app.service_notifier import ServiceNotifier
from assumed.app.shadowing import ShadowingLog
from assumed.app.source_lookup import SourceLookup
from assumed.app.status_log import log_status
from assumed.clock import SystemClock
from assumed.credential_sources.base import SourceProfiles
from assumed.engine.heartbeat import HEARTBEAT
from assumed.engine.internal_errors import Part
from assumed.engine.refresh_policy import RetriedBy
from assumed.engine.scheduler import RefreshScheduler
from assumed.heap import trim_heap
from assumed.local_faults import LOCAL_FAULTS
from assumed.logs import event, retry_failed_log
from assumed.models import Configuration
from assumed.observers.composite import CompositeObserver
from assumed.observers.hooks import Hooks
from assumed.observers.metrics import Metrics
from assumed.observers.metrics_textfile import MetricsTextfile
from assumed.paths import daemon_socket, user_name
from assumed.platform.inotify import DirectoryWatcher
from assumed.platform.reaper import ZombieReaper
from assumed.platform.signal_aware_queue import SignalAwareQueue
from assumed.platform.systemd.notify import SystemdNotifier, watchdog_interval
from assumed.server.container_credentials import ContainerCredentialsEndpoint
from assumed.server.listeners import ListenerStore
from assumed.server.metrics_endpoint import MetricsServer
from assumed.sts.client import StsClient
from assumed.subprocesses import running_commands

_READY_TIMEOUT_SECONDS = 20
_INTERRUPTED = 130
STOP_TIMEOUT_SECONDS = 8.0
"""Less than the `TimeoutStopSec` of the systemd units."""
EXIT_STATUSES = {signal.SIGTERM: 0, signal.SIGINT: _INTERRUPTED}
"""The signals that stop the daemon."""


class MainLoopEvent(Enum):
    """What signals, the scheduler and API clients ask the main thread to do."""

    NOTIFY_READY = auto()
    START_API = auto()
    RESTORE_SOCKET = auto()
    RELOAD = auto()
    LOG_STATUS = auto()
    TERMINATE = auto()
    INTERRUPT = auto()


_SIGNALS = {
    signal.SIGHUP: MainLoopEvent.RELOAD,
    signal.SIGTERM: MainLoopEvent.TERMINATE,
    signal.SIGINT: MainLoopEvent.INTERRUPT,
    signal.SIGUSR1: MainLoopEvent.LOG_STATUS,
}


class Daemon:
    """The daemon: refreshes the profiles of a configuration until a signal stops it."""

    def __init__(
        self,
        config_path: Path,
        environ: Mapping[str, str],
        main_loop: SignalAwareQueue[MainLoopEvent],
        listeners: ListenerStore,
    ) -> None:
        """Read the configuration and create all objects; nothing runs yet.

        Args:
            config_path: the configuration.
            environ: the environment.
            main_loop: the queue of the main thread; it wakes on signals from now on.
            listeners: keeps the listening sockets during a restart.

        Raises:
            ConfigurationError: with every problem in the configuration.
            ConfigurationUnavailableError: the configuration cannot be read now.
            SourceUnavailableError: the AWS files, which have its source profiles, cannot be read.
        """
        self._queue = main_loop
        # Before the configuration is read: what SIGHUP announces after that must not be missed.
        self._handle_signals()
        clock, sources = SystemClock(), SourceProfiles(_how_to_confirm())
        lookup = SourceLookup(sources)
        configuration = load_first_configuration(config_path, lookup)
        self._environ = environ
        self._reaper = ZombieReaper(running_commands, clock.boottime)
        metrics = Metrics(user_name())
        self._textfile = MetricsTextfile(self._render_metrics, clock)
        self._observers = CompositeObserver(
            metrics, Hooks(environ), MetricsServer(self._render_metrics, listeners), self._textfile
        )
        self._engine = self._make_engine(configuration, sources, metrics)
        self._notifier = ServiceNotifier(
            SystemdNotifier(environ),
            summary=self._engine.summary,
            config_error=lambda: self._files.reloader.error,
        )
        self._files = self._make_files(configuration, lookup)
        socket = Path(daemon_socket(environ))
        self._endpoint = ContainerCredentialsEndpoint(
            self._engine.scheduler, socket.parent, listeners
        )
        self._api = DaemonApiBackend(
            self._engine, self._files.reloader, self._endpoint, metrics, self._files.request_check
        )
        self._listener = ApiListener(
            self._api, socket, config=str(configuration.path), listeners=listeners
        )

    def run(self) -> int:
        """Refresh the profiles until a signal stops the daemon; return the exit status.

        SIGTERM stops it with 0, SIGINT with 130; SIGHUP reloads the configuration, and SIGUSR1
        logs the state of all profiles. No other signal that can be handled has an effect.

        Raises:
            AlreadyRunningError: another daemon holds the socket or the credentials file.
            AssumedError: the socket or the lock cannot be created.
        """
        with ExitStack() as stack:
            stack.enter_context(
                self._engine.acquire_daemon_lock(str(self._files.reloader.initial.path))
            )
            self._listener.open()
            stack.callback(self._listener.close)
            self._start(stack)
            return self._main_loop()

    def _handle_signals(self) -> None:
        for number, main_loop_event in _SIGNALS.items():
            signal.signal(number, lambda *_, posted=main_loop_event: self._post(posted))

    def _make_engine(
        self, configuration: Configuration, sources: SourceProfiles, metrics: Metrics
    ) -> RefreshEngine:
        clock = SystemClock()
        jobs = make_jobs(
            on_heartbeat=self._on_heartbeat,
            interval=min(HEARTBEAT, watchdog_interval(self._environ, os.getpid()) or HEARTBEAT),
        )
        file = credentials_file(configuration, self._environ)
        sts = StsClient(
            clock,
            connections=MAX_THREADS,
            on_request=lambda request: metrics.record_sts_request(request.took.total_seconds()),
        )
        refresher = make_refresher(clock, sources, file, sts=sts)
        scheduler = RefreshScheduler(
            clock=clock,
            refresher=refresher,
            jobs=jobs,
            jitter=random.random,
            retried_by=RetriedBy.DAEMON,
        )
        for observer in self._observers.of_events:
            scheduler.subscribe(observer)
        scheduler.first_pass.done.add_done_callback(
            lambda _: self._post(MainLoopEvent.NOTIFY_READY)
        )
        return RefreshEngine(
            file=file,
            refresher=refresher,
            scheduler=scheduler,
            jobs=jobs,
            shadowing=ShadowingLog(self._environ),
        )

    def _make_files(self, configuration: Configuration, lookup: SourceLookup) -> FileTasks:
        monitor = FileMonitor(
            configuration.path,
            self._engine,
            DirectoryWatcher,
            SystemClock(),
            has_other_sources=lookup.has_changed,
        )
        reloader = ConfigReloader(
            configuration,
            self._environ,
            lookup=lookup,
            apply=self._apply,
            request_reload=self._reload,
        )
        return FileTasks(monitor, reloader, self._engine, self._notifier, self._environ)

    def _start(self, stack: ExitStack) -> None:
        configuration = self._files.reloader.initial
        event(
            logging.INFO,
            "daemon_started",
            version=__version__,
            config=configuration.path,
            credentials_file=self._engine.credentials_path,
            profiles=len(configuration.profiles),
            socket=daemon_socket(self._environ),
            pid=os.getpid(),
        )
        self._observers.configure(configuration)
        stack.callback(self._observers.stop)
        self._engine.load(configuration)
        stack.callback(self._listener.close)
        self._endpoint.restore()
        stack.callback(self._endpoint.close)
        self._files.start()
        self._files.post(ProcessProfiles(configuration, self._environ).keep)
        stack.callback(self._files.stop)
        self._engine.start()
        stack.callback(self._stop)
        # After NOTIFY_READY if all sessions are fresh: the import of the server takes time, and
        # clients wait in the backlog of the socket.
        self._post(MainLoopEvent.START_API)

    def _stop(self) -> None:
        self._notifier.stopping()
        # Before the engine stops, which rejects requests. New ones wait for the next daemon.
        self._endpoint.drain()
        self._listener.drain()
        summary = self._engine.summary()
        self._engine.stop()
        event(logging.INFO, "daemon_stopped", profiles=summary.enabled, valid=summary.valid)

    def _main_loop(self) -> int:
        is_ready = False
        clock = SystemClock()
        ready_by = clock.boottime() + _READY_TIMEOUT_SECONDS
        while True:
            timeout = None if is_ready else max(0.0, ready_by - clock.boottime())
            try:
                main_loop_event = self._queue.get(timeout=timeout)
            except queue.Empty:
                main_loop_event = MainLoopEvent.NOTIFY_READY
            is_ready = is_ready or main_loop_event is MainLoopEvent.NOTIFY_READY
            if main_loop_event is MainLoopEvent.TERMINATE:
                return EXIT_STATUSES[signal.SIGTERM]
            if main_loop_event is MainLoopEvent.INTERRUPT:
                return EXIT_STATUSES[signal.SIGINT]
            # An error of this program must not end the refreshing.
            with self._engine.errors.caught(Part.MAIN_LOOP):
                self._handle(main_loop_event)

    def _handle(self, main_loop_event: MainLoopEvent) -> None:
        match main_loop_event:
            case MainLoopEvent.NOTIFY_READY:
                self._notify_ready()
            case MainLoopEvent.START_API:
                self._listener.start()
            case MainLoopEvent.RESTORE_SOCKET:
                if self._listener.reopen():
                    self._endpoint.restore_tokens()
            case MainLoopEvent.RELOAD:
                self._files.confirm_and_reload()
            case MainLoopEvent.LOG_STATUS:
                log_status(self._api.status(()))

    def _notify_ready(self) -> None:
        self._notifier.ready()
        # The first refreshes have found more directories to watch.
        self._files.request_check()
        # What reading the configuration has left behind.
        trim_heap()
        self._files.post(self._textfile.write)

    def _reload(self) -> None:
        self._files.reload()

    def _apply(self, configuration: Configuration) -> None:
        self._observers.configure(configuration)
        self._engine.configure(configuration)
        ProcessProfiles(configuration, self._environ).keep()

    def _on_heartbeat(self) -> None:
        """Check what no event reports; the scheduler calls this from its own thread.

        If the scheduler is stuck, or has lost a profile, systemd gets no keep-alive and restarts
        the daemon. No other error does that, and none prevents another check.
        """
        checks = (
            retry_failed_log,
            LOCAL_FAULTS.check,
            self._reaper.reap,
            self._files.check,
            partial(self._files.post, self._check_socket),
            self._notifier.update_status,
            self._check_outputs,
        )
        for check in checks:
            with self._engine.errors.caught(Part.HEARTBEAT):
                check()
        if self._engine.heartbeat():
            self._notifier.keep_alive()

    def _check_outputs(self) -> None:
        if not self._listener.is_started:
            self._post(MainLoopEvent.START_API)
        if self._textfile.is_due():
            self._files.post(self._textfile.write)

    def _check_socket(self) -> None:
        if self._listener.is_lost():
            self._post(MainLoopEvent.RESTORE_SOCKET)

    def _render_metrics(self) -> bytes:
        return self._api.metrics()

    def _post(self, main_loop_event: MainLoopEvent) -> None:
        self._queue.put(main_loop_event)


def _how_to_confirm() -> str:
    return f"confirm it with `kill -HUP {os.getpid()}` or with a restart of the daemon"
