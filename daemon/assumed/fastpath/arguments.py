"""The order of a command line: the common options may stand before the command."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_WITH_VALUE = ("--config", "--log-level", "--log-format", "--log-file")
_FLAGS = ("-v", "--verbose", "-q", "--quiet")


def put_command_first(arguments: "Sequence[str]") -> list[str]:
    """Move the common options before a command behind its name: `-v run` becomes `run -v`."""
    end = 0
    while end < len(arguments):
        name, equals, _ = arguments[end].partition("=")
        if name in _WITH_VALUE:
            end += 1 if equals else 2
        elif name in _FLAGS or _is_repeated_flag(name):
            end += 1
        else:
            break
    return [*arguments[end : end + 1], *arguments[:end], *arguments[end + 1 :]]


def _is_repeated_flag(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and not word[1:].strip("vq")
