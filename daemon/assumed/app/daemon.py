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
from pathlib import Path

from assumed import __version__
from assumed.app.api_listener import ApiListener
from assumed.app.daemon_api import DaemonApiBackend
from assumed.app.exec_environment import remove_stale_exec_dirs
from assumed.app.factory import (
    MAX_THREADS,
    credentials_file,
    load_first_configuration,
    make_jobs,
    make_refresher,
)
from assumed.app.file_monitor import FileMonitor, WatchedChange
from assumed.app.process_profiles import ProcessProfiles
from assumed.app.refresh_engine import RefreshEngine
from assumed.app.reloader import ConfigReloader
from assumed.app.service_notifier import ServiceNotifier
from assumed.app.source_lookup import SourceLookup
from assumed.app.status_log import log_status
from assumed.clock import SystemClock
from assumed.credential_sources.base import SourceProfiles
from assumed.engine.heartbeat import HEARTBEAT
from assumed.engine.refresh_policy import RetriedBy
from assumed.engine.scheduler import RefreshScheduler
from assumed.heap import trim_heap
from assumed.logs import event, retry_failed_log
from assumed.models import Configuration
from assumed.observers.composite import CompositeObserver
from assumed.observers.hooks import Hooks
from assumed.observers.metrics import Metrics
from assumed.observers.metrics_textfile import MetricsTextfile
from assumed.paths import daemon_socket
from assumed.platform.inotify import DirectoryWatcher
from assumed.platform.reaper import ZombieReaper
from assumed.platform.signal_aware_queue import SignalAwareQueue
from assumed.platform.systemd.notify import SystemdNotifier, watchdog_interval
from assumed.server.container_credentials import ContainerCredentialsEndpoint
from assumed.server.metrics_endpoint import MetricsServer
from assumed.sts.client import StsClient
from assumed.subprocesses import running_commands

_READY_TIMEOUT_SECONDS = 20
_INTERRUPTED = 130


class _MainLoopEvent(Enum):
    """What signals, the scheduler and API clients ask the main thread to do."""

    NOTIFY_READY = auto()
    START_API = auto()
    RESTORE_SOCKET = auto()
    RELOAD = auto()
    RECONCILE = auto()
    LOG_STATUS = auto()
    WRITE_METRICS = auto()
    TERMINATE = auto()
    INTERRUPT = auto()


_SIGNALS = {
    signal.SIGHUP: _MainLoopEvent.RELOAD,
    signal.SIGTERM: _MainLoopEvent.TERMINATE,
    signal.SIGINT: _MainLoopEvent.INTERRUPT,
    signal.SIGUSR1: _MainLoopEvent.LOG_STATUS,
}


class Daemon:
    """The daemon: refreshes the profiles of a configuration until a signal stops it."""

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        """Read the configuration and create all objects; nothing runs yet.

        Raises:
            ConfigurationError: with every problem in the configuration.
            ConfigurationUnavailableError: the configuration cannot be read now.
            SourceUnavailableError: the AWS files, which have its source profiles, cannot be read.
        """
        self._queue = SignalAwareQueue[_MainLoopEvent]()
        # Before the configuration is read: what SIGHUP announces after that must not be missed.
        self._handle_signals()
        clock, sources = SystemClock(), SourceProfiles()
        lookup = SourceLookup(sources)
        configuration = load_first_configuration(config_path, lookup)
        self._environ = environ
        self._reaper = ZombieReaper(running_commands, clock.boottime)
        metrics = Metrics()
        self._textfile = MetricsTextfile(self._render_metrics, clock)
        self._observers = CompositeObserver(
            metrics, Hooks(environ), MetricsServer(self._render_metrics), self._textfile
        )
        self._engine = self._make_engine(configuration, sources, metrics)
        self._monitor = FileMonitor(
            config_path,
            self._engine,
            DirectoryWatcher,
            clock,
            has_other_sources=lookup.has_changed,
        )
        self._reloader = ConfigReloader(
            configuration,
            environ,
            lookup=lookup,
            apply=self._apply,
            request_reload=lambda: self._post(_MainLoopEvent.RELOAD),
        )
        self._notifier = ServiceNotifier(
            SystemdNotifier(environ),
            summary=self._engine.summary,
            config_error=lambda: self._reloader.error,
        )
        self._endpoint = ContainerCredentialsEndpoint(
            self._engine.scheduler, Path(daemon_socket(environ)).parent
        )
        self._api = DaemonApiBackend(
            self._engine, self._reloader, self._endpoint, metrics, self._monitor.request_check
        )
        self._listener = ApiListener(
            self._api, Path(daemon_socket(environ)), config=str(configuration.path)
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
            stack.enter_context(self._engine.acquire_daemon_lock(str(self._reloader.initial.path)))
            self._listener.open()
            stack.callback(self._listener.close)
            self._start(stack)
            return self._main_loop()

    def _handle_signals(self) -> None:
        for number, main_loop_event in _SIGNALS.items():
            signal.signal(number, lambda *_, posted=main_loop_event: self._post(posted))
        self._queue.enable_signal_wakeup()

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
        scheduler.subscribe(self._observers.on_event)
        scheduler.first_pass.add_done_callback(lambda _: self._post(_MainLoopEvent.NOTIFY_READY))
        return RefreshEngine(file=file, refresher=refresher, scheduler=scheduler, jobs=jobs)

    def _start(self, stack: ExitStack) -> None:
        configuration = self._reloader.initial
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
        ProcessProfiles(configuration, self._environ).keep()
        stack.callback(self._listener.close)
        self._endpoint.restore()
        stack.callback(self._endpoint.close)
        self._monitor.start()
        stack.callback(self._monitor.stop)
        self._engine.start()
        stack.callback(self._stop)
        # After NOTIFY_READY if all sessions are fresh: the import of the server takes time, and
        # clients wait in the backlog of the socket.
        self._post(_MainLoopEvent.START_API)

    def _stop(self) -> None:
        self._notifier.stopping()
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
                main_loop_event = _MainLoopEvent.NOTIFY_READY
            match main_loop_event:
                case _MainLoopEvent.NOTIFY_READY:
                    is_ready = True
                    self._notify_ready()
                case _MainLoopEvent.START_API:
                    self._listener.start()
                case _MainLoopEvent.RESTORE_SOCKET:
                    if self._listener.reopen():
                        self._endpoint.restore_tokens()
                case _MainLoopEvent.RELOAD:
                    self._reload()
                case _MainLoopEvent.RECONCILE:
                    self._engine.reconcile()
                case _MainLoopEvent.LOG_STATUS:
                    log_status(self._api.status(()))
                case _MainLoopEvent.WRITE_METRICS:
                    self._textfile.write()
                case _MainLoopEvent.TERMINATE:
                    return 0
                case _MainLoopEvent.INTERRUPT:
                    return _INTERRUPTED

    def _notify_ready(self) -> None:
        # The first refreshes have found more directories to watch.
        self._monitor.request_check()
        self._notifier.ready()
        # What reading the configuration has left behind.
        trim_heap()
        self._textfile.write()

    def _reload(self) -> None:
        self._notifier.reloading()
        self._monitor.config_is_read()
        try:
            self._reloader.reload()
        finally:
            # The unit stays "reloading" until then, also after a rejected configuration.
            self._notifier.ready()
            self._monitor.request_check()

    def _apply(self, configuration: Configuration) -> None:
        self._observers.configure(configuration)
        self._engine.configure(configuration)
        ProcessProfiles(configuration, self._environ).keep()

    def _on_heartbeat(self) -> None:
        """Check what no event reports; the scheduler calls this from its own thread.

        If the scheduler is stuck, systemd gets no keep-alive and restarts the daemon.
        """
        try:
            retry_failed_log()
            self._reaper.reap()
            self._engine.heartbeat()
            changes = self._monitor.check()
            if WatchedChange.CONFIG in changes or self._reloader.is_unreadable:
                self._post(_MainLoopEvent.RELOAD)
            if WatchedChange.CREDENTIALS in changes:
                self._post(_MainLoopEvent.RECONCILE)
            if self._monitor.update_watches():
                remove_stale_exec_dirs(self._environ)
            self._notifier.update_status()
            if self._listener.is_lost():
                self._post(_MainLoopEvent.RESTORE_SOCKET)
            if self._textfile.is_due():
                self._post(_MainLoopEvent.WRITE_METRICS)
        except Exception as error:  # noqa: BLE001 - it must not end the scheduler's thread
            event(logging.ERROR, "internal_error", exc_info=error)
        self._notifier.keep_alive()

    def _render_metrics(self) -> bytes:
        return self._api.metrics()

    def _post(self, main_loop_event: _MainLoopEvent) -> None:
        self._queue.put(main_loop_event)
