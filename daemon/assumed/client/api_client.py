"""The client for the API socket of the daemon, used by all commands but the fast path."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from assumed.errors import AssumedError, DaemonUnreachableError, RefreshFailedError, UsageError
from assumed.fastpath.unix_http import describe_failure
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

T = TypeVar("T")


def find_daemon(
    environ: Mapping[str, str], user: str, *, on_version: Callable[[str], None] = lambda _: None
) -> DaemonClient | None:
    """Return a client for the daemon of `user`; None if no daemon runs.

    Args:
        environ: says where the daemon of this session listens.
        user: a name.
        on_version: as of `DaemonClient`.

    Raises:
        DaemonUnreachableError: a process of another user listens on the socket, or the connection
            fails.
    """
    for path in map(Path, client_sockets(environ, user)):
        try:
            connection = connect(path)
        except OSError as error:
            raise _unreachable(path, error) from error
        if connection is not None:
            connection.close()
            return DaemonClient(path, on_version=on_version)
    return None


class DaemonClient:
    """Sends requests to the daemon that listens at `path`, each on a connection of its own.

    All methods raise UsageError for a profile that the daemon does not know,
    DaemonUnreachableError if there is no valid response, and RefreshFailedError with the code of
    any other error that the daemon reports.

    Args:
        path: the API socket.
        on_version: called with the version of the daemon at each response.
    """

    def __init__(self, path: Path, *, on_version: Callable[[str], None] = lambda _: None) -> None:
        self.path = path
        self._on_version = on_version

    def status(self, profiles: Sequence[str] = ()) -> Status:
        """Return the status of the daemon and of `profiles`, or of all if it is empty."""
        query = urlencode([("profile", profile) for profile in profiles])
        body = self._request("GET", f"/v1/status?{query}", None, _STATUS_TIMEOUT_SECONDS)
        return self._decode(status_from_json, body)

    def refresh(
        self,
        profiles: Sequence[str],
        *,
        force: bool,
        min_left: timedelta | None = None,
        timeout: timedelta | None = None,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> tuple[Outcome, ...]:
        """Refresh profiles and return their outcomes once every profile has been tried.

        Args:
            profiles: names; empty for all.
            force: also refresh profiles that are still fresh.
            min_left: refresh profiles with less than this remaining, in place of those due.
            timeout: None to wait for as long as it takes.
            on_outcome: called with each outcome as soon as it is known; not with `timeout`.
        """
        request = {
            "profiles": list(profiles),
            "force": force,
            "min_left": None if min_left is None else round(min_left.total_seconds()),
            "stream": on_outcome is not None,
        }
        seconds = None if timeout is None else timeout.total_seconds()
        bodies = self._stream("POST", "/v1/refresh", request, seconds)
        body = self._decode(next, bodies)
        while on_outcome is not None and "outcomes" not in body:
            on_outcome(self._decode(outcome_from_json, body))
            body = self._decode(next, bodies)
        return self._decode(_outcomes_from_json, body)

    def credentials(self, profile: str) -> Mapping[str, str]:
        """Return a profile's credentials, by credential process key."""
        query = urlencode({"profile": profile})
        body = self._request("GET", f"/v1/credentials?{query}", None, None)
        return self._decode(_credentials_from_json, body)

    def log_in(self, profile: str, code: str) -> Login:
        """Start the MFA session of a profile's source.

        Raises:
            UsageError: also for a profile that needs no MFA code, and for an empty code.
        """
        request = {"profile": profile, "code": code}
        body = self._request("POST", "/v1/login", request, None)
        return self._decode(login_from_json, body)

    def endpoint(self, profile: str) -> EndpointAddress:
        """Return the container credentials endpoint of a profile that has credentials."""
        query = urlencode({"profile": profile})
        body = self._request("GET", f"/v1/endpoint?{query}", None, None)
        return self._decode(endpoint_from_json, body)

    def _decode(self, decode: Callable[[Any], T], body: Any) -> T:
        try:
            return decode(body)
        except (AttributeError, LookupError, TypeError, ValueError, StopIteration) as error:
            raise _unreachable(self.path, error) from error

    def _request(self, method: str, target: str, body: object, timeout: float | None) -> Any:
        return self._decode(_only, list(self._stream(method, target, body, timeout)))

    def _stream(
        self, method: str, target: str, body: object, timeout: float | None
    ) -> Iterator[Any]:
        """Yield the JSON of each line of the response as it arrives."""
        connection = _Connection(self.path, timeout)
        try:
            connection.request(
                method,
                target,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json", "Connection": "close"},
            )
            with connection.getresponse() as response:
                product, _, version = (response.getheader("Server") or "").partition("/")
                if product == "assumed":
                    self._on_version(version)
                for line in response:
                    decoded = json.loads(line)
                    if "error" in decoded:
                        raise _rejection(decoded["error"])
                    yield decoded
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


def _only(responses: Sequence[Any]) -> Any:
    (response,) = responses
    return response


def _outcomes_from_json(body: Mapping[str, Any]) -> tuple[Outcome, ...]:
    return tuple(map(outcome_from_json, body["outcomes"]))


def _credentials_from_json(body: Mapping[str, Any]) -> Mapping[str, str]:
    return {key: str(value) for key, value in body.items()}


def _rejection(error: Mapping[str, str]) -> AssumedError:
    if error["code"] == UsageError.code:
        return UsageError(error["message"], hint=error["hint"])
    if error["code"] == DaemonUnreachableError.code:
        return DaemonUnreachableError(error["message"], hint=error["hint"])
    return RefreshFailedError(error["message"], hint=error["hint"], code=error["code"])


def _unreachable(path: Path, error: Exception) -> DaemonUnreachableError:
    message, hint = describe_failure(str(path), error)
    return DaemonUnreachableError(message, hint=hint)
