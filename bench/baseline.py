"""What assumed is measured against: botocore alone, and the loop that most scripts are.

`python -m bench.baseline calls N THREADS [RETRIES]` imports boto3, makes one client and calls
AssumeRole N times; `shared N THREADS` does the same with one TLS context for all connections;
`naive N FILE` makes a client for each of N profiles, and writes each to the credentials file with
configparser; `idle` waits with one client. Each prints how many calls worked. `beats` wakes as
often as a daemon's heartbeat, looks at one file each time, and ends by a signal.
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
"""So often a daemon wakes that has nothing to do."""


def calls(
    count: int, threads: int, *, retries: str | None = None, session: Session | None = None
) -> int:
    """Assume `count` roles with one client; return how many were given.

    Args:
        count: of roles; with 0 there is a client, and nothing else.
        threads: at most so many calls at once, a connection each.
        retries: "standard" for botocore's own of this name; else there is no retry.
        session: creates the client; None for a session of boto3's own.
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
        given = client.assume_role(RoleArn=ROLE_ARN.format(number), RoleSessionName=_SESSION_NAME)[
            "Credentials"
        ]
        file = configparser.RawConfigParser()
        file.read(path)
        section = f"role-{number}"
        if not file.has_section(section):
            file.add_section(section)
        file.set(section, "aws_access_key_id", given["AccessKeyId"])
        file.set(section, "aws_secret_access_key", given["SecretAccessKey"])
        file.set(section, "aws_session_token", given["SessionToken"])
        with open(path, "w") as written:  # noqa: PTH123 - as such scripts do it
            file.write(written)
    return count


def beats() -> NoReturn:
    """Wake as often as a daemon that rests does, and look at one file."""
    while True:
        time.sleep(BEAT_SECONDS)
        os.stat(os.curdir)  # noqa: PTH116 - what it costs is meant


def main(arguments: Sequence[str]) -> int:
    """Run one of them."""
    match arguments:
        case ["calls", count, threads, *retries]:
            worked = calls(int(count), int(threads), retries=retries[0] if retries else None)
        case ["shared", count, threads]:
            # Imported here: the other baselines import nothing of assumed.
            from assumed.sts.tls_context import SharedTlsSession  # noqa: PLC0415

            worked = calls(int(count), int(threads), session=SharedTlsSession())
        case ["naive", count, path]:
            worked = naive(int(count), path)
        case ["beats"]:
            beats()
        case _:
            worked = calls(0, 1)
            sys.stdout.write("0\n")
            sys.stdout.flush()
            sys.stdin.read()
    sys.stdout.write(f"{worked}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
