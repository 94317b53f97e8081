"""The connection: replies find their commands, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace

import pytest

from proxy.adapters.store import StoreAddress, StoreMisconfigured
from proxy.adapters.store.link import (
    Link,
    LinkLost,
    ReplyError,
    client_context,
    fits,
    open_link,
    reason_of,
)

PING = b"*1\r\n$4\r\nPING\r\n"


async def test_commands_of_one_turn_leave_in_one_write(scripted):
    """Two look-ups of one turn of the loop cost one system call, and keep their order."""
    server = await scripted(b"+one\r\n+two\r\n")
    link = await open_link(server.address, None, Link)
    first, second = link.send("PING"), link.send("PING")
    assert [b"one", b"two"] == [await first, await second]
    assert [PING + PING] == server.received
    await link.close()


async def test_replies_may_come_in_any_pieces(scripted):
    """A reply that arrives byte by byte, and two in one segment, are the same replies."""
    server = await scripted(b"", b"+a\r\n$3", b"\r\nb\r\n\r\n")
    link = await open_link(server.address, None, Link)
    replies = [link.send("PING")]
    for _ in range(2):
        await asyncio.sleep(0.01)
        replies.append(link.send("PING"))
    async with asyncio.timeout(5):
        assert [b"a", b"b\r\n"] == [await replies[0], await replies[1]]
    link.abort("done")


async def test_a_caller_that_left_leaves_its_place(scripted):
    """The reply of a cancelled command is dropped, and the next one gets its own."""
    server = await scripted(b"+one\r\n+two\r\n")
    link = await open_link(server.address, None, Link)
    first, second = link.send("PING"), link.send("PING")
    first.cancel()
    assert b"two" == await second
    assert link.is_open
    await link.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"+one\r\n+two\r\n", "nobody asked"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not RESP"),
        (b"<close>", "closed by the server|reset"),
    ],
)
async def test_whatever_is_not_the_protocol_ends_the_connection(scripted, answer, reason):
    """A reply too many, or another protocol, means that no later reply could be trusted."""
    server = await scripted(answer)
    link = await open_link(server.address, None, Link)
    reply = link.send("PING")
    await asyncio.wait([link._closed], timeout=5)
    with pytest.raises(LinkLost):
        await link.send("PING")
    if reply.exception() is not None:
        with pytest.raises(LinkLost, match=reason):
            await reply
    await link.close()


@pytest.mark.parametrize(
    ("command", "good", "bad"),
    [
        (("MGET", "a", "b"), [b"1", None], ([b"1"], [b"1", None, None], [b"1", 2], b"1", None, 7)),
        (("GET", "a"), None, ([], 7)),
        (("PTTL", "a"), -2, (b"1", None, [])),
        (("SCAN", b"0"), [b"0", []], ([], b"0")),
        (("INFO",), b"", (None, 1)),
        (("PING", "x"), b"PONG", ()),
    ],
)
def test_r5_a_reply_fits_its_command(command, good, bad):
    """By type and length; an error fits every command."""
    assert fits(command, good)
    assert fits(command, ReplyError("ERR"))
    assert not any(fits(command, reply) for reply in bad)


async def test_an_error_reply_is_an_error_of_its_command_alone(scripted):
    """The server's refusal of one command does not touch the others."""
    server = await scripted(b"-OOM command not allowed: key-name\r\n+fine\r\n")
    link = await open_link(server.address, None, Link)
    first, second = link.send("SET", "k", "v"), link.send("PING")
    with pytest.raises(ReplyError) as caught:
        await first
    assert "OOM" == caught.value.kind
    assert b"fine" == await second
    await link.close()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(("ERR x", "ERR"), ("wrong 'secret'", "ERR"), ("", "ERR"), ("READONLY You", "READONLY")),
        *(("secret", "ERR"), ("É É", "ERR")),
    ],
)
def test_only_the_kind_of_an_error_is_told(text, kind):
    """What is not a word in capitals may be anything, and is not repeated."""
    assert kind == ReplyError(text).kind


async def test_it_greets_before_anything_else(scripted):
    """Password and database come first, in one write, as the old form where there is no user."""
    server = await scripted(b"+OK\r\n+OK\r\n", b"+PONG\r\n")
    link = await open_link(replace(server.address, password="pw", database=3), None, Link)
    assert b"PONG" == await link.send("PING")
    greeting = b"*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
    assert [greeting, PING] == server.received
    await link.close()


async def test_a_user_has_a_name(scripted):
    """AUTH names the user where there is one."""
    server = await scripted(b"+OK\r\n")
    link = await open_link(replace(server.address, username="me", password="pw"), None, Link)
    assert [b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n"] == server.received
    await link.close()


async def test_a_user_without_a_password_is_not_the_default_user(scripted):
    """A user that is named is asked for, and refused by a store where it has a password."""
    server = await scripted(b"+OK\r\n")
    link = await open_link(replace(server.address, username="me"), None, Link)
    assert [b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$0\r\n\r\n"] == server.received
    await link.close()


async def test_who_is_not_let_in_has_no_connection(scripted):
    """A refused password, then a refused database: neither leaves a usable connection."""
    server = await scripted(b"-WRONGPASS no\r\n-NOAUTH no\r\n")
    with pytest.raises(ReplyError) as caught:
        await open_link(replace(server.address, password="pw", database=3), None, Link)
    assert "WRONGPASS" == caught.value.kind


@pytest.mark.parametrize(
    ("replies", "told"),
    [
        (b"-WRONGPASS no\r\n+OK\r\n", "refused: WRONGPASS (the user or the password in its URL is not right)"),
        (b"-ERR no\r\n+OK\r\n", "refused: ERR (its URL names a password, and the server wants none)"),
        (b"+OK\r\n-ERR no\r\n", "refused: ERR (the server has no database of the number in its URL)"),
        (b"+OK\r\n-LOADING no\r\n", "refused: LOADING"),
    ],
)  # fmt: skip
async def test_an_operator_is_told_what_a_refused_greeting_means(scripted, replies, told):
    """The server's own text may quote keys and passwords: its first word is told, and the usual cause of that."""
    server = await scripted(replies)
    with pytest.raises(ReplyError) as caught:
        await open_link(replace(server.address, password="pw", database=3), None, Link)
    assert told == caught.value.told


async def test_nothing_listens(tmp_path):
    """Why there is no connection is told without the address."""
    with pytest.raises(LinkLost, match="No such file or directory"):
        await open_link(StoreAddress(socket_path=str(tmp_path / "s")), None, Link)


def test_without_tls_there_is_no_context():
    """A plain address has nothing to check."""
    assert client_context(StoreAddress(host="h")) is None


def test_the_servers_certificate_is_checked():
    """TLS means a verified certificate with the right name, and no version older than 1.2."""
    context = client_context(StoreAddress(host="h", is_tls=True))
    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
    assert ssl.TLSVersion.TLSv1_2 <= context.minimum_version


@pytest.mark.parametrize("file", ["ca_file", "cert_file"])
def test_certificate_files_that_cannot_be_used_are_told(tmp_path, file):
    """A file that is missing or holds something else is a mistake of the configuration."""
    (tmp_path / "x.pem").write_text("no certificate")
    for path in ("x.pem", "missing.pem"):
        files = {file: str(tmp_path / path)}
        with pytest.raises(StoreMisconfigured, match="TLS files"):
            client_context(StoreAddress(host="h", is_tls=True, **files))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('10.0.0.1', 6379)"), "Connection"),
        (socket.gaierror(-2, "Name or service not known"), "the host's name is not known"),
        (ssl.SSLError(1, "x"), "TLS: failed"),
        (OSError("Multiple exceptions: secret"), "OSError"),
        (LinkLost("connection closed"), "connection closed"),
    ],
)
def test_reasons_hold_no_address(error, reason):
    """Of a system's error its kind is told, not where it happened."""
    assert reason_of(error).startswith(reason)
    assert "10.0.0.1" not in reason_of(error)
    assert "secret" not in reason_of(error)
