"""Text of the AWS config and credentials files: parse, edit, ownership, SDK dialects."""
