"""The baselines: botocore alone, and the loop that most scripts are.

`python -m bench.baseline calls N THREADS [RETRIES]` imports boto3, makes one client and calls
AssumeRole N times; `shared N THREADS` does the same with one TLS context for all connections;
`naive N FILE` makes a client for each of N profiles, and writes each to the credentials file with
configparser; `idle` waits with one client. Each prints how many calls succeeded. `beats` wakes as
often as a daemon's heartbeat, stats one file, and ends by a signal.
"""

from __future__ import annotations

import configparser
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

ROLE_ARN = "arn:aws:iam::111122223333:role/role-{}"
_SESSION_NAME = "bench"
BEAT_SECONDS = 15
"""How often an idle daemon wakes up."""


def calls(
    count: int, threads: int, *, retries: str | None = None, session: Session | None = None
) -> int:
    """Assume `count` roles with one client; return how many calls succeeded.

    Args:
        count: how many roles; 0 to make a client only.
        threads: how many calls at once, each on its own connection.
        retries: "standard" for botocore's retries of this name; else there are none.
        session: creates the client; None for the default session of boto3.
    """
    config = Config(
        max_pool_connections=threads,
        retries={"mode": "standard"} if retries == "standard" else {"total_max_attempts": 1},
    )
    client = boto3.Session(botocore_session=session).client("sts", config=config)

    def assume(number: int) -> bool:
        try:
            client.assume_role(
                RoleArn=ROLE_ARN.format(number),
                RoleSessionName=_SESSION_NAME,
                DurationSeconds=3600,
            )
        except ClientError:
            return False
        return True

    if threads == 1:
        return sum(map(assume, range(count)))
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(assume, range(count)))


def naive(count: int, path: str) -> int:
    """Refresh `count` profiles of a credentials file, one after the other."""
    for number in range(count):
        client = boto3.Session(profile_name="keys").client("sts")
        issued = client.assume_role(RoleArn=ROLE_ARN.format(number), RoleSessionName=_SESSION_NAME)[
            "Credentials"
        ]
        file = configparser.RawConfigParser()
        file.read(path)
        section = f"role-{number}"
        if not file.has_section(section):
            file.add_section(section)
        file.set(section, "aws_access_key_id", issued["AccessKeyId"])
        file.set(section, "aws_secret_access_key", issued["SecretAccessKey"])
        file.set(section, "aws_session_token", issued["SessionToken"])
        with open(path, "w") as written:  # noqa: PTH123 - as such scripts do
            file.write(written)
    return count


def beats() -> NoReturn:
    """Wake up as often as an idle daemon, and stat one file."""
    while True:
        time.sleep(BEAT_SECONDS)
        os.stat(os.curdir)  # noqa: PTH116 - the cost of the call is measured


def main(arguments: Sequence[str]) -> int:
    """Run one baseline."""
    match arguments:
        case ["calls", count, threads, *retries]:
            succeeded = calls(int(count), int(threads), retries=retries[0] if retries else None)
        case ["shared", count, threads]:
            # Imported here: the other baselines do not import assumed.
            from assumed.sts.tls_context import SharedTlsSession  # noqa: PLC0415

            succeeded = calls(int(count), int(threads), session=SharedTlsSession())
        case ["naive", count, path]:
            succeeded = naive(int(count), path)
        case ["beats"]:
            beats()
        case _:
            succeeded = calls(0, 1)
            sys.stdout.write("0\n")
            sys.stdout.flush()
            sys.stdin.read()
    sys.stdout.write(f"{succeeded}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
