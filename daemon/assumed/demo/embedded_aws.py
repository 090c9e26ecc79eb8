"""An STS, IAM and S3 on this machine: moto's server, with what moto leaves out.

moto checks signatures and the policies of users and roles. Added here: a session that has expired
is refused, the trust policy of a role decides who may assume it, a role that is not there can't be
assumed, and a session lasts no longer than its role allows. Lifetimes can be shortened, so that an
hour goes by in seconds.
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
from assumed.demo.trust_policy import WEB_IDENTITY, Caller, Trust, trust
from assumed.models import SourceCredentials

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ACCOUNT_ID = "123456789012"
"""moto's own account."""
REGION = "us-east-1"

_ADMINISTRATOR = "embedded-aws"
_EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_MOST_CHAINED_SECONDS = 3600
_WEB_IDENTITY_ACTION = "AssumeRoleWithWebIdentity"
_MOST_BODY_BYTES = 1 << 20

Layer = Callable[["WSGIApplication"], "WSGIApplication"]
Statement = Mapping[str, Any]


class EmbeddedAws:
    """A server on a free port of the loopback; use it in a `with`. One at a time in a process.

    Args:
        lifetime_scale: sessions last so many times as long as they were asked for.
        layer: stands before everything else, to record or to disturb.
    """

    def __init__(
        self, *, lifetime_scale: float = 1, layer: Layer = lambda application: application
    ) -> None:
        self._patches = _patched(lifetime_scale)
        application = _refuse_expired(DomainDispatcherApplication(create_backend_app))
        self._server = make_server(
            "127.0.0.1", 0, layer(application), threaded=True, request_handler=_Quiet
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
        # Whoever creates the first user is not asked who they are; from then on all are.
        self._administrator = self.add_user(_ADMINISTRATOR, _EVERYTHING)
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
        """Return a botocore client that may do everything."""
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
        """Create an IAM user with these permissions, none where there are no statements."""
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
            statements: what it may do.
            trusts: the ARN of whoever may assume it, or a statement of its trust policy.
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
    """Return the parameters of a request to STS or IAM, and leave its body to be read again."""
    if not environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return {}
    length = min(int(environ.get("CONTENT_LENGTH") or 0), _MOST_BODY_BYTES)
    body = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = _Again(body)
    return parse_qs(body.decode())


def answer_error(
    start_response: StartResponse, status: str, code: str, message: str, *, is_s3: bool = False
) -> Iterable[bytes]:
    """Answer a request as AWS answers one that it refuses."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    if not is_s3:
        error = f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"
    body = error.encode()
    start_response(status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
    return [body]


class _Again:
    """The body of a request, read already."""

    def __init__(self, body: bytes) -> None:
        self._left = body

    def read(self, size: int = -1) -> bytes:
        size = len(self._left) if size < 0 else size
        part, self._left = self._left[:size], self._left[size:]
        return part

    def readline(self, size: int = -1) -> bytes:
        end = self._left.find(b"\n") + 1 or len(self._left)
        return self.read(end if size < 0 else min(size, end))


class _InvalidError(_RESTError):
    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("ValidationError", message)


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        pass


def _policy(*statements: Statement) -> Mapping[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _refuse_expired(application: WSGIApplication) -> WSGIApplication:
    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _, _, scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")
        access_key_id, *rest = scope.split("/")
        session = _session(access_key_id)
        if session is None or session.expiration > datetime.now(UTC).replace(tzinfo=None):
            return application(environ, start_response)
        is_s3 = "s3" in rest
        return answer_error(
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
    """Have moto look at trust policies and lifetimes; all of it is as before afterwards."""
    check, assume = access_control.IAMRequest.check_action_permitted, STSBackend.assume_role
    authenticate = ActionAuthenticatorMixin._authenticate_and_authorize_action

    def authenticate_and_authorize(response: Any, kind: type, resource: str = "*") -> None:
        if response._get_action() != _WEB_IDENTITY_ACTION:
            authenticate(response, kind, resource)
            return
        # Nobody has signed it: the token, which nobody looks at here, says who asks.
        role_arn = response.data["RoleArn"][0]
        action = f"sts:{_WEB_IDENTITY_ACTION}"
        role = _role(role_arn)
        policy = json.loads(role.assume_role_policy_document) if role else {"Statement": []}
        if not trust(policy, WEB_IDENTITY, role_arn=role_arn, action=action, context={}):
            raise AccessDeniedError("", action)
        _check_duration(response.data, WEB_IDENTITY.arn, role_arn)

    def check_action_permitted(request: Any, resource: str) -> None:
        if request._action != "sts:AssumeRole":
            check(request, resource)
            return
        match _trust(request, resource):
            case Trust.REFUSED:
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
        # moto makes botocore sessions of its own, which would look for the user's profile.
        patch.dict(os.environ, _without_aws(os.environ), clear=True),
    ):
        yield
    moto_api_backend.reset()


def _without_aws(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith("AWS_")}


def _trust(request: Any, role_arn: str) -> Trust:
    role = _role(role_arn)
    if role is None:
        return Trust.REFUSED
    external_id = request._data.get("ExternalId", [None])[0]
    return trust(
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


def _check_duration(asked: Mapping[str, list[str]], caller: str | None, role_arn: str) -> None:
    role = _role(role_arn)
    seconds = int(asked.get("DurationSeconds", ["3600"])[0])
    most = int(role.max_session_duration or _MOST_CHAINED_SECONDS) if role else 0
    if seconds > most:
        raise _InvalidError(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    if ":assumed-role/" in (caller or "") and seconds > _MOST_CHAINED_SECONDS:
        raise _InvalidError(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining"
        )
