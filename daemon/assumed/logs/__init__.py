"""Log events: names, fields, formatters, redaction, handlers."""

from assumed.logs.events import event, event_fields
from assumed.logs.formatters import LogFormat, event_text, timestamp
from assumed.logs.handlers import configure, log_error, retry_failed_log
from assumed.logs.redaction import redact

__all__ = [
    "LogFormat",
    "configure",
    "event",
    "event_fields",
    "event_text",
    "log_error",
    "redact",
    "retry_failed_log",
    "timestamp",
]
