from __future__ import annotations

from assumed.storage.null_store import NullStore
from tests.fakes import NOON, issued, role


def test_null_store_accepts_every_write() -> None:
    store = NullStore()
    assert store.write("deploy", issued(role("deploy"), NOON), overwrite=True).result() is None
    store.remove(["deploy"])
