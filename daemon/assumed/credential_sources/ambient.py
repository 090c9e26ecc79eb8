"""Ambient credentials: the environment, the role of an EC2 instance, the role of a container.

botocore's own providers resolve them, and only if a definition has a `credential_source`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from botocore import exceptions
from botocore.session import Session as BotocoreSession

from assumed.credential_sources.botocore_adapter import BotocoreSource, ResultT, credential_resolver
from assumed.errors import AssumedError, SourceMissingError, SourceUnavailableError
from assumed.models import CredentialSource
from assumed.sts.botocore_errors import describe

# botocore's names of its providers (`METHOD` in credentials.py).
_PROVIDERS = {
    CredentialSource.ENVIRONMENT: "env",
    CredentialSource.EC2: "iam-role",
    CredentialSource.ECS: "container-role",
}
_HINTS: Mapping[CredentialSource, str] = {
    CredentialSource.ENVIRONMENT: "start assumed with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
    "in its environment",
    CredentialSource.EC2: "the instance needs a role (an instance profile), a container on it "
    "needs a hop limit of 2, and AWS_EC2_METADATA_DISABLED must not be set",
    CredentialSource.ECS: "the task or the pod needs a role; then "
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or …_FULL_URI is in the environment of assumed",
}


class AmbientCredentialSource(BotocoreSource):
    """One kind of ambient credentials; safe to use from many threads.

    Args:
        kind: which one.
        botocore_session: a botocore session without a profile.
    """

    def __init__(self, kind: CredentialSource, botocore_session: BotocoreSession) -> None:
        provider = credential_resolver(botocore_session).get_provider(_PROVIDERS[kind])
        super().__init__(f"credential_source {kind}", botocore_session, provider.load)
        self.kind = kind

    def _resolve(self, load: Callable[[], ResultT | None]) -> ResultT:
        try:
            result = load()
        except AssumedError:
            raise
        except exceptions.PartialCredentialsError as error:
            raise self._missing(describe(error)) from None
        except Exception as error:  # noqa: BLE001 - botocore trusts the shape of responses
            raise self._unavailable(describe(error)) from None
        if result is None and self.kind is CredentialSource.EC2:
            raise self._unavailable("the metadata service returned none")
        if result is None:
            raise self._missing("the environment has no credentials")
        return result

    def _missing(self, reason: str) -> AssumedError:
        return SourceMissingError(f"{self._label}: {reason}", hint=_HINTS[self.kind])

    def _unavailable(self, reason: str) -> AssumedError:
        return SourceUnavailableError(
            f"{self._label}: credentials unavailable: {reason}", hint=_HINTS[self.kind]
        )
