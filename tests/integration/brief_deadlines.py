"""The command `assumed` with deadlines of seconds: `python brief_deadlines.py SECONDS run`.

`LOCALHOST` in the environment has the addresses that `localhost` leads to.
"""

import os
import socket
import sys

sys.path.pop(0)

from assumed.__main__ import main
from assumed.credential_sources import mfa_command, process_output

look_up = socket.getaddrinfo


def look_up_localhost(host: str, port: int, *arguments: int, **options: int) -> object:
    if host != "localhost" or "LOCALHOST" not in os.environ:
        return look_up(host, port, *arguments, **options)
    if options.get("flags", 0) & socket.AI_NUMERICHOST:
        raise socket.gaierror
    addresses = os.environ["LOCALHOST"].split()
    return [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
        for address in addresses
    ]


if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    process_output.TIMEOUT_SECONDS = mfa_command.TIMEOUT_SECONDS = seconds
    socket.getaddrinfo = look_up_localhost  # type: ignore[assignment]
    sys.exit(main())
