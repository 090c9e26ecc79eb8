"""The values of the configuration: each takes the text of the file, or says how to mend it.

The limits are those of the AssumeRole reference of STS unless another source is named.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from assumed.arn import Arn, is_arn
from assumed.logs import redact
from assumed.models import CredentialSource, LifetimeFraction, RefreshBefore, StorageMode, WriteMode
from assumed.paths import expand_home

LEAST_SESSION_SECONDS = 900
MOST_SESSION_SECONDS = 43_200
MOST_CHAINED_SECONDS = 3_600
MOST_POLICY_CHARACTERS = 2_048
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
REGION = re.compile(r"[a-z]{2,5}(?:-[a-z]+){1,3}-\d{1,2}")

_PARTITION = r"aws(?:-[a-z]+){0,3}"
_ROLE_ARN = re.compile(
    rf"arn:{_PARTITION}:iam::\d{{12}}:role/(?:[\x21-\x7e]{{1,510}}/)?[\w+=,.@-]{{1,64}}", re.ASCII
)
_POLICY_ARN = re.compile(
    rf"arn:{_PARTITION}:iam::(?:\d{{12}}|aws):policy/(?:[\x21-\x7e]{{1,510}}/)?[\w+=,.@-]{{1,128}}",
    re.ASCII,
)
_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", re.ASCII)
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s?%", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/\\-]{2,1224}", re.ASCII)
_TAG = re.compile(r"[^\W_]|[\s_.:/=+\-@]")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# Source: SerialNumber and DurationSeconds in the reference of GetSessionToken.
_MFA_SERIAL = re.compile(r"[\w+=/:,.@-]{9,256}", re.ASCII)
_SHORTEST_MFA_SESSION = timedelta(minutes=15)
_LONGEST_MFA_SESSION = timedelta(hours=36)
_SHORTEST_REFRESH_BEFORE = timedelta(minutes=1)
_MOST_SHARE = 50
_MOST_PORT = 65_535

T = TypeVar("T")


def mistake(text: str) -> PydanticCustomError:
    """Return the error for a value that has to be mended; `text` says how."""
    return PydanticCustomError("mistake", "{text}", {"text": redact(text)})


def shown(text: str) -> str:
    """Return what was written as it may be repeated: short, and no secret."""
    return redact(text if len(text) <= 80 else f"{text[:77]}…")  # noqa: PLR2004 - a line's worth


def parse_duration(text: str) -> timedelta:
    """Return the duration that is written `900`, `900s`, `15m` or `1h30m`.

    Raises:
        PydanticCustomError: it is written otherwise.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise mistake(f"{shown(text)} is no duration: write seconds (900), 15m or 1h30m")
    hours, minutes, seconds = (int(number or 0) for number in found.groups())
    try:
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise mistake(f"{shown(text)} is longer than anything lasts") from None


def _text(value: object) -> str:
    if value is None:
        raise mistake("nothing is written behind it: give it a value, or remove the key")
    if not isinstance(value, str):
        raise mistake("this is a list or a mapping: write one value behind the colon")
    if not value.strip():
        raise mistake("it is empty: give it a value, or remove the key")
    return value


def _absolute_path(value: object) -> str:
    text = _text(value)
    if not Path(expand_home(text)).is_absolute():
        raise mistake("write it whole, from / or ~ on")
    return text


def _role_arn(value: object) -> str:
    text = _text(value)
    if _ROLE_ARN.fullmatch(text):
        return text
    mend = "write arn:aws:iam::ACCOUNT:role/NAME"
    if not is_arn(text):
        raise mistake(f"this is no ARN: {mend}")
    arn = Arn.parse(text)
    if arn.role is not None:
        raise mistake(f"this is the ARN of a session of a role, not of the role: {mend}")
    if arn.service != "iam":
        raise mistake(f"this is an ARN of {shown(arn.service) or 'no service'}, not of iam: {mend}")
    kind = arn.resource.partition("/")[0]
    if kind != "role":
        raise mistake(f"this is the ARN of a {shown(kind)}, not of a role: {mend}")
    if not re.fullmatch(_PARTITION, arn.partition):
        raise mistake(f"{shown(arn.partition) or 'nothing'} is no partition, as aws is: {mend}")
    if arn.region:
        raise mistake("a role has no region: leave nothing between the two colons behind iam")
    if not re.fullmatch(r"\d{12}", arn.account, re.ASCII):
        raise mistake(f"an account is twelve digits, and {shown(arn.account) or 'nothing'} is not")
    raise mistake("IAM has no role of such a name: letters, digits and +=,.@-_ behind the last /")


def _duration_seconds(value: object) -> int:
    seconds = round(parse_duration(_text(value)).total_seconds())
    if seconds < LEAST_SESSION_SECONDS:
        raise mistake(f"{seconds} s is below 900, the least that STS accepts: write 900 or more")
    if seconds > MOST_SESSION_SECONDS:
        raise mistake(f"{seconds} s is above 43200, the most that STS accepts: write 12h or less")
    return seconds


def _mfa_serial(value: object) -> str:
    text = _text(value)
    if not _MFA_SERIAL.fullmatch(text):
        raise mistake(
            "this is no MFA device: write arn:aws:iam::ACCOUNT:mfa/NAME, or the serial number of a "
            "hardware token"
        )
    return text


def _mfa_session(value: object) -> timedelta:
    lifetime = parse_duration(_text(value))
    if not _SHORTEST_MFA_SESSION <= lifetime <= _LONGEST_MFA_SESSION:
        raise mistake("STS gives such sessions for 15m to 36h")
    return lifetime


def _command(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_text(word) for word in value) or _no_command()
    try:
        return tuple(shlex.split(_text(value))) or _no_command()
    except ValueError as error:
        if isinstance(error, PydanticCustomError):
            raise
        raise mistake("a quotation mark in it has no end: close it, or write a list") from None


def _no_command() -> NoReturn:
    raise mistake("it is empty: write a command, such as `ykman oath accounts code --single AWS`")


def _hook(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        _text(value)
        raise mistake(
            "a hook is run without a shell: write a list, a word each, such as [notify-send, "
            "hello]; where it takes a shell, [sh, -c, 'echo hello | mail jane']"
        )
    if not value:
        raise mistake("it is empty: write a command, such as [notify-send, hello]")
    command, *words = [_text(word) for word in value]
    return str(Path(expand_home(command))), *words


def _port(value: object) -> int:
    text = _text(value)
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= _MOST_PORT:
        raise mistake(
            f"{shown(text)} is no port: write 9464 or another number up to 65535; it is that of "
            "127.0.0.1, and of no other address"
        )
    return int(text)


def _textfile(value: object) -> str:
    text = _absolute_path(value)
    if not text.endswith(".prom"):
        raise mistake("the node exporter reads files that end in .prom: write FOLDER/assumed.prom")
    return text


def _refresh_before(value: object) -> RefreshBefore:
    text = _text(value)
    share = _SHARE.fullmatch(text)
    if share is not None:
        percent = float(share[1])
        if not 1 <= percent <= _MOST_SHARE:
            raise mistake(f"{shown(text)} is not between 1% and 50% of the lifetime")
        return LifetimeFraction(percent / 100)
    if text.endswith("%"):
        raise mistake(f"{shown(text)} is no share of the lifetime: write 25% or 50%")
    before = parse_duration(text)
    if before < _SHORTEST_REFRESH_BEFORE:
        raise mistake("under a minute before the end there is no time to try again: write 15m")
    return before


def _session_name(value: object) -> str:
    text = _text(value)
    if not SESSION_NAME.fullmatch(text):
        raise mistake("STS takes 2 to 64 letters, digits and +=,.@-_ here")
    return text


def _region(value: object) -> str:
    text = _text(value)
    if not REGION.fullmatch(text):
        raise mistake(f"{shown(text)} is no region: write eu-west-1 or the like")
    return text


def _external_id(value: object) -> str:
    text = _text(value)
    if not _EXTERNAL_ID.fullmatch(text):
        raise mistake("STS takes 2 to 1224 letters, digits and +=,.@:/\\-_ here")
    return text


def _policy(value: object) -> str:
    if isinstance(value, dict):
        document: Any = value
    else:
        try:
            document = json.loads(_text(value))
        except ValueError:
            raise mistake("this is no JSON: write a policy as JSON text or as a mapping") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise mistake("a policy is a mapping with a `Statement`")
    # Packed as tightly as JSON goes: STS counts.
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > MOST_POLICY_CHARACTERS:
        raise mistake(f"it is {len(text)} characters, and STS takes 2048: shorten it")
    return text


def _policy_arn(value: object) -> str:
    text = _text(value)
    if not _POLICY_ARN.fullmatch(text):
        raise mistake("this is no ARN of a policy: write arn:aws:iam::ACCOUNT:policy/NAME")
    return text


def _tag_key(value: object) -> str:
    text = _tag_text(value, 128)
    if text.lower().startswith("aws:"):
        raise mistake("what begins with aws: is AWS's own: choose another key")
    return text


def _tag_value(value: object) -> str:
    return "" if value is None or value == "" else _tag_text(value, 256)


def _tag_text(value: object, most: int) -> str:
    text = _text(value)
    if len(text) > most:
        raise mistake(f"it is {len(text)} characters, and STS takes {most}: shorten it")
    if not all(_TAG.fullmatch(character) for character in text):
        raise mistake("STS takes letters, digits, spaces and _.:/=+-@ in tags")
    return text


def _boolean(value: object) -> bool:
    text = _text(value)
    if text.lower() not in _BOOLEANS:
        raise mistake(f"{shown(text)} is neither true nor false")
    return _BOOLEANS[text.lower()]


def _write_mode(value: object) -> WriteMode:
    return _choice(WriteMode, value)


def _credential_source(value: object) -> CredentialSource:
    return _choice(CredentialSource, value)


def _stored_in(value: object) -> StorageMode:
    return _choice(StorageMode, value)


ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


def _choice(choices: type[ChoiceT], value: object) -> ChoiceT:
    text = _text(value)
    try:
        return choices(text)
    except ValueError:
        raise mistake(f"{shown(text)} is none of: {', '.join(choices)}") from None


def _schema(parse: Callable[[object], object], **schema: object) -> tuple[Any, Any]:
    return PlainValidator(parse), WithJsonSchema(dict(schema))


_DURATION_SCHEMA = {"type": ["integer", "string"], "pattern": r"^(\d+h)?(\d+m)?(\d+s?)?$"}

Text = Annotated[str, *_schema(_text, type="string", minLength=1)]
AbsolutePath = Annotated[str, *_schema(_absolute_path, type="string", pattern="^[/~]")]
RoleArn = Annotated[
    str, *_schema(_role_arn, type="string", pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/.+$")
]
DurationSeconds = Annotated[
    int,
    *_schema(
        _duration_seconds,
        **_DURATION_SCHEMA,
        minimum=LEAST_SESSION_SECONDS,
        maximum=MOST_SESSION_SECONDS,
    ),
]
RefreshBeforeValue = Annotated[
    RefreshBefore,
    *_schema(
        _refresh_before,
        type=["integer", "string"],
        minimum=60,
        pattern=r"^((\d+h)?(\d+m)?(\d+s?)?|\d+(\.\d+)?\s?%)$",
    ),
]
MfaSerial = Annotated[str, *_schema(_mfa_serial, type="string", pattern=r"^[\w+=/:,.@-]{9,256}$")]
MfaSessionLength = Annotated[
    timedelta, *_schema(_mfa_session, **_DURATION_SCHEMA, minimum=900, maximum=129_600)
]
Command = Annotated[
    tuple[str, ...],
    *_schema(_command, type=["string", "array"], items={"type": "string"}, minLength=1, minItems=1),
]
Hook = Annotated[
    tuple[str, ...],
    *_schema(_hook, type="array", items={"type": "string"}, minItems=1),
]
Port = Annotated[int | None, *_schema(_port, type="integer", minimum=1, maximum=_MOST_PORT)]
MetricsTextfile = Annotated[str, *_schema(_textfile, type="string", pattern=r"^[/~].*\.prom$")]
SessionName = Annotated[str, *_schema(_session_name, type="string", pattern=r"^[\w+=,.@-]{2,64}$")]
Region = Annotated[str, *_schema(_region, type="string", pattern=rf"^{REGION.pattern}$")]
ExternalId = Annotated[
    str,
    *_schema(_external_id, type=["string", "integer"], pattern=r"^[\w+=,.@:/\\-]{2,1224}$"),
]
Policy = Annotated[
    str, *_schema(_policy, type=["string", "object"], maxLength=MOST_POLICY_CHARACTERS)
]
PolicyArn = Annotated[
    str, *_schema(_policy_arn, type="string", pattern=r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/")
]
TagKey = Annotated[str, *_schema(_tag_key, type="string", maxLength=128)]
TagValue = Annotated[str, *_schema(_tag_value, type=["string", "number", "null"], maxLength=256)]
Boolean = Annotated[bool, *_schema(_boolean, type="boolean")]
Machine = Annotated[
    CredentialSource | None,
    *_schema(_credential_source, enum=[str(source) for source in CredentialSource]),
]
Store = Annotated[StorageMode, *_schema(_stored_in, enum=[str(place) for place in StorageMode])]
Write = Annotated[WriteMode, *_schema(_write_mode, enum=[str(mode) for mode in WriteMode])]
