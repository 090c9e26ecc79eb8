"""The command `assumed` with deadlines of seconds: `python brief_deadlines.py SECONDS run`."""

import sys

sys.path.pop(0)

from assumed.__main__ import main  # noqa: E402 - after the directory of this file is out of the path
from assumed.credential_sources import mfa_command, process_output  # noqa: E402

if __name__ == "__main__":
    seconds = float(sys.argv.pop(1))
    process_output.TIMEOUT_SECONDS = mfa_command.TIMEOUT_SECONDS = seconds
    sys.exit(main())
