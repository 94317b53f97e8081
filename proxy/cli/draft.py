"""A configuration for one application, made from a few answers: for `init` and `serve --upstream`."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from proxy.cli.options import DEFAULT_LISTEN
from proxy.config.addresses import Address, is_loopback, parse_address, parse_server
from proxy.config.loader import LoadedConfig, parse_config
from proxy.errors import ConfigErrors
from proxy.run.loading import CHECKS

Auth = Literal["session", "token", "either"]

DEFAULT_UPSTREAM: Final = "http://127.0.0.1:3000"
LOCAL: Final = "local"
"""As the issuer: the gate itself."""

_TEMPLATE: Final = "latchgate.yaml.jinja"
_PLAIN: Final = re.compile(r"(?!(?i:true|false|null)$)[A-Za-z][A-Za-z0-9_-]{0,63}")
"""Names that are text in YAML without quotes too."""
_HOST_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}")
_WIDE: Final = 1 << 20
"""Columns; a value is never folded."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person said about the application that is to be guarded."""

    upstream: str = DEFAULT_UPSTREAM
    """Where it is, as `upstreams.*.servers` has it."""
    name: str = "app"
    listen: str = DEFAULT_LISTEN
    auth: Auth = "either"
    issuer: str = LOCAL
    """Whose tokens open: a URL, or `local`."""
    audience: str = ""
    """What the tokens are for; empty: the name."""
    public: tuple[str, ...] = ()
    """Path patterns that want no key."""
    login: bool = False
    """True where people sign in at the gate, with a name and a password."""
    is_trial: bool = False
    """True for `serve --upstream`: over http, on this machine, for an hour or so."""

    @property
    def has_local_tokens(self) -> bool:
        """True when the gate signs tokens itself."""
        return self.auth != "session" and self.issuer == LOCAL


def render(draft: Draft) -> str:
    """Return the text of the configuration; every value is quoted, whatever is in it."""
    environment = Environment(
        loader=PackageLoader("proxy.cli"),
        autoescape=False,  # noqa: S701 - this is YAML, and every value is quoted by `quote`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(_TEMPLATE).render(_values(draft))


def parse(text: str, *, file: str, base: Path) -> LoadedConfig:
    """Read a rendered draft with every check, as `latchgate check` does. Raises `ConfigErrors`."""
    return parse_config(text.encode(), file=file, base=base, checks=CHECKS, environment={})


def mistakes(draft: Draft) -> Iterator[str]:
    """Yield what `check` would say against the draft, warnings included."""
    try:
        loaded = parse(render(draft), file="draft", base=Path.cwd())
    except ConfigErrors as errors:
        yield from (error.message for error in errors.errors)
    else:
        if not draft.is_trial:  # a trial's cookie is what `check` warns of, and on purpose
            # That nobody can sign in yet is for whoever has the file: `user add` comes after it.
            told = (one for one in loaded.warnings if not one.path.startswith("login."))
            yield from (warning.message for warning in told)


def read_place(text: str, directory: Path) -> str:
    """Return a server or listener as the configuration has it, from how a person writes it.

    A relative unix path starts at `directory`, where the person is, and not where the file is; a
    URL that was copied from a browser ends with a slash that means nothing.
    """
    text = text.strip()
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        return f"unix:{directory / path}" if path else text
    return text.removesuffix("/") if text.count("/") == 3 else text


def read_server(text: str, directory: Path) -> str:
    """Return a server as `read_place` does; `host:port` alone is `http://host:port`."""
    text = read_place(text, directory)
    return f"http://{text}" if _HOST_PORT.fullmatch(text) else text


def quote(text: str) -> str:
    """Return `text` as a YAML scalar in double quotes that means just this, `${` included."""
    yaml = YAML()
    yaml.width = _WIDE
    stream = io.StringIO()
    yaml.dump(DoubleQuotedScalarString(text.replace("${", "$${")), stream)
    return stream.getvalue().removesuffix("\n")


def _values(draft: Draft) -> dict[str, object]:
    """Return what the template may name: quoted texts and booleans, nothing raw."""
    has_sessions, has_tokens = draft.auth != "token", draft.auth != "session"
    issuer = f"http://{draft.listen}" if draft.has_local_tokens else draft.issuer
    return {
        "is_trial": draft.is_trial,
        "is_local": _is_local(draft.listen),
        "is_elsewhere": _is_elsewhere(draft.upstream),
        "has_sessions": has_sessions,
        "has_tokens": has_tokens,
        "has_local_tokens": draft.has_local_tokens,
        "has_login": draft.login,
        "kept": "Sessions and revocations" if has_sessions else "Revocations",
        "guard": "[api, web]" if has_sessions and has_tokens else "web" if has_sessions else "api",
        "listen": quote(draft.listen),
        "name": draft.name if _PLAIN.fullmatch(draft.name) else quote(draft.name),
        "upstream": quote(draft.upstream),
        "issuer": quote(issuer),
        "audience": quote(draft.audience or draft.name),
        "public": [quote(path) for path in draft.public],
    }


def _is_local(listen: str) -> bool:
    address = _address(listen)
    return address is not None and (address.is_unix or is_loopback(address.host))


def _is_elsewhere(upstream: str) -> bool:
    """Tell whether the server is a site of its own, which would not know the gate's Host."""
    try:
        server = parse_server(upstream, None)
    except ValueError:
        return False
    is_name = not server.host.replace(".", "").isdigit() and ":" not in server.host
    return server.scheme == "https" and is_name and not is_loopback(server.host)


def _address(listen: str) -> Address | None:
    try:
        return parse_address(listen, None)
    except ValueError:
        return None
