"""What TLS costs: the CPU of one refresh over https, compared with botocore alone.

`python -m bench.tls [--quick]` prints a table, and writes bench/results: tls.json and tls.svg. STS
is the stub with its own certificate, a chain of three with RSA keys like that of AWS. The CA
bundle is that of certifi plus one CA, so that loading it takes as long as on any machine. A role
that is refreshed twice an hour pays for a new connection each time: there the stub closes each
connection after one answer. The CPU of the start is measured separately and subtracted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import certifi
import trustme
from bench.figures import RESULTS, Figure, publish, ratios
from bench.stub import Settings, StubSts
from bench.world import Home

_EXPIRED = timedelta(hours=-1)
_ROLES = 300
_ALONE = 30
_THREADS = 32
_GOALS = {
    "new": {"botocore": 0.25, "shared": 1.8},
    "kept": {"botocore": None, "shared": None},
}
"""The most that a refresh may cost, as a ratio to each baseline."""


class _Bench:
    def __init__(self, home: Home, stub: StubSts) -> None:
        self._home, self._stub = home, stub

    def waves(self, rounds: int, *, closes: bool) -> list[Figure]:
        """Measure many refreshes at once, each over a new or over a kept connection."""
        self._stub.configure(Settings(closes=closes))
        ours, alone, shared = [], [], []
        for _ in range(rounds):
            alone.append(self._calls("calls"))
            shared.append(self._calls("shared"))
            ours.append(self._refreshes())
        kind = "new" if closes else "kept"
        at = f"a {kind} connection"
        goals = _GOALS[kind]
        return [
            Figure(f"{at}: CPU of one refresh", "ms", ours, None if closes else 1.6),
            Figure(f"{at}: CPU of one call of botocore", "ms", alone),
            Figure(f"{at}: the same with one TLS context", "ms", shared),
            Figure(f"{at}: refresh to botocore", "x", ratios(ours, alone), goals["botocore"]),
            Figure(f"{at}: refresh to botocore with one TLS context", "x", ratios(ours, shared),
                   goals["shared"]),
        ]  # fmt: skip

    def by_itself(self, rounds: int) -> list[Figure]:
        """Measure single refreshes of a daemon, each over a new connection."""
        self._stub.configure(Settings(closes=True))
        ours, alone = [], []
        for _ in range(rounds):
            alone.append(self._calls("calls", threads=1))
            self._home.configure(1)
            self._home.store(1, remaining=_EXPIRED)
            with self._home.daemon() as daemon:
                daemon.ready()
                self._refresh_once()
                before = daemon.cpu_seconds
                for _ in range(_ALONE):
                    self._refresh_once()
                ours.append((daemon.cpu_seconds - before) / _ALONE * 1000)
        at = "a new connection, one refresh by itself"
        return [
            Figure(f"{at}: CPU of the daemon", "ms", ours),
            Figure(f"{at}: to botocore", "x", ratios(ours, alone)),
        ]

    def _calls(self, name: str, *, threads: int = _THREADS) -> float:
        """Return the milliseconds of CPU of one call of a baseline."""
        many, none = (
            self._home.python("-m", "bench.baseline", name, str(count), str(threads)).cpu_seconds
            for count in (_ROLES, 0)
        )
        return (many - none) / _ROLES * 1000

    def _refreshes(self) -> float:
        """Return the milliseconds of CPU of one refresh of many."""
        self._home.configure(_ROLES)
        self._home.store(_ROLES, remaining=_EXPIRED)
        many = self._home.run(self._home.assumed("refresh"))
        if many.status != 0:
            raise RuntimeError("some roles were not refreshed")
        # The start of the same configuration with one role to refresh.
        self._home.store(_ROLES - 1)
        one = self._home.run(self._home.assumed("refresh")).cpu_seconds
        return (many.cpu_seconds - one) / (_ROLES - 1) * 1000

    def _refresh_once(self) -> None:
        if self._home.run(self._home.assumed("refresh", "role-0", "--force")).status != 0:
            raise RuntimeError("the role was not refreshed")


@contextmanager
def _bench() -> Iterator[_Bench]:
    ca = trustme.CA(key_type=trustme.KeyType.RSA)
    issuer = ca.create_child_ca(key_type=trustme.KeyType.RSA)
    leaf = issuer.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    with tempfile.TemporaryDirectory() as directory:
        certificate, bundle = Path(directory, "server.pem"), Path(directory, "ca.pem")
        certificate.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
        bundle.write_bytes(Path(certifi.where()).read_bytes() + ca.cert_pem.bytes())
        with StubSts(certificate) as stub:
            home = Home(Path(directory, "home"), stub.endpoint_url)
            home.environ["AWS_CA_BUNDLE"] = str(bundle)
            home.store()
            yield _Bench(home, stub)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, with new connections only")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    options = parser.parse_args(arguments)
    rounds = 1 if options.quick else 3
    with _bench() as bench:
        figures = bench.waves(rounds, closes=True)
        if not options.quick:
            figures += bench.by_itself(rounds)
            figures += bench.waves(rounds, closes=False)
    publish("tls", figures, directory=options.output, rounds=rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
