"""STS, IAM and S3 on this machine: a moto server that checks what moto does not.

moto checks signatures and the policies of users and roles. This module rejects expired sessions,
and AssumeRole calls that the trust policy of the role does not allow, whose role does not exist or
whose duration exceeds the maximum of the role. Lifetimes can be scaled down to seconds.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import parse_qs

from botocore.config import Config
from botocore.session import Session
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import AccessDeniedError, _RESTError
from moto.iam import access_control
from moto.iam.exceptions import NotFoundException
from moto.iam.models import Role, iam_backends
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sts.models import AssumedRole, STSBackend, sts_backends
from werkzeug.serving import WSGIRequestHandler, make_server

from assumed.arn import Arn
from assumed.demo.trust_policy import WEB_IDENTITY, Caller, Trust, evaluate_trust
from assumed.models import SourceCredentials

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ACCOUNT_ID = "123456789012"
"""The default account of moto."""
REGION = "us-east-1"

_ADMINISTRATOR = "embedded-aws"
_ALLOW_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_MAX_CHAINED_SECONDS = 3600
_WEB_IDENTITY_ACTION = "AssumeRoleWithWebIdentity"
_MAX_BODY_BYTES = 1 << 20

Layer = Callable[["WSGIApplication"], "WSGIApplication"]
Statement = Mapping[str, Any]


class EmbeddedAws:
    """A server on a free loopback port, as a context manager; one at a time in a process.

    Args:
        lifetime_scale: the lifetime of a session as a multiple of what was requested.
        layer: wraps the application, to record requests or to inject faults.
    """

    def __init__(
        self, *, lifetime_scale: float = 1, layer: Layer = lambda application: application
    ) -> None:
        self._patches = _patched(lifetime_scale)
        application = _reject_expired(DomainDispatcherApplication(create_backend_app))
        self._server = make_server(
            "127.0.0.1", 0, layer(application), threaded=True, request_handler=_SilentRequestHandler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._administrator = SourceCredentials("AKIAEMBEDDED", "not-checked-yet", None)

    @property
    def endpoint_url(self) -> str:
        """For `AWS_ENDPOINT_URL`."""
        return f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> EmbeddedAws:
        self._patches.__enter__()
        self._thread.start()
        # Creating the first user needs no authentication; everything after it does.
        self._administrator = self.add_user(_ADMINISTRATOR, _ALLOW_ALL)
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._patches.__exit__(kind, error, traceback)

    def client(self, service: str) -> Any:
        """Return a botocore client with all permissions."""
        nowhere = (None, None, "/dev/null", None)
        session = Session(
            session_vars={
                "profile": (None, None, None, None),
                "config_file": nowhere,
                "credentials_file": nowhere,
            }
        )
        return session.create_client(
            service,
            REGION,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self._administrator.access_key_id,
            aws_secret_access_key=self._administrator.secret_access_key,
            config=Config(proxies={}),
        )

    def add_user(self, name: str, *statements: Statement) -> SourceCredentials:
        """Create an IAM user with the permissions in `statements`; return its access key."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if statements:
            policy = json.dumps(_policy(*statements))
            iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return SourceCredentials(key["AccessKeyId"], key["SecretAccessKey"], None)

    def add_role(self, name: str, *statements: Statement, trusts: str | Statement) -> str:
        """Create a role with these permissions and return its ARN.

        Args:
            name: of the role.
            statements: its permissions.
            trusts: the ARN that may assume it, or a statement of its trust policy.
        """
        iam = self.client("iam")
        trusted = (
            {"Effect": "Allow", "Principal": {"AWS": trusts}, "Action": "sts:AssumeRole"}
            if isinstance(trusts, str)
            else trusts
        )
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_policy(trusted)))
        if statements:
            policy = json.dumps(_policy(*statements))
            iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
        arn: str = role["Role"]["Arn"]
        return arn

    def add_bucket(self, name: str, objects: Mapping[str, bytes]) -> None:
        """Create a bucket with these objects."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=name)
        for key, body in objects.items():
            s3.put_object(Bucket=name, Key=key, Body=body)


def user_arn(name: str) -> str:
    """Return the ARN of a user of this account."""
    return f"arn:aws:iam::{ACCOUNT_ID}:user/{name}"


def form(environ: WSGIEnvironment) -> Mapping[str, list[str]]:
    """Return the parameters of a request to STS or IAM; its body can still be read afterwards."""
    if not environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return {}
    length = min(int(environ.get("CONTENT_LENGTH") or 0), _MAX_BODY_BYTES)
    body = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = _ReplayedBody(body)
    return parse_qs(body.decode())


def error_response(
    start_response: StartResponse, status: str, code: str, message: str, *, is_s3: bool = False
) -> Iterable[bytes]:
    """Return an error response in the format of AWS."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    if not is_s3:
        error = f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"
    body = error.encode()
    start_response(status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]


class _ReplayedBody:
    """The body of a request, which was read before and can be read again."""

    def __init__(self, body: bytes) -> None:
        self._unread = body

    def read(self, size: int = -1) -> bytes:
        size = len(self._unread) if size < 0 else size
        part, self._unread = self._unread[:size], self._unread[size:]
        return part

    def readline(self, size: int = -1) -> bytes:
        end = self._unread.find(b"\n") + 1 or len(self._unread)
        return self.read(end if size < 0 else min(size, end))


class _ValidationError(_RESTError):
    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("ValidationError", message)


class _SilentRequestHandler(WSGIRequestHandler):
    """A request handler without a log."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        pass


def _policy(*statements: Statement) -> Mapping[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _reject_expired(application: WSGIApplication) -> WSGIApplication:
    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _, _, scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")
        access_key_id, *rest = scope.split("/")
        session = _session(access_key_id)
        if session is None or session.expiration > datetime.now(UTC).replace(tzinfo=None):
            return application(environ, start_response)
        is_s3 = "s3" in rest
        return error_response(
            start_response,
            "400 Bad Request" if is_s3 else "403 Forbidden",
            "ExpiredToken",
            "The provided token has expired."
            if is_s3
            else "The security token included in the request is expired",
            is_s3=is_s3,
        )

    return guarded


def _session(access_key_id: str) -> AssumedRole | None:
    if not access_key_id:
        return None
    for account in list(sts_backends.values()):
        for backend in list(account.values()):
            found = backend.get_assumed_role_from_access_key(access_key_id)
            if found is not None:
                return found
    return None


@contextmanager
def _patched(lifetime_scale: float) -> Iterator[None]:
    """Make moto check trust policies and lifetimes; undo that afterwards."""
    check, assume = access_control.IAMRequest.check_action_permitted, STSBackend.assume_role
    authenticate = ActionAuthenticatorMixin._authenticate_and_authorize_action

    def authenticate_and_authorize(response: Any, kind: type, resource: str = "*") -> None:
        if response._get_action() == _WEB_IDENTITY_ACTION:
            _authorize_web_identity(response.data)
        else:
            authenticate(response, kind, resource)

    def check_action_permitted(request: Any, resource: str) -> None:
        if request._action != "sts:AssumeRole":
            check(request, resource)
            return
        match _trust(request, resource):
            case Trust.DENIED:
                raise AccessDeniedError(
                    request._access_key.arn, f"sts:AssumeRole on resource: {resource}"
                )
            case Trust.DELEGATED:
                check(request, resource)
        _check_duration(request._data, request._access_key.arn, resource)

    def assume_role(backend: STSBackend, *, duration: int, **rest: Any) -> AssumedRole:
        session = assume(backend, duration=duration, **rest)
        lifetime = timedelta(seconds=duration * lifetime_scale)
        session.expiration = datetime.now(UTC).replace(tzinfo=None) + lifetime
        return session

    with (
        patch.object(access_control.IAMRequest, "check_action_permitted", check_action_permitted),
        patch.object(STSBackend, "assume_role", assume_role),
        patch.object(
            ActionAuthenticatorMixin,
            "_authenticate_and_authorize_action",
            authenticate_and_authorize,
        ),
        patch.object(settings, "INITIAL_NO_AUTH_ACTION_COUNT", math.inf),
        patch.object(ActionAuthenticatorMixin, "request_count", 0),
        # moto creates botocore sessions, which would read the profile of the user.
        patch.dict(os.environ, _without_aws(os.environ), clear=True),
    ):
        yield
    moto_api_backend.reset()


def _authorize_web_identity(parameters: Mapping[str, list[str]]) -> None:
    """Check the trust policy; the token, which would identify the caller, is not verified."""
    role_arn = parameters["RoleArn"][0]
    action = f"sts:{_WEB_IDENTITY_ACTION}"
    role = _role(role_arn)
    policy = json.loads(role.assume_role_policy_document) if role else {"Statement": []}
    if not evaluate_trust(policy, WEB_IDENTITY, role_arn=role_arn, action=action, context={}):
        raise AccessDeniedError("", action)
    _check_duration(parameters, WEB_IDENTITY.arn, role_arn)


def _without_aws(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith("AWS_")}


def _trust(request: Any, role_arn: str) -> Trust:
    role = _role(role_arn)
    if role is None:
        return Trust.DENIED
    external_id = request._data.get("ExternalId", [None])[0]
    return evaluate_trust(
        json.loads(role.assume_role_policy_document),
        _caller(request._access_key.arn),
        role_arn=role_arn,
        context={"sts:ExternalId": external_id} if external_id else {},
    )


def _caller(arn: str) -> Caller:
    role = Arn.parse(arn).role
    return Caller(arn, role_arn=str(role) if role else None)


def _role(arn: str) -> Role | None:
    parsed = Arn.parse(arn)
    try:
        return iam_backends[parsed.account][parsed.partition].get_role_by_arn(arn)
    except NotFoundException:
        return None


def _check_duration(parameters: Mapping[str, list[str]], caller: str | None, role_arn: str) -> None:
    role = _role(role_arn)
    seconds = int(parameters.get("DurationSeconds", ["3600"])[0])
    maximum = int(role.max_session_duration or _MAX_CHAINED_SECONDS) if role else 0
    if seconds > maximum:
        raise _ValidationError(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    if ":assumed-role/" in (caller or "") and seconds > _MAX_CHAINED_SECONDS:
        raise _ValidationError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining"
        )
