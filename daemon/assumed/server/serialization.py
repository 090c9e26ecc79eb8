"""The JSON shapes of the socket and of `--json`: version 1, see docs/api.md."""

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
        "daemon": _shape(status.daemon) if status.daemon else None,
        "profiles": [_shape(profile) for profile in status.profiles],
    }


def status_from_json(shape: Mapping[str, Any]) -> Status:
    """Return the status that `shape` is of.

    Raises:
        KeyError, TypeError, ValueError: it is of no status of version 1.
    """
    daemon = shape["daemon"]
    return Status(
        daemon=DaemonStatus(**_timed(daemon)) if daemon else None,
        profiles=tuple(
            ProfileStatus(
                **{
                    **_timed(profile),
                    "state": ProfileState(profile["state"]),
                    "last_error": _failure(profile["last_error"]),
                }
            )
            for profile in shape["profiles"]
        ),
    )


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Return one outcome of a refresh that was asked for."""
    return _shape(outcome)


def outcome_from_json(shape: Mapping[str, Any]) -> Outcome:
    """Return the outcome that `shape` is of.

    Raises:
        KeyError, TypeError, ValueError: it is of no outcome.
    """
    return Outcome(**{**_timed(shape), "failure": _failure(shape["failure"])})


def credentials_to_json(credentials: Credentials) -> dict[str, Any]:
    """Return credentials as a credential process prints them.

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
    """Return where an AWS SDK finds credentials."""
    return {"version": VERSION, "url": address.url, "token_file": str(address.token_file)}


def endpoint_from_json(shape: Mapping[str, Any]) -> EndpointAddress:
    """Return the address that `shape` is of.

    Raises:
        KeyError, TypeError: it is of none.
    """
    return EndpointAddress(url=shape["url"], token_file=Path(shape["token_file"]))


def login_to_json(login: Login) -> dict[str, Any]:
    """Return an MFA session that was started."""
    return {"version": VERSION, **_shape(login)}


def login_from_json(shape: Mapping[str, Any]) -> Login:
    """Return the login that `shape` is of.

    Raises:
        KeyError, TypeError, ValueError: it is of none.
    """
    fields = _timed(shape)
    return Login(
        profile=fields["profile"],
        mfa_serial=fields["mfa_serial"],
        expires_at=fields["expires_at"],
    )


def _failure(shape: Mapping[str, Any] | None) -> Failure | None:
    return None if shape is None else Failure(**_timed(shape))


def _shape(record: DaemonStatus | ProfileStatus | Outcome | Login | Failure) -> dict[str, Any]:
    # Not `dataclasses.asdict`, which copies each value, and of a thousand profiles for 30 ms.
    return {field: _plain(getattr(record, field)) for field in record.__slots__}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    return _shape(value) if isinstance(value, Failure) else value


def _timed(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Read the fields back whose name says that they are times."""
    return {
        key: datetime.fromisoformat(value)
        if value is not None and (key == "at" or key.endswith("_at"))
        else value
        for key, value in shape.items()
    }
