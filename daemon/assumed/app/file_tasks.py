"""What the daemon does with the files that it watches, on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assumed.app.exec_environment import remove_stale_exec_dirs
from assumed.app.file_monitor import FileMonitor, WatchedChange
from assumed.app.file_worker import FileWorker
from assumed.app.refresh_engine import RefreshEngine
from assumed.app.reloader import ConfigReloader
from assumed.app.service_notifier import ServiceNotifier

_STOP_SECONDS = 1.0


class FileTasks:
    """Reloads the configuration, and adopts changes of the credentials file.

    Every method but `stop` may be called from any thread, and returns at once.

    Args:
        monitor: finds out what has changed.
        reloader: reloads the configuration.
        engine: adopts changes of the credentials file.
        notifier: shows a reload to the service manager.
        environ: the environment of the daemon.
    """

    def __init__(
        self,
        monitor: FileMonitor,
        reloader: ConfigReloader,
        engine: RefreshEngine,
        notifier: ServiceNotifier,
        environ: Mapping[str, str],
    ) -> None:
        self.reloader = reloader
        self._monitor = monitor
        self._engine = engine
        self._notifier = notifier
        self._environ = environ
        self._worker = FileWorker(f"{reloader.initial.path} or the AWS files", engine.errors)

    def start(self) -> None:
        """Start the thread, and watch for file events.

        Raises:
            RuntimeError: the system has no thread left.
        """
        self._worker.start()
        self._monitor.start()

    def stop(self) -> None:
        """Begin no more tasks; wait a second for the one under way."""
        self._monitor.stop()
        self._worker.stop(_STOP_SECONDS)

    def post(self, task: Callable[[], None]) -> None:
        """Have another task done that touches files."""
        self._worker.post(task)

    def request_check(self) -> None:
        """Request a check of everything within a second."""
        self._monitor.request_check()

    def check(self) -> None:
        """Look for changes, and reload or adopt what has changed."""
        self._worker.post(self._check)

    def reload(self) -> None:
        """Reload the configuration."""
        self._worker.post(self._reload)

    def confirm_and_reload(self) -> None:
        """Reload the configuration for a person, who confirms each `credential_process` with it."""
        self._worker.post(self._confirm_and_reload)

    def _check(self) -> None:
        changes = self._monitor.check()
        if WatchedChange.CONFIG in changes or self.reloader.is_unreadable:
            self._worker.post(self._reload)
        if WatchedChange.CREDENTIALS in changes:
            self._worker.post(self._engine.reconcile)
        if self._monitor.update_watches():
            remove_stale_exec_dirs(self._environ)

    def _confirm_and_reload(self) -> None:
        self._reload(confirms_processes=True)

    def _reload(self, *, confirms_processes: bool = False) -> None:
        self._notifier.reloading()
        self._monitor.config_is_read()
        try:
            self.reloader.reload(confirms_processes=confirms_processes)
        finally:
            # The unit stays "reloading" until then, also after a rejected configuration.
            self._notifier.ready()
            self._monitor.request_check()
