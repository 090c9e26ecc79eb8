from __future__ import annotations

import asyncio
from itertools import count

import pytest

from assumed.server import metrics_endpoint
from assumed.server.http import HttpRequest
from assumed.server.metrics_endpoint import MetricsHandler

HOST = (b"host", b"127.0.0.1:9000")


def request(
    target: bytes = b"/metrics",
    method: str = "GET",
    headers: tuple[tuple[bytes, bytes], ...] = (HOST,),
) -> HttpRequest:
    return HttpRequest(method, target, headers)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(), 200),
        (request(headers=((b"host", b"localhost:9000"),)), 200),
        (request(headers=((b"host", b"evil.example:9000"),)), 403),
        (request(headers=((b"host", b"127.0.0.1"),)), 200),
        (request(headers=((b"host", b"127.0.0.1:9001"),)), 403),
        (request(headers=(HOST, HOST)), 403),
        (request(headers=()), 403),
        (request(b"/"), 404),
        (request(b"/metrics?x=1"), 404),
        (request(method="HEAD"), 405),
        (request(method="POST"), 405),
    ],
)
def test_handle_answers_one_method_host_and_path(sent: HttpRequest, status: int) -> None:
    response = asyncio.run(MetricsHandler(lambda: b"metrics", port=9000).handle(sent))
    assert response.status == status
    assert (response.body == b"metrics") is (status == 200)


@pytest.mark.parametrize(
    ("max_age", "expected"), [(3600.0, [b"1", b"1", b"1"]), (0.0, [b"1", b"2", b"3"])]
)
def test_handle_renders_a_new_text_only_when_the_last_one_is_too_old(
    max_age: float, expected: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_endpoint, "_MAX_AGE_SECONDS", max_age)
    numbers = count(1)
    handler = MetricsHandler(lambda: str(next(numbers)).encode(), port=9000)

    async def bodies() -> list[object]:
        responses = await asyncio.gather(*(handler.handle(request()) for _ in expected))
        return [response.body for response in responses]

    assert asyncio.run(bodies()) == expected
