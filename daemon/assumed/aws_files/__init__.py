"""Text of the AWS config and credentials files: parse, edit, ownership, SDK dialects.

Reading follows botocore (`configloader.raw_config_parse`: a strict `configparser.RawConfigParser`).
A file that botocore cannot read is rejected with the line and a hint. A profile that the AWS SDKs
would interpret differently is rejected alone; the other profiles are edited.
"""

from assumed.aws_files.editor import (
    Change,
    EditResult,
    RemoveCredentials,
    SetCredentials,
    edit,
)
from assumed.aws_files.ini import read

__all__ = [
    "Change",
    "EditResult",
    "RemoveCredentials",
    "SetCredentials",
    "edit",
    "read",
]
