"""A profile as the credentials file holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from assumed.arn import is_arn
from assumed.aws_files.ownership import is_long_term, is_managed
from assumed.models import Credentials
from assumed.untrusted_text import is_credential


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProfile:
    """A section of the credentials file; None stands for a missing or invalid value.

    `expiration` is aware UTC. `manager` names the tool that manages the section.
    """

    name: str
    access_key_id: str | None
    secret_access_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    account_id: str | None
    expiration: datetime | None
    principal_arn: str | None
    manager: str | None
    is_managed: bool
    is_long_term: bool

    @classmethod
    def from_section(cls, name: str, section: Mapping[str, str]) -> StoredProfile:
        """Return the profile of a section that `aws_files.read` returned."""
        token = section.get("aws_security_token") or section.get("aws_session_token")
        return cls(
            name=name,
            access_key_id=section.get("aws_access_key_id") or None,
            secret_access_key=section.get("aws_secret_access_key") or None,
            session_token=token or None,
            account_id=section.get("aws_account_id") or None,
            expiration=_time(section.get("x_security_token_expires", "")),
            principal_arn=section.get("x_principal_arn") or None,
            manager=section.get("manager") or None,
            is_managed=is_managed(section),
            is_long_term=is_long_term(section),
        )

    def credentials(self) -> Credentials | None:
        """Return the credentials that assumed wrote, or None if incomplete or not managed."""
        if not self.is_managed or self.is_long_term:
            return None
        if not (
            self.access_key_id
            and self.secret_access_key
            and self.session_token
            and self.expiration
            and self.principal_arn
            and is_arn(self.principal_arn)
        ):
            return None
        signing = (self.access_key_id, self.secret_access_key, self.session_token)
        if not all(is_credential(value) for value in signing):
            return None
        return Credentials(
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            session_token=self.session_token,
            expiration=self.expiration,
            principal_arn=self.principal_arn,
        )


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None
