"""`latchgate explain`: what becomes of one request and why, by the gate's own decision."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from proxy.cli import report
from proxy.cli.explain_view import say_explanation
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.cli.source import FromFile, find_source
from proxy.config.models import Config
from proxy.config.request_line import RequestLine, make_request_line
from proxy.core.headers import is_token
from proxy.model import Header, Peer
from proxy.run.bystander import open_bystander
from proxy.services.explanation import explain as explain_decision
from proxy.services.rehearsal import STRANGER, request_view

UNIX: Final = "unix"
_COMMON: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def explain(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Such as GET.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="A URL, or a path that begins with /.")],
    cookie: Annotated[
        str | None,
        typer.Option(
            "--cookie",
            metavar="-|@FILE",
            help="name=value; …, read from standard input or a file, never from the command line.",
        ),
    ] = None,
    bearer: Annotated[
        str | None,
        typer.Option("--bearer", metavar="-|@FILE", help="A token, read in the same way."),
    ] = None,
    proof: Annotated[
        str | None,
        typer.Option(
            "--proof",
            metavar="-|@FILE",
            help="A DPoP proof, read in the same way: the token is sent as DPoP. It is not used up.",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="'NAME: VALUE'", help="Repeatable: Origin, Accept, …"),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option("--from", metavar="ADDRESS", help="Who connects; unix: over a unix socket."),
    ] = None,
    from_file: FromFile = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what becomes of a request and why; changes nothing. Status 0 if it is let through.

    Status 1 if it is refused, 3 if the store is out of reach.
    """
    if [cookie, bearer, proof, config].count("-") > 1:
        report.fail("standard input can be one of them only", report.EXIT_USAGE)
    try:
        line = make_request_line(method, url)
        headers = [*_headers(header or []), *_credentials(cookie, bearer, proof)]
        connects = _peer(peer)
    except ValueError as error:
        report.fail(str(error), report.EXIT_USAGE)
    if method.upper() in _COMMON and method not in _COMMON:
        report.complain(f"warning: methods are upper case: {method} is not {method.upper()}")
    source = find_source(config, from_file=from_file)
    found, problem = report.complete(_decide(source.loaded.config, line, headers, connects))
    if as_json:
        report.say_json({"configuration": source.to_json(), **found, "store_problem": problem})
    else:
        say_explanation(str(source), found, problem)
    raise typer.Exit(_status(found, problem))


async def _decide(
    config: Config, line: RequestLine, headers: list[Header], peer: Peer
) -> tuple[dict[str, Any], str | None]:
    view = request_view(config, line, headers, peer)
    async with open_bystander(config) as bystander:
        decision, trace = await bystander.decide(view, time.time())
        found = explain_decision(config, bystander.assembly, view, decision, trace)
        return found, bystander.problem


def _status(found: dict[str, Any], problem: str | None) -> int:
    answer = found["answer"]
    if found["decision"] in ("forward", "answer", "own"):
        return 0
    if answer["code"] == "store_unavailable" or (
        problem is not None and found["decision"] == "unavailable"
    ):
        return report.EXIT_STORE
    return report.EXIT_REFUSED


def _headers(lines: list[str]) -> Iterator[Header]:
    for line in lines:
        name, colon, value = line.partition(":")
        raw = name.strip().encode()
        if not colon or not is_token(raw):
            raise ValueError("--header takes 'Name: value'")
        if raw.lower() in (b"cookie", b"authorization", b"dpop") and value.strip():
            raise ValueError(
                f"{name.strip()} is a credential: give it with --cookie, --bearer or --proof, as - or"
                " @file"
            )
        yield raw, _value(value.strip().encode("utf-8", "surrogateescape"))


def _credentials(cookie: str | None, bearer: str | None, proof: str | None) -> Iterator[Header]:
    if cookie is not None:
        value = _value(report.read_credential(cookie))
        if b"=" not in value:
            raise ValueError("--cookie reads name=value, as `session new` prints it")
        yield b"Cookie", value
    if bearer is not None:
        kind = b"Bearer " if proof is None else b"DPoP "
        yield b"Authorization", kind + _value(report.read_credential(bearer))
    if proof is not None:
        if bearer is None:
            raise ValueError("--proof is of the token that --bearer gives")
        yield b"DPoP", _value(report.read_credential(proof))


def _value(raw: bytes) -> bytes:
    if any(byte < 0x20 and byte != 0x09 for byte in raw) or b"\x7f" in raw:
        raise ValueError("no header can carry a line break or control character")
    return raw


def _peer(text: str | None) -> Peer:
    if text is None:
        return STRANGER
    if text == UNIX:
        return Peer(None, None, is_unix=True, is_tls=False)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("--from takes an IP address, or unix") from None
    return Peer(str(address), STRANGER.port, is_unix=False, is_tls=False)
