"""Log events: names, fields, formatters, redaction, handlers."""
