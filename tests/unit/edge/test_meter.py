"""The meter of heads and of what stands around a body."""

from __future__ import annotations

import asyncio

import pytest

from proxy.edge.incoming import ConnectionLimits
from proxy.edge.meter import Meter


@pytest.fixture
async def refusals():
    """Return the codes of what was refused, in order."""
    return []


def metered(refusals, **limits) -> Meter:
    settings = ConnectionLimits(header_size=100, **limits)
    return Meter(asyncio.get_running_loop(), settings, lambda error: refusals.append(error.code))


async def test_f1_a_head_has_a_size(refusals):
    """F1: so many bytes are a head, one more is too many; the next head begins anew."""
    meter = metered(refusals)
    meter.count_head(60)
    meter.reset()
    meter.count_head(60)
    meter.count_head(40)
    assert refusals == []
    meter.count_head(1)
    meter.reset()

    assert refusals == ["headers_too_large"]


async def test_f1_a_head_has_a_time(refusals):
    """F1: the timer runs from the first byte on, and no longer than the head."""
    timed_out = asyncio.Event()
    settings = ConnectionLimits(header_timeout=0.01)
    meter = Meter(asyncio.get_running_loop(), settings, lambda _: timed_out.set())
    meter.count_head(0)
    assert not meter.is_timing
    meter.count_head(1)
    assert meter.is_timing
    async with asyncio.timeout(10):
        await timed_out.wait()

    assert not meter.is_timing


async def test_f5_what_is_around_the_content_has_a_size(refusals):
    """F5: trailers and extensions count until content comes again."""
    meter = metered(refusals)
    meter.count_body(90, content=0)
    meter.count_body(90, content=1)
    meter.count_body(100, content=0)
    assert refusals == []
    meter.count_body(1, content=0)

    assert refusals == ["headers_too_large"]
