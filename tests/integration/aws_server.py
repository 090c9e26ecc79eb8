"""The embedded AWS as a process of its own, which notes every AssumeRole and can be disturbed.

`python -m tests.integration.aws_server LIFETIME-SCALE` prints its URL and serves until its input is
closed.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sts.models import sts_backends

from assumed.demo.embedded_aws import EmbeddedAws, error_response, form

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HANG_SECONDS = 120


class ApiServer:
    """The embedded AWS, and what a test asks of it under `/_test/`."""

    def __init__(self, lifetime_scale: float) -> None:
        self.aws = EmbeddedAws(lifetime_scale=lifetime_scale, layer=self._layer)
        self._lock = threading.Lock()
        self._calls: list[str] = []
        self._requests: list[dict[str, str]] = []
        self._faults: dict[str, str] = {}
        self._identity_tokens: set[str] = set()
        self._mfa: dict[str, dict[str, Any]] = {}
        self._session_tokens: list[dict[str, str]] = []
        self._signers: set[str] = set()
        self._revoked: list[Any] = []
        """Sessions of moto that it does not know any more."""
        self._identities: list[str] = []
        """The access key ids that have signed a GetCallerIdentity."""
        self._changed = threading.Condition()

    def control(self, command: str, asked: Any) -> Any:
        answer: Any = None
        match command:
            case "user":
                user = self.aws.add_user(asked["name"], *asked["statements"])
                answer = [user.access_key_id, user.secret_access_key]
            case "role":
                answer = self.aws.add_role(
                    asked["name"], *asked["statements"], trusts=asked["trusts"]
                )
            case "bucket" | "max_duration":
                self._change(command, asked)
            case "fault":
                with self._changed:
                    self._faults[asked["role_arn"]] = asked["fault"]
                    self._changed.notify_all()
            case "calls":
                with self._lock:
                    answer = list(self._calls)
            case "requests":
                with self._lock:
                    answer = list(self._requests)
            case "identity_tokens":
                self._identity_tokens = set(asked)
            case "mfa":
                self._mfa[asked["serial"]] = asked
            case "session_tokens":
                with self._lock:
                    answer = list(self._session_tokens)
            case _:
                answer = self._control_sessions(command, asked)
        return answer

    def _control_sessions(self, command: str, asked: Any) -> Any:
        sessions = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].assumed_roles
        answer: Any = None
        match command:
            case "revoke":
                self._revoked += [session for session in sessions if session.role_arn == asked]
                sessions[:] = [session for session in sessions if session.role_arn != asked]
            case "checks":
                keys = {each.access_key_id for each in sessions if each.role_arn in asked}
                answer = sum(key in keys for key in self._identities)
            case "outlived":
                now = datetime.now(UTC).replace(tzinfo=None)
                answer = sum(
                    session.role_arn == asked
                    and session.expiration < now
                    and session.access_key_id in self._signers
                    for session in sessions
                )
            case "secrets":
                answer = [
                    secret
                    for session in [*sessions, *self._revoked]
                    for secret in (session.secret_access_key, session.session_token)
                ]
            case _:
                raise ValueError(command)
        return answer

    def _change(self, command: str, asked: Any) -> None:
        if command == "bucket":
            self.aws.add_bucket(asked["name"], {"object": b""})
        else:
            self.aws.client("iam").update_role(
                RoleName=asked["name"], MaxSessionDuration=asked["seconds"]
            )

    def _layer(self, application: WSGIApplication) -> WSGIApplication:
        def layered(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path.startswith("/_test/"):
                length = int(environ.get("CONTENT_LENGTH") or 0)
                asked = json.loads(environ["wsgi.input"].read(length) or b"null")
                body = json.dumps(self.control(path.removeprefix("/_test/"), asked)).encode()
                start_response("200 OK", [("Content-Length", str(len(body)))])
                return [body]
            signature = signature_of(environ)
            self._signers.add(signature.get("signed by", ""))
            parameters = form(environ)
            if parameters.get("Action") == ["GetCallerIdentity"]:
                self._identities.append(signature.get("signed by", ""))
            if parameters.get("Action") == ["GetSessionToken"]:
                return self._session_token(parameters, start_response)
            role_arn = parameters.get("RoleArn", [""])[0]
            if role_arn:
                with self._lock:
                    self._calls.append(role_arn)
                    sent = {key: parameters[key][0] for key in parameters}
                    self._requests.append(sent | signature)
                token = parameters.get("WebIdentityToken", [""])[0]
                if token and token not in self._identity_tokens:
                    return error_response(
                        start_response,
                        "400 Bad",
                        "ExpiredTokenException",
                        "Token expired: current date/time must be before the expiration date/time",
                    )
                if "TokenCode" in sent and not self._take_code(sent):
                    return _wrong_code(start_response)
                refusal = self._disturb(role_arn, start_response)
                if refusal is not None:
                    return refusal
            return application(environ, start_response)

        return layered

    def _take_code(self, asked: Mapping[str, str]) -> bool:
        """Use up a code of a device, for GetSessionToken or AssumeRole; whether it was valid."""
        device = self._mfa.get(asked.get("SerialNumber", ""), {"codes": []})
        with self._lock:
            is_right = asked.get("TokenCode") in device["codes"]
            if is_right:
                device["codes"].remove(asked["TokenCode"])
        return is_right

    def _session_token(
        self, parameters: Mapping[str, list[str]], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer GetSessionToken, which moto has by name alone: each code of a device once.

        The session is one of a role, so that moto knows its keys.
        """
        asked = {key: parameters[key][0] for key in parameters}
        with self._lock:
            self._session_tokens.append(asked)
        if not self._take_code(asked):
            return _wrong_code(start_response)
        device = self._mfa[asked["SerialNumber"]]
        session = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].assume_role(
            region_name="us-east-1",
            role_session_name="mfa",
            role_arn=device["role_arn"],
            policy="",
            duration=device.get("seconds") or int(asked["DurationSeconds"]),
            external_id="",
        )
        body = (
            '<GetSessionTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<GetSessionTokenResult><Credentials><AccessKeyId>{session.access_key_id}"
            f"</AccessKeyId><SecretAccessKey>{session.secret_access_key}</SecretAccessKey>"
            f"<SessionToken>{session.session_token}</SessionToken>"
            f"<Expiration>{session.expiration:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
            "</GetSessionTokenResult></GetSessionTokenResponse>"
        ).encode()
        headers = [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    def _disturb(self, role_arn: str, start_response: StartResponse) -> Iterable[bytes] | None:
        match self._faults.get(role_arn):
            case "hang":
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._faults.get(role_arn) != "hang", _HANG_SECONDS
                    )
            case "throttle":
                return error_response(start_response, "400 Bad", "Throttling", "Rate exceeded")
            case "break":
                return error_response(start_response, "500 Broken", "InternalFailure", "It broke")
            case "garbage":
                body = b"<html>Please log in to the hotel's network</html>"
                start_response("200 OK", [("Content-Length", str(len(body)))])
                return [body]
        return None


def _wrong_code(start_response: StartResponse) -> Iterable[bytes]:
    return error_response(
        start_response,
        "403 Forbidden",
        "AccessDenied",
        "MultiFactorAuthentication failed with invalid MFA one time pass code. ",
    )


def signature_of(environ: WSGIEnvironment) -> dict[str, str]:
    """Return whose signature a call has, and for which region; nothing where it is not signed."""
    signed = re.search(r"Credential=(\w+)/\d+/([\w-]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return {} if signed is None else {"signed by": signed[1], "signed for": signed[2]}


def serve(server: ApiServer) -> None:
    """Print its URL, and serve until the input of this process is closed."""
    with server.aws:
        sys.stdout.write(f"{server.aws.endpoint_url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    serve(ApiServer(float(sys.argv[1])))
