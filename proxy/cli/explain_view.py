"""How an explanation looks to people: one line for each thing that was found out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.adapters.telemetry.text import escape

PIPE_WIDTH: Final = 10_000
"""A pipe has no width to fold at."""
_STYLES: Final = {
    "authenticated": "green",
    "passed": "green",
    "rejected": "red",
    "refused": "red",
    "unavailable": "red",
}

Line = tuple[str, str, str]
"""Label, text and style."""


def say_explanation(source: str, found: dict[str, Any], problem: str | None) -> None:
    """Print what `services.explanation` has found, and last what it comes to."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    last = ""
    for label, text, style in lines(source, found, problem):
        table.add_row("" if label == last else label, Text(escape(text), style=style))
        last = label
    console = make_console()
    console.print(table)


def make_console() -> Console:
    """Return standard output: colours on a terminal only, and not with NO_COLOR."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def lines(source: str, found: dict[str, Any], problem: str | None) -> Iterator[Line]:
    """Yield the lines of an explanation."""
    request = found["request"]
    yield "request", f"{request['method']} {_url(request)} from {request['from']}", ""
    yield "configuration", source, ""
    yield from _route_lines(found)
    for scheme in found["schemes"]:
        yield f"scheme {scheme['name']}", _scheme_text(scheme), _STYLES.get(scheme["outcome"], "")
    for key, label in (("cross_site", "cross-site"), ("require", "require")):
        checked = found[key]
        if checked["outcome"] != "not_asked":
            yield label, _checked_text(checked), _STYLES[checked["outcome"]]
    if problem is not None:
        yield "store", problem, "red"
    yield from _passage_lines(found)
    yield from _end_lines(found)


def _url(request: dict[str, Any]) -> str:
    base, target = f"{request['scheme']}://{request['host'] or ''}", request["target"]
    return base + target if target.startswith("/") else f"{target} of {base}"


def _route_lines(found: dict[str, Any]) -> Iterator[Line]:
    route, matching = found["route"], found["matching"]
    if route is not None:
        auth = "public (auth: none)" if route["auth"] == "none" else f"auth: {_list(route['auth'])}"
        kind = "; a CORS preflight, before authentication" if route["preflight"] else ""
        yield "route", f"{route['name']}: {describe_match(route)}; {auth}{kind}", ""
        if route["mode"] != "enforce":
            yield (
                "mode",
                f"report until the end of {route['mode']['report']['until']} (UTC)",
                "yellow",
            )
    if matching is None:
        yield "route", "none: the request is refused before routes are looked at", ""
        return
    hosts = {
        "exact": f"the routes of host {matching['host']}",
        "wildcard": f"the routes of {matching['host']}, the longest wildcard for this host",
        "any": "the routes without a host, because no route names this one",
    }[matching["hosts"]]
    if route is not None:
        yield "because", f"of {hosts}, no more specific path matches", ""
    elif matching["best"]:
        names = _list([match["route"] for match in matching["best"]])
        yield "because", f"of {hosts}, the most specific path belongs to {names}", ""
    else:
        yield "because", f"of {hosts}, none matches the path", ""
    for miss in matching["near_misses"]:
        yield "not", f"{miss['route']}: {describe_match(miss)}; {miss['reason']}", "dim"


def describe_match(match: dict[str, Any]) -> str:
    """Return `GET,POST shop.example.com/api/**`."""
    methods = ",".join(match["methods"]) if match["methods"] else "any method"
    return f"{methods} {match['host'] or '*'}{match['path']}"


def _scheme_text(scheme: dict[str, Any]) -> str:
    place = f" by {scheme['place']}" if scheme["place"] else ""
    if scheme["outcome"] == "authenticated":
        return f"authenticated{place}: {_person(scheme['identity'])}"
    outcome = scheme["outcome"].replace("_", " ")
    words = [word for word in (scheme["code"], scheme["detail"]) if word]
    if scheme["code"] == "credential_missing" and not scheme["detail"]:
        words = ["the request carries none for it"]
    return f"{outcome}{place}: {'; '.join(words)}" if words else outcome + place


def _person(identity: dict[str, Any]) -> str:
    parts = [f"{identity['subject']} of {identity['issuer']}"]
    parts += [
        f"{key} {_list(identity[key])}" for key in ("roles", "scopes", "amr") if identity[key]
    ]
    if identity["email"]:
        parts.append(identity["email"])
    return "; ".join(parts)


def _checked_text(checked: dict[str, Any]) -> str:
    if checked["outcome"] == "passed":
        return "passed"
    return f"refused: {checked['code']}; {checked['detail']}"


def _passage_lines(found: dict[str, Any]) -> Iterator[Line]:
    credential, headers = found["credential"], found["headers"]
    if credential is not None and headers is not None:
        travels = "travels on to the upstream" if credential["travels_on"] else "is taken out"
        yield "credential", f"{credential['place']} {travels}", ""
    if headers is None:
        return
    for removed in headers["removed"]:
        yield "removed", f"{removed['name']}: {removed['reason']}", ""
    if headers["kept"]:
        yield "kept", _list(list(dict.fromkeys(headers["kept"]))), ""
    for header in headers["set"]:
        yield "set", f"{header['name']}: {header['value']}", ""
    upstream = found["upstream"]
    yield "upstream", f"{upstream['name']} ({_list(upstream['servers'])})", ""
    yield "target", f"{found['request']['method']} {upstream['target']}", ""


def _end_lines(found: dict[str, Any]) -> Iterator[Line]:
    answer = found["answer"]
    reported = found["reported"]
    if reported is not None:
        why = f" ({reported['detail']})" if reported["detail"] else ""
        answered = f"{reported['status']} {reported['code']}{why}"
        yield "decision", "let through, in report mode", "bold yellow"
        yield "enforced", f"it would be {answered}", "bold red"
        return
    if answer is None:
        yield "decision", "let through", "bold green"
        return
    if answer["status"] is None:
        yield "decision", answer["title"], "bold green"
    elif answer["code"] is None:
        yield "decision", f"the gate answers {answer['status']} itself", "bold green"
    else:
        why = f" ({answer['detail']})" if answer["detail"] else ""
        yield "decision", f"{answer['status']} {answer['code']}{why}", "bold red"
        yield "a client is told", answer["title"], ""
    for name, value in answer["headers"]:
        yield "a client is told", f"{name}: {value}", ""


def _list(names: list[str]) -> str:
    return ", ".join(names)
