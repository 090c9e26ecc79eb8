from __future__ import annotations

from assumed.server.flood import FloodFilter

ADDRESS = ("127.0.0.1", 40_000)


def is_unwelcome(host: str, port: int) -> bool:
    return (host, port) == ADDRESS


def test_without_a_flood_no_one_is_asked_about() -> None:
    def fail(*_: object) -> bool:
        raise AssertionError

    flood = FloodFilter(fail, connections=8)
    for _ in range(3):
        for now in range(3):
            assert not flood.drops(ADDRESS, open_connections=3, now=now)
        flood.queue_is_empty()


def test_half_of_the_connections_are_a_flood_until_a_second_after() -> None:
    flood = FloodFilter(is_unwelcome, connections=8)
    assert flood.drops(ADDRESS, open_connections=4, now=10.0)
    assert not flood.drops(("127.0.0.1", 1), open_connections=4, now=10.0)
    flood.queue_is_empty()
    assert flood.drops(ADDRESS, open_connections=0, now=10.9)
    assert not flood.drops(ADDRESS, open_connections=0, now=11.0)


def test_a_queue_that_does_not_end_is_a_flood() -> None:
    flood = FloodFilter(is_unwelcome, connections=8)
    seen = [flood.drops(ADDRESS, open_connections=0, now=10.0) for _ in range(5)]
    assert seen == [False, False, False, True, True]
    # It lasts as long as the queue does.
    assert flood.drops(ADDRESS, open_connections=0, now=99.0)


def test_without_a_look_up_nothing_is_dropped() -> None:
    flood = FloodFilter(None, connections=8)
    assert not any(flood.drops(ADDRESS, open_connections=8, now=10.0) for _ in range(20))
