"""Events: what the program logs, as a stable name and flat fields.

The name is for searching (`profile_refreshed`), the fields are for reading
(`profile="deploy"`). Callers never pass a secret; `redaction` is the safety net for the messages
of libraries.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress

EVENT_LOGGER = logging.getLogger("assumed")


def event(
    level: int, name: str, /, *, exc_info: BaseException | None = None, **fields: object
) -> None:
    """Log one event; never raise, since a refresh must not depend on its log.

    Args:
        level: a level of `logging`.
        name: what happened; stable, in snake_case.
        exc_info: an exception to log with its traceback: an error in this program.
        fields: flat values; None is left out.
    """
    # Handlers report their own failures; what else they raise has no other place to go.
    with suppress(Exception):
        if EVENT_LOGGER.isEnabledFor(level):
            present = {key: value for key, value in fields.items() if value is not None}
            EVENT_LOGGER.log(level, name, extra={"fields": present}, exc_info=exc_info)


def event_name(record: logging.LogRecord) -> str:
    """Return the name of an event; for the record of a library, its logger and its message."""
    if is_event(record):
        return record.getMessage()
    return f"{record.name}: {record.getMessage()}"


def event_fields(record: logging.LogRecord) -> Mapping[str, object]:
    """Return the fields of an event; empty for the record of a library."""
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


def is_event(record: logging.LogRecord) -> bool:
    """Return whether this program logged the record, not a library."""
    return record.name == EVENT_LOGGER.name


def set_event_level(level: str) -> None:
    """Set the lowest level of the events to log; the level of libraries stays."""
    EVENT_LOGGER.setLevel(level.upper())
