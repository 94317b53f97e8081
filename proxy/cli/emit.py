"""`latchgate emit`: the part of another proxy's configuration by which it asks the gate."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Annotated, Any, Final

import typer
from jinja2 import Environment, PackageLoader, StrictUndefined

from proxy.cli import report
from proxy.cli.opening import load_or_fail
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.config.addresses import Address, UpstreamServer, parse_address
from proxy.config.models import Config, DialectName
from proxy.services.edge_plan import CannotEmit, EdgePlan, EdgeRoute, edge_plan

DEFAULT_LISTEN: Final = {
    "nginx": "0.0.0.0:80",
    "traefik": "0.0.0.0:80",
    "caddy": "0.0.0.0:80",
    "envoy": "0.0.0.0:8000",
    "haproxy": "0.0.0.0:80",
}
LUA: Final = "latchgate.lua"
_NAME: Final = re.compile(r"\{[^}]*\}")
_MARKS: Final = "-_."
"""What stands between the words of a name that some server takes for the same."""


def emit(
    proxy: Annotated[
        str, typer.Argument(metavar="PROXY", help="nginx, traefik, caddy, envoy or haproxy.")
    ],
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="ADDRESS", help="Where that proxy listens.")
    ] = None,
    lua: Annotated[
        bool, typer.Option("--lua", help=f"Print HAProxy's script, {LUA}, instead.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Print the part of another proxy's configuration by which it asks this gate."""
    if proxy not in DEFAULT_LISTEN:
        report.fail(f"{proxy} is none of {', '.join(DEFAULT_LISTEN)}", report.EXIT_USAGE)
    if lua and proxy != "haproxy":
        report.fail("--lua goes with haproxy", report.EXIT_USAGE)
    loaded = load_or_fail(config)
    try:
        address = parse_address(listen or DEFAULT_LISTEN[proxy], None)
        plan = edge_plan(loaded.config, proxy, loaded.file)  # type: ignore[arg-type] # one of the five, as was seen above
        if not plan.is_trusted:
            report.complain(
                "warning: server.trusted_proxies does not name this proxy: the gate's own pages will "
                "take it for every visitor"
            )
        text = written(loaded.config, proxy, file=loaded.file, listen=address, is_lua=lua)  # type: ignore[arg-type] # one of the five, as was seen above
    except (CannotEmit, ValueError) as problem:
        report.fail(str(problem), report.EXIT_USAGE)
    if as_json:
        report.say_json({"proxy": proxy, "text": text})
    else:
        typer.echo(text, nl=False)


def written(
    config: Config, dialect: DialectName, *, file: str, listen: Address, is_lua: bool = False
) -> str:
    """Return the text for a proxy of `dialect`, or HAProxy's script. Raises `CannotEmit`."""
    plan = edge_plan(config, dialect, file)
    if dialect == "traefik":
        _check_traefik(plan)
    name = "emit-haproxy.lua.jinja" if is_lua else f"emit-{dialect}.jinja"
    return _environment().get_template(name).render(plan=plan, listen=listen, lua=LUA)


def _check_traefik(plan: EdgePlan) -> None:
    servers = [server for upstream in plan.upstreams for server in upstream.servers]
    if plan.gate.is_unix or plan.decision.is_unix or any(s.path is not None for s in servers):
        raise CannotEmit("Traefik reaches nothing on unix sockets")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("proxy.cli"),
        autoescape=False,  # noqa: S701 - no HTML: each template quotes as its language wants
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "variable": _variable,
        "spellings": _spellings,
        "folded": _folded,
        "tcp": _tcp,
        "nginx_server": _nginx_server,
        "caddy_server": _caddy_server,
        "haproxy_server": _haproxy_server,
        "traefik_rule": _traefik_rule,
        "traefik_path_rule": lambda route: _traefik_rule(replace(route, methods=())),
        "pattern": re.escape,
        "seconds": lambda value: f"{value:g}s",
        "milliseconds": lambda value: f"{round(value * 1000)}ms",
    }
    return environment


def _variable(name: str) -> str:
    """Return a header's name as part of a variable's."""
    return name.lower().replace("-", "_")


def _spellings(name: str) -> list[str]:
    """Return the spellings of a name that a server may fold into it, itself first."""
    words = name.split("-")
    gaps = itertools.product(_MARKS, repeat=len(words) - 1)
    return ["".join(itertools.chain(*zip(words, (*marks, ""), strict=True))) for marks in gaps]


def _folded(name: str) -> str:
    """Return a regular expression for every spelling of a name, in lower case."""
    return "[^a-z0-9]".join(re.escape(word) for word in name.lower().split("-"))


def _tcp(address: Address | UpstreamServer) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _nginx_server(address: Address | UpstreamServer) -> str:
    return f"unix:{address.path}" if address.path is not None else _tcp(address)


def _caddy_server(address: Address | UpstreamServer) -> str:
    if address.path is not None:
        return f"unix/{address.path}"
    is_tls = isinstance(address, UpstreamServer) and address.scheme == "https"
    return f"{'https' if is_tls else 'http'}://{_tcp(address)}"


def _haproxy_server(address: Address | UpstreamServer) -> str:
    return f"unix@{address.path}" if address.path is not None else _tcp(address)


def _traefik_rule(route: EdgeRoute) -> str:
    """Return a route's match in Traefik's words. What it lets through too, the gate refuses."""
    parts = []
    if route.host is not None:
        if route.host.startswith("*."):
            parts.append(f"HostRegexp(`^.+{re.escape(route.host[1:])}$`)")
        else:
            parts.append(f"Host(`{route.host}`)")
    parts.append(_traefik_path(list(route.segments)))
    if route.methods:
        parts.append(f"({' || '.join(f'Method(`{method}`)' for method in route.methods)})")
    return " && ".join(parts)


def _traefik_path(segments: list[Any]) -> str:
    has_rest = segments[-1] == "**"
    fixed = segments[:-1] if has_rest else segments
    if not fixed:
        return "PathPrefix(`/`)"
    written = "".join(
        "/[^/]+" if _NAME.fullmatch(segment) else f"/{re.escape(segment)}" for segment in fixed
    )
    return f"PathRegexp(`^{written}{'(/.*)?' if has_rest else '/?'}$`)"
