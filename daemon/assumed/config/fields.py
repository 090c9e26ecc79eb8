"""Field types of the configuration: each parses the text of the file or reports a problem.

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
from assumed.text import truncate

MIN_SESSION_SECONDS = 900
MAX_SESSION_SECONDS = 43_200
MAX_CHAINED_SECONDS = 3_600
NO_MFA_SESSION = timedelta(0)
"""`mfa_session: none`: the code goes with AssumeRole itself."""
MAX_POLICY_CHARACTERS = 2_048
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
USER = "{user}"
"""What stands for the name of the user in the path of the metrics file."""
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
_PLACEHOLDER = re.compile(r"\{.*?\}")
_PERCENTAGE = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s?%", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/\\-]{2,1224}", re.ASCII)
_TAG = re.compile(r"[^\W_]|[\s_.:/=+\-@]")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# Source: SerialNumber and DurationSeconds in the reference of GetSessionToken.
_MFA_SERIAL = re.compile(r"[\w+=/:,.@-]{9,256}", re.ASCII)
_MIN_MFA_SESSION = timedelta(minutes=15)
_MAX_MFA_SESSION = timedelta(hours=36)
_MIN_REFRESH_BEFORE = timedelta(minutes=1)
_MAX_PERCENTAGE = 50
_MAX_PORT = 65_535
_MAX_DISPLAY_CHARACTERS = 80
_ROLE_ARN_FORM = "arn:aws:iam::ACCOUNT:role/NAME"


def field_error(text: str) -> PydanticCustomError:
    """Return the error for an invalid value; `text` says what is wrong and what to write."""
    return PydanticCustomError("field_error", "{text}", {"text": redact(text)})


def truncate_for_display(text: str) -> str:
    """Return text of the file as a message may repeat it: short, and without secrets."""
    return redact(truncate(text, _MAX_DISPLAY_CHARACTERS))


def parse_duration(text: str) -> timedelta:
    """Parse a duration such as `900`, `900s`, `15m` or `1h30m`.

    Raises:
        PydanticCustomError: the text is not a duration.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise field_error(f"{_quoted(text)} is not a duration: write seconds (900), 15m or 1h30m")
    hours, minutes, seconds = (int(number or 0) for number in found.groups())
    try:
        return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise field_error(f"{_quoted(text)} is out of range") from None


def _quoted(text: str) -> str:
    return f'"{truncate_for_display(text)}"'


def _text(value: object) -> str:
    if value is None:
        raise field_error("no value: add one, or remove the key")
    if not isinstance(value, str):
        raise field_error("expected a single value, not a list or a mapping")
    if not value.strip():
        raise field_error("empty value: add one, or remove the key")
    return value


def _absolute_path(value: object) -> str:
    text = _text(value)
    if not Path(expand_home(text)).is_absolute():
        raise field_error("not an absolute path: begin it with / or ~")
    return text


def _role_arn(value: object) -> str:
    text = _text(value)
    if _ROLE_ARN.fullmatch(text):
        return text
    hint = f"write {_ROLE_ARN_FORM}"
    if not is_arn(text):
        raise field_error(f"not an ARN: {hint}")
    arn = Arn.parse(text)
    if arn.role is not None:
        raise field_error(f"this is the ARN of a role session, not of a role: {hint}")
    if arn.service != "iam":
        raise field_error(f"this is an ARN of service {_quoted(arn.service)}, not of iam: {hint}")
    kind = arn.resource.partition("/")[0]
    if kind != "role":
        raise field_error(
            f"this is the ARN of a {truncate_for_display(kind)}, not of a role: {hint}"
        )
    if not re.fullmatch(_PARTITION, arn.partition):
        raise field_error(f"{_quoted(arn.partition)} is not a partition such as aws: {hint}")
    if arn.region:
        raise field_error(f"the ARN of a role has no region: {hint}")
    if not re.fullmatch(r"\d{12}", arn.account, re.ASCII):
        raise field_error(f"{_quoted(arn.account)} is not an account ID, which has twelve digits")
    raise field_error("invalid role name: use letters, digits and +=,.@-_ after the last /")


def _duration_seconds(value: object) -> int:
    seconds = round(parse_duration(_text(value)).total_seconds())
    if seconds < MIN_SESSION_SECONDS:
        raise field_error(f"{seconds} s is too short: STS accepts 900 s (15m) or more")
    if seconds > MAX_SESSION_SECONDS:
        raise field_error(f"{seconds} s is too long: STS accepts 43200 s (12h) or less")
    return seconds


def _mfa_serial(value: object) -> str:
    text = _text(value)
    if not _MFA_SERIAL.fullmatch(text):
        raise field_error(
            "not an MFA device: write arn:aws:iam::ACCOUNT:mfa/NAME, or the serial number of a "
            "hardware token"
        )
    return text


def _mfa_session(value: object) -> timedelta:
    text = _text(value)
    if text.strip().lower() == "none":
        return NO_MFA_SESSION
    lifetime = parse_duration(text)
    if not _MIN_MFA_SESSION <= lifetime <= _MAX_MFA_SESSION:
        raise field_error("out of range: STS accepts 15m to 36h; or write none")
    return lifetime


def _command(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(_text(word) for word in value) or _no_command()
    try:
        return tuple(shlex.split(_text(value))) or _no_command()
    except ValueError as error:
        if isinstance(error, PydanticCustomError):
            raise
        raise field_error("unbalanced quotation mark: close it, or write a list") from None


def _no_command() -> NoReturn:
    raise field_error("no command: write one, such as `ykman oath accounts code --single AWS`")


def _hook(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        _text(value)
        raise field_error(
            "a hook runs without a shell: write a list, such as [notify-send, hello]; if it needs "
            "a shell, write [sh, -c, 'echo hello | mail jane']"
        )
    if not value:
        raise field_error("no command: write one, such as [notify-send, hello]")
    command, *words = [_text(word) for word in value]
    return str(Path(expand_home(command))), *words


def _port(value: object) -> int:
    text = _text(value)
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= _MAX_PORT:
        raise field_error(
            f"{_quoted(text)} is not a port: write 1 to 65535, such as 9464; the address is always "
            "127.0.0.1"
        )
    return int(text)


def _textfile(value: object) -> str:
    text = _absolute_path(value)
    if not text.endswith(".prom"):
        raise field_error(
            "the node exporter ignores files that do not end in .prom: write DIRECTORY/assumed.prom"
        )
    if (unknown := _PLACEHOLDER.search(text.replace(USER, ""))) is not None:
        raise field_error(f"{_quoted(unknown[0])} is unknown: only {USER} can be replaced")
    return text


def _refresh_before(value: object) -> RefreshBefore:
    text = _text(value)
    percentage = _PERCENTAGE.fullmatch(text)
    if percentage is not None:
        percent = float(percentage[1])
        if not 1 <= percent <= _MAX_PERCENTAGE:
            raise field_error(f"{_quoted(text)} is out of range: write 1% to 50% of the lifetime")
        return LifetimeFraction(percent / 100)
    if text.endswith("%"):
        raise field_error(f"{_quoted(text)} is not a percentage: write 25% or 50%")
    before = parse_duration(text)
    if before < _MIN_REFRESH_BEFORE:
        raise field_error(f"{_quoted(text)} leaves no time for a retry: write 1m or more")
    return before


def _session_name(value: object) -> str:
    text = _text(value)
    if not SESSION_NAME.fullmatch(text):
        raise field_error("invalid: STS accepts 2 to 64 letters, digits and +=,.@-_")
    return text


def _region(value: object) -> str:
    text = _text(value)
    if not REGION.fullmatch(text):
        raise field_error(f"{_quoted(text)} is not a region: write one such as eu-west-1")
    return text


def _external_id(value: object) -> str:
    text = _text(value)
    if not _EXTERNAL_ID.fullmatch(text):
        raise field_error("invalid: STS accepts 2 to 1224 letters, digits and +=,.@:/\\-_")
    return text


def _policy(value: object) -> str:
    if isinstance(value, dict):
        document: Any = value
    else:
        try:
            document = json.loads(_text(value))
        except ValueError as error:
            if isinstance(error, PydanticCustomError):
                raise
            raise field_error("not JSON: write the policy as JSON text or as a mapping") from None
    if not isinstance(document, dict) or "Statement" not in document:
        raise field_error("not a policy: it has no `Statement`")
    # STS counts characters, so use the most compact JSON.
    text = json.dumps(document, separators=(",", ":"))
    if len(text) > MAX_POLICY_CHARACTERS:
        raise field_error(f"too long: it has {len(text)} characters, and STS accepts 2048")
    return text


def _policy_arn(value: object) -> str:
    text = _text(value)
    if not _POLICY_ARN.fullmatch(text):
        raise field_error("not the ARN of a policy: write arn:aws:iam::ACCOUNT:policy/NAME")
    return text


def _tag_key(value: object) -> str:
    text = _tag_text(value, 128)
    if text.lower().startswith("aws:"):
        raise field_error("AWS reserves tag keys that begin with `aws:`; use another key")
    return text


def _tag_value(value: object) -> str:
    return "" if value is None or value == "" else _tag_text(value, 256)


def _tag_text(value: object, max_characters: int) -> str:
    text = _text(value)
    if len(text) > max_characters:
        raise field_error(
            f"too long: it has {len(text)} characters, and STS accepts {max_characters}"
        )
    if not all(_TAG.fullmatch(character) for character in text):
        raise field_error("invalid: STS accepts letters, digits, spaces and _.:/=+-@ in tags")
    return text


def _boolean(value: object) -> bool:
    text = _text(value)
    if text.lower() not in _BOOLEANS:
        raise field_error(f"{_quoted(text)} is neither true nor false")
    return _BOOLEANS[text.lower()]


def _write_mode(value: object) -> WriteMode:
    return _choice(WriteMode, value)


def _credential_source(value: object) -> CredentialSource:
    return _choice(CredentialSource, value)


def _storage_mode(value: object) -> StorageMode:
    return _choice(StorageMode, value)


ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


def _choice(choices: type[ChoiceT], value: object) -> ChoiceT:
    text = _text(value)
    try:
        return choices(text)
    except ValueError:
        raise field_error(f"{_quoted(text)} is not one of {', '.join(choices)}") from None


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
        minimum=MIN_SESSION_SECONDS,
        maximum=MAX_SESSION_SECONDS,
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
    timedelta,
    *_schema(
        _mfa_session,
        type=["integer", "string"],
        pattern=r"^(none|(\d+h)?(\d+m)?(\d+s?)?)$",
        minimum=900,
        maximum=129_600,
    ),
]
Command = Annotated[
    tuple[str, ...],
    *_schema(_command, type=["string", "array"], items={"type": "string"}, minLength=1, minItems=1),
]
Hook = Annotated[
    tuple[str, ...],
    *_schema(_hook, type="array", items={"type": "string"}, minItems=1),
]
Port = Annotated[int | None, *_schema(_port, type="integer", minimum=1, maximum=_MAX_PORT)]
MetricsTextfile = Annotated[str, *_schema(_textfile, type="string", pattern=r"^[/~].*\.prom$")]
SessionName = Annotated[str, *_schema(_session_name, type="string", pattern=r"^[\w+=,.@-]{2,64}$")]
Region = Annotated[str, *_schema(_region, type="string", pattern=rf"^{REGION.pattern}$")]
ExternalId = Annotated[
    str,
    *_schema(_external_id, type=["string", "integer"], pattern=r"^[\w+=,.@:/\\-]{2,1224}$"),
]
Policy = Annotated[
    str, *_schema(_policy, type=["string", "object"], maxLength=MAX_POLICY_CHARACTERS)
]
PolicyArn = Annotated[
    str, *_schema(_policy_arn, type="string", pattern=r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/")
]
TagKey = Annotated[str, *_schema(_tag_key, type="string", maxLength=128)]
TagValue = Annotated[str, *_schema(_tag_value, type=["string", "number", "null"], maxLength=256)]
Boolean = Annotated[bool, *_schema(_boolean, type="boolean")]
CredentialSourceValue = Annotated[
    CredentialSource | None,
    *_schema(_credential_source, enum=[str(source) for source in CredentialSource]),
]
StorageModeValue = Annotated[
    StorageMode, *_schema(_storage_mode, enum=[str(mode) for mode in StorageMode])
]
WriteModeValue = Annotated[WriteMode, *_schema(_write_mode, enum=[str(mode) for mode in WriteMode])]
