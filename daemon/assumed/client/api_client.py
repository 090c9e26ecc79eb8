"""The client of the local socket, which every command uses."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from assumed.errors import AssumedError, DaemonUnreachableError, UsageError
from assumed.models import EndpointAddress, Login, Outcome, Status
from assumed.paths import client_sockets
from assumed.server.serialization import (
    endpoint_from_json,
    login_from_json,
    outcome_from_json,
    status_from_json,
)
from assumed.server.unix_socket import connect

_STATUS_TIMEOUT_SECONDS = 5.0


def find_daemon(environ: Mapping[str, str], user: str) -> DaemonClient | None:
    """Return a client of this user's daemon; None where none runs.

    Raises:
        DaemonUnreachableError: another user listens where the daemon should, or the socket is
            broken.
    """
    for path in map(Path, client_sockets(environ, user)):
        try:
            connection = connect(path)
        except OSError as error:
            raise _unreachable(path, error) from error
        if connection is not None:
            connection.close()
            return DaemonClient(path)
    return None


class DaemonClient:
    """Talks to the daemon at a socket; one connection a request."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def status(self, profiles: Sequence[str] = ()) -> Status:
        """Return the status of the daemon and of `profiles`, of all where none is named.

        Raises:
            UsageError: a profile that the daemon does not know.
            DaemonUnreachableError: no answer, or none that makes sense.
        """
        query = urlencode([("profile", profile) for profile in profiles])
        shape = self._request("GET", f"/v1/status?{query}", None, _STATUS_TIMEOUT_SECONDS)
        try:
            return status_from_json(shape)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _unreachable(self.path, error) from error

    def refresh(
        self,
        profiles: Sequence[str],
        *,
        force: bool,
        min_left: timedelta | None = None,
        timeout: timedelta | None = None,
        told: Callable[[Outcome], None] | None = None,
    ) -> tuple[Outcome, ...]:
        """Have profiles refreshed now, all where none is named; returns when all are tried.

        Args:
            profiles: names.
            force: also refresh what is still fresh.
            min_left: leave alone what has at least so much left, and nothing else.
            timeout: how long to wait; None for as long as it takes.
            told: called with each outcome as it comes; not together with `timeout`.

        Raises:
            UsageError: a profile that the daemon does not know.
            DaemonUnreachableError: no answer in time, or none that makes sense.
        """
        asked = {
            "profiles": list(profiles),
            "force": force,
            "min_left": None if min_left is None else round(min_left.total_seconds()),
            "stream": told is not None,
        }
        seconds = None if timeout is None else timeout.total_seconds()
        shapes = self._requests("POST", "/v1/refresh", asked, seconds)
        try:
            shape = next(shapes)
            while told is not None and "outcomes" not in shape:
                told(outcome_from_json(shape))
                shape = next(shapes)
            return tuple(outcome_from_json(outcome) for outcome in shape["outcomes"])
        except (KeyError, TypeError, AttributeError, ValueError, StopIteration) as error:
            raise _unreachable(self.path, error) from error

    def credentials(self, profile: str) -> Mapping[str, str]:
        """Return a profile's credentials, by the names of a credential process.

        Raises:
            UsageError: a profile that the daemon does not know.
            DaemonUnreachableError: no answer, or none that makes sense.
            RefreshFailedError: there are none that last.
        """
        query = urlencode({"profile": profile})
        shape = self._request("GET", f"/v1/credentials?{query}", None, None)
        try:
            return {key: str(value) for key, value in shape.items()}
        except AttributeError as error:
            raise _unreachable(self.path, error) from error

    def log_in(self, profile: str, code: str) -> Login:
        """Start the MFA session that a profile hangs on.

        Raises:
            UsageError: a profile that the daemon does not know, or that needs no code; no code.
            DaemonUnreachableError: no answer, or none that makes sense.
            RefreshFailedError: STS does not take the code, or can't be reached.
        """
        asked = {"profile": profile, "code": code}
        shape = self._request("POST", "/v1/login", asked, None)
        try:
            return login_from_json(shape)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _unreachable(self.path, error) from error

    def endpoint(self, profile: str) -> EndpointAddress:
        """Return where the AWS SDKs find the credentials of a profile, which are there already.

        Raises:
            UsageError: a profile that the daemon does not know.
            DaemonUnreachableError: no answer, or none that makes sense.
            RefreshFailedError: there are none that last.
        """
        query = urlencode({"profile": profile})
        shape = self._request("GET", f"/v1/endpoint?{query}", None, None)
        try:
            return endpoint_from_json(shape)
        except (KeyError, TypeError) as error:
            raise _unreachable(self.path, error) from error

    def _request(self, method: str, target: str, body: object, timeout: float | None) -> Any:
        try:
            (shape,) = self._requests(method, target, body, timeout)
        except ValueError as error:
            raise _unreachable(self.path, error) from error
        return shape

    def _requests(
        self, method: str, target: str, body: object, timeout: float | None
    ) -> Iterator[Any]:
        """Give what each line of the answer says, as it comes."""
        connection = _Connection(self.path, timeout)
        try:
            connection.request(
                method,
                target,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json", "Connection": "close"},
            )
            with connection.getresponse() as answer:
                for line in answer:
                    shape = json.loads(line)
                    if "error" in shape:
                        raise _refusal(shape["error"])
                    yield shape
        except AssumedError:
            raise
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            raise _unreachable(self.path, error) from error
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        connection = connect(self._path)
        if connection is None:
            raise ConnectionRefusedError("the daemon has stopped")
        connection.settimeout(self.timeout)
        self.sock: socket.socket = connection


def _refusal(error: Mapping[str, str]) -> AssumedError:
    if error["code"] == UsageError.code:
        return UsageError(error["message"], hint=error["hint"])
    return DaemonUnreachableError(error["message"], hint=error["hint"])


def _unreachable(path: Path, error: Exception) -> DaemonUnreachableError:
    if isinstance(error, TimeoutError):
        return DaemonUnreachableError(
            f"the daemon at {path} has not answered in time",
            hint="a refresh may be under way still: see `assumed status`",
        )
    return DaemonUnreachableError(
        f"the daemon at {path} does not answer: {type(error).__name__}: {error}",
        hint="see its log: `journalctl --user -u assumed`; and restart it",
    )
