"""What the machine itself gives: a process's environment, an EC2 instance, a container.

botocore's own providers ask for it, and only where a definition says so with `credential_source`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from botocore import exceptions
from botocore.credentials import create_credential_resolver
from botocore.session import Session as BotocoreSession

from assumed.credential_sources.botocore_adapter import BotocoreSource, FoundT
from assumed.errors import AssumedError, SourceMissingError, SourceUnavailableError
from assumed.logs import redact
from assumed.models import CredentialSource

# botocore's names of its providers (`METHOD` in credentials.py).
_PROVIDERS = {
    CredentialSource.ENVIRONMENT: "env",
    CredentialSource.EC2: "iam-role",
    CredentialSource.ECS: "container-role",
}
_HINTS: Mapping[CredentialSource, str] = {
    CredentialSource.ENVIRONMENT: "have AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
    "environment that assumed is started with, and start it again",
    CredentialSource.EC2: "the instance needs a role (an instance profile); a container on it, a "
    "hop limit of 2; and AWS_EC2_METADATA_DISABLED must not be set",
    CredentialSource.ECS: "the task or the pod needs a role: then AWS_CONTAINER_CREDENTIALS_"
    "RELATIVE_URI or …_FULL_URI is in the environment that assumed is started with",
}


class AmbientCredentialSource(BotocoreSource):
    """One of the places where a machine keeps credentials; safe to use from many threads.

    Args:
        kind: which one.
        botocore_session: a botocore session of no profile.
    """

    def __init__(self, kind: CredentialSource, botocore_session: BotocoreSession) -> None:
        provider = create_credential_resolver(botocore_session).get_provider(_PROVIDERS[kind])
        super().__init__(f"credential_source {kind}", botocore_session, provider.load)
        self.kind = kind

    def _found(self, find: Callable[[], FoundT | None]) -> FoundT:
        try:
            found = find()
        except AssumedError:
            raise
        except exceptions.PartialCredentialsError as error:
            raise self._missing(str(error)) from None
        except Exception as error:  # noqa: BLE001 - botocore trusts the shape of what it is given
            # An endpoint may have said anything, its answer among it.
            why = redact(str(error)) if isinstance(error, exceptions.BotoCoreError) else ""
            raise self._unavailable(why or f"{type(error).__name__} in the answer") from None
        if found is None and self.kind is CredentialSource.EC2:
            raise self._unavailable("the metadata service gives none")
        if found is None:
            raise self._missing("the environment has none")
        return found

    def _missing(self, why: str) -> AssumedError:
        return SourceMissingError(f"{self._label}: {why}", hint=_HINTS[self.kind])

    def _unavailable(self, why: str) -> AssumedError:
        return SourceUnavailableError(
            f"{self._label}: no credentials to be had: {why}",
            hint=_HINTS[self.kind],
        )
