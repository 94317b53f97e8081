"""One connection, made again when it breaks; what is sent over it is test_redis_store's."""

from __future__ import annotations

import pytest

from proxy.adapters.store.line import Line, Refused, settled
from proxy.adapters.store.link import ReplyError
from proxy.errors import StoreUnavailable
from tests.unit.adapters.store.conftest import CLOSE


async def test_what_breaks_is_tried_as_often_as_it_may_be(scripted):
    """`attempts` says how many connections may break before there is no answer."""
    server = await scripted(CLOSE, b"+PONG\r\n", CLOSE)
    line = Line(server.address, None, timeout_s=2)
    assert await line.within(lambda link: settled(link, [("PING",)]), attempts=2) == [b"PONG"]
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await line.within(lambda link: settled(link, [("PING",)]), attempts=1)
    await line.close()


async def test_nothing_is_opened_once_it_is_closed(scripted):
    """Who asks late is refused: the connection that was made for it would stay for ever."""
    server = await scripted(b"+PONG\r\n", b"+PONG\r\n")
    line = Line(server.address, None, timeout_s=2)
    await line.within(lambda link: settled(link, [("PING",)]), attempts=1)
    await line.close()
    with pytest.raises(StoreUnavailable, match="was closed"):
        await line.within(lambda link: settled(link, [("PING",)]), attempts=2)
    assert 1 == server.connections


async def test_an_error_among_replies_stands_in_its_place(scripted):
    """`settled` returns it, and whoever asks for a single reply hears the first word of it alone."""
    server = await scripted(b"+OK\r\n-OOM hunter2\r\n", b"-OOM hunter2\r\n")
    line = Line(server.address, None, timeout_s=2)
    first, second = await line.within(lambda link: settled(link, [("A",), ("B",)]), attempts=1)
    assert first == b"OK"
    assert isinstance(second, ReplyError)
    with pytest.raises(Refused) as refused:
        await line.within(lambda link: link.send("A"), attempts=1)
    assert refused.value.kind == "OOM"
    assert "hunter2" not in str(refused.value)
    await line.close()
