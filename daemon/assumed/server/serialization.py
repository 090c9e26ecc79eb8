"""The JSON of the API socket and of `--json`: version 1, see docs/api.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from assumed.fastpath.formats import PROCESS_VERSION
from assumed.logs import timestamp
from assumed.models import (
    Credentials,
    DaemonStatus,
    EndpointAddress,
    Failure,
    Login,
    Outcome,
    ProfileState,
    ProfileStatus,
    Status,
)

VERSION = 1


def status_to_json(status: Status) -> dict[str, Any]:
    """Return what `assumed status --json` prints."""
    return {
        "version": VERSION,
        "daemon": _record_to_json(status.daemon) if status.daemon else None,
        "profiles": [_record_to_json(profile) for profile in status.profiles],
    }


def status_from_json(content: Mapping[str, Any]) -> Status:
    """Return the status of a JSON object.

    Raises:
        KeyError, TypeError, ValueError: it is not a status of version 1.
    """
    daemon = content["daemon"]
    return Status(
        daemon=DaemonStatus(**_parse_times(daemon)) if daemon else None,
        profiles=tuple(
            ProfileStatus(
                **{
                    **_parse_times(profile),
                    "state": ProfileState(profile["state"]),
                    "last_error": _failure(profile["last_error"]),
                    # A daemon of an earlier version does not report it.
                    "config_profiles": tuple(profile.get("config_profiles", ())),
                }
            )
            for profile in content["profiles"]
        ),
    )


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome of a refresh of one profile."""
    return _record_to_json(outcome)


def outcome_from_json(content: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a JSON object.

    Raises:
        KeyError, TypeError, ValueError: it is not an outcome.
    """
    return Outcome(**{**_parse_times(content), "failure": _failure(content["failure"])})


def credentials_to_json(credentials: Credentials) -> dict[str, Any]:
    """Return credentials in the format of a `credential_process`.

    Source: "Process credential provider" of the AWS SDKs and Tools reference guide.
    """
    return {
        "Version": PROCESS_VERSION,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "SessionToken": credentials.session_token,
        "Expiration": timestamp(credentials.expiration),
        "AccountId": credentials.account_id,
    }


def endpoint_to_json(address: EndpointAddress) -> dict[str, Any]:
    """Return the address of a profile at the container credentials endpoint."""
    return {"version": VERSION, "url": address.url, "token_file": str(address.token_file)}


def endpoint_from_json(content: Mapping[str, Any]) -> EndpointAddress:
    """Return the address of a JSON object.

    Raises:
        KeyError, TypeError: it is not an address.
    """
    return EndpointAddress(url=content["url"], token_file=Path(content["token_file"]))


def login_to_json(login: Login) -> dict[str, Any]:
    """Return an MFA session that has been started."""
    return {"version": VERSION, **_record_to_json(login)}


def login_from_json(content: Mapping[str, Any]) -> Login:
    """Return the login of a JSON object.

    Raises:
        KeyError, TypeError, ValueError: it is not a login.
    """
    fields = _parse_times(content)
    return Login(
        profile=fields["profile"],
        mfa_serial=fields["mfa_serial"],
        expires_at=fields["expires_at"],
    )


def _failure(content: Mapping[str, Any] | None) -> Failure | None:
    return None if content is None else Failure(**_parse_times(content))


def _record_to_json(
    record: DaemonStatus | ProfileStatus | Outcome | Login | Failure,
) -> dict[str, Any]:
    # Not `dataclasses.asdict`, which copies every value: 30 ms for a thousand profiles.
    return {field: _value_to_json(getattr(record, field)) for field in record.__slots__}


def _value_to_json(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [*value]
    return _record_to_json(value) if isinstance(value, Failure) else value


def _parse_times(content: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the fields that are times by their name."""
    return {
        key: datetime.fromisoformat(value)
        if value is not None and (key == "at" or key.endswith("_at"))
        else value
        for key, value in content.items()
    }
