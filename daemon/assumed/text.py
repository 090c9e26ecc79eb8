"""Text for people: durations, lists of words, and text of others made safe for a terminal.

Pure, and free of imports, so that the fast path can afford it.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta


def format_duration(duration: "timedelta") -> str:
    """Return a duration in hours and minutes, in minutes, or in seconds: `2h05m`, `44m`, `37s`.

    It is rounded down; a negative duration is `0s`.
    """
    seconds = max(0, int(duration.total_seconds()))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m" if minutes else f"{seconds}s"


def duration_literal(duration: "timedelta") -> str:
    """Return a duration as the configuration file spells it: `12h`, `1h30m`, `15m`, `90s`."""
    seconds = int(duration.total_seconds())
    if seconds % 60:
        return f"{seconds}s"
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes or not hours else "")


def describe_clock_skew(ahead: "timedelta") -> str:
    """Return how far this machine's clock is ahead of that of STS; behind it if negative."""
    direction = "ahead of" if ahead.total_seconds() > 0 else "behind"
    return f"this machine's clock is {format_duration(abs(ahead))} {direction} that of STS"


def join_words(words: "Sequence[str]") -> str:
    """Return words as a sentence lists them: `a`, `a and b`, `a, b and c`."""
    if len(words) < 2:  # noqa: PLR2004 - `and` needs two
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def truncate(text: str, length: int) -> str:
    """Return text of at most `length` characters, the last an ellipsis if any were cut off."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def printable(text: str) -> str:
    """Return text in one line without control characters: those are escaped, line ends too.

    A message can repeat the output of a `credential_process`, the answer of a server or a name
    in a file. None of it may change the title of a terminal or hide a line.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def printable_lines(text: str) -> str:
    """Return text of several lines, each of them `printable`."""
    return "\n".join(printable(line) for line in text.splitlines())
