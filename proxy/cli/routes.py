"""`latchgate routes`: who may pass where, route by route, what is public first."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.adapters.telemetry.text import escape
from proxy.cli import report
from proxy.cli.explain_view import make_console
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.cli.source import FromFile, find_source
from proxy.config.models import Config, RequireConfig, RouteConfig
from proxy.services.report_mode import mode_of

NOTHING: Final = "-"
_GAP: Final = "  "
_COLUMNS: Final = (
    "ROUTE",
    "METHODS",
    "HOST",
    "PATH",
    "AUTH",
    "REQUIRE",
    "CROSS SITE",
    "UPSTREAM",
    "ELSE",
)


def routes(
    from_file: FromFile = False, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Show the policy of every route, with every default filled in; public ones first."""
    source = find_source(config, from_file=from_file)
    found = policies(source.loaded.config)
    if as_json:
        report.say_json({"configuration": source.to_json(), "routes": found})
        return
    report.complain(str(source))
    say_policies(found, make_console())


def say_policies(found: list[dict[str, Any]], console: Console) -> None:
    """Print a line for each route, or, where the console is too narrow for that, a block."""
    rows = [
        [
            Text(escape(cell), style="bold red" if policy["public"] else "", overflow="fold")
            for cell in _row(policy)
        ]
        for policy in found
    ]
    widths = [max(map(len, column)) for column in zip(map(Text, _COLUMNS), *rows, strict=True)]
    if sum(widths) + len(_GAP) * (len(widths) - 1) > console.width:
        _say_blocks(rows, console)
        return
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _say_blocks(rows: list[list[Text]], console: Console) -> None:
    """Print label and value in lines of their own; what a route does not have is left out."""
    for number, row in enumerate(rows):
        if number:
            console.print()
        block = Table.grid(padding=(0, len(_GAP)))
        block.add_column(style="bold")
        block.add_column(overflow="fold")
        for label, cell in zip(_COLUMNS, row, strict=True):
            if cell.plain != NOTHING:
                block.add_row(label, cell)
        console.print(block)


def policies(config: Config) -> list[dict[str, Any]]:
    """Return the policy of every route, public ones first, else in the file's order."""
    ordered = sorted(config.routes, key=lambda route: bool(route.auth))
    return [policy_of(route) for route in ordered]


def policy_of(route: RouteConfig) -> dict[str, Any]:
    """Return what a route asks of a request, in the words of the configuration."""
    identity = route.identity.model_dump(mode="json", exclude_defaults=True)
    cors = route.cors
    return {
        "name": route.name,
        "public": not route.auth,
        "host": route.match.host,
        "path": route.match.path,
        "methods": route.match.methods,
        "auth": route.auth or "none",
        "both": route.both,
        "same_subjects": route.same_subjects,
        "dpop": route.dpop,
        "require": _require(route.require),
        "cross_site": route.cross_site
        if isinstance(route.cross_site, str)
        else [str(origin) for origin in route.cross_site],
        "upstream": route.upstream,
        "strip_prefix": route.strip_prefix,
        "identity": identity,
        "cors": cors if cors is None or isinstance(cors, str) else cors.model_dump(mode="json"),
        "forward_credentials": route.forward_credentials,
        "allow_paths": route.allow_paths,
        "pass_headers": route.pass_headers,
        "upgrades": route.upgrades,
        "streams": route.streams.model_dump(mode="json"),
        "cache": route.cache,
        "mode": mode_of(route),
    }


def _require(require: RequireConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if require.roles is not None:
        found["roles"] = _rule(require.roles.any, require.roles.all)
    if require.scopes:
        found["scopes"] = {"all": require.scopes}
    if require.claims:
        found["claims"] = {path: _rule(rule.any, rule.all) for path, rule in require.claims.items()}
    for key in ("mfa_within", "login_within"):
        if (seconds := getattr(require, key)) is not None:
            found[key] = seconds
    return found


def _rule(any_of: list[Any] | None, all_of: list[Any] | None) -> dict[str, list[Any]]:
    return {"any": any_of} if any_of is not None else {"all": all_of or []}


def _row(policy: dict[str, Any]) -> list[str]:
    auth = policy["auth"] if isinstance(policy["auth"], str) else ", ".join(policy["auth"])
    if policy["both"] != "first":
        auth += f" (both: {policy['both']})"
    site = policy["cross_site"]
    return [
        policy["name"],
        ", ".join(policy["methods"]) if policy["methods"] else "any",
        policy["host"] or "*",
        policy["path"],
        "none: PUBLIC" if policy["public"] else auth,
        _require_text(policy["require"]) or NOTHING,
        site if isinstance(site, str) else ", ".join(site),
        policy["upstream"] + (f" (without {p})" if (p := policy["strip_prefix"]) else ""),
        "; ".join(_deviations(policy)) or NOTHING,
    ]


def _require_text(require: dict[str, Any]) -> str:
    parts = [f"{key} {_rule_text(require[key])}" for key in ("roles", "scopes") if key in require]
    claims = require.get("claims", {})
    parts += [f"claim {path} {_rule_text(rule)}" for path, rule in claims.items()]
    parts += [
        f"{key.replace('_', ' ')} {require[key]:g} s"
        for key in ("mfa_within", "login_within")
        if key in require
    ]
    return "; ".join(parts)


def _rule_text(rule: dict[str, list[Any]]) -> str:
    ((kind, values),) = rule.items()
    return f"{kind} of {', '.join(map(str, values))}"


def _deviations(policy: dict[str, Any]) -> list[str]:
    """Return what of a route is not as routes usually are."""
    found = []
    identity = policy["identity"]
    if identity.get("headers"):
        found.append(f"identity: {', '.join(identity['headers'])}")
    found += [
        f"identity: {key if value is True else value}"
        for key, value in identity.items()
        if key != "headers"
    ]
    cors = policy["cors"]
    if cors is not None:
        found.append(f"cors: {cors if isinstance(cors, str) else ', '.join(cors['origins'])}")
    found += [
        f"{key}: {', '.join(policy[key])}" for key in ("allow_paths", "pass_headers") if policy[key]
    ]
    if policy["forward_credentials"] is not None:
        found.append(f"forward_credentials: {str(policy['forward_credentials']).lower()}")
    if policy["upgrades"] != ["websocket"]:
        found.append(f"upgrades: {', '.join(policy['upgrades']) or 'none'}")
    if policy["streams"]["on_expiry"] != "close":
        found.append(f"on_expiry: {policy['streams']['on_expiry']}")
    if policy["cache"] != "private":
        found.append(f"cache: {policy['cache']}")
    if policy["mode"] != "enforce":
        found.append(f"mode: report until {policy['mode']['report']['until']}")
    if policy["dpop"] != "optional":
        found.append(f"dpop: {policy['dpop']}")
    if policy["same_subjects"]:
        found.append("same_subjects")
    return found
