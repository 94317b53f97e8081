"""Where things are: listeners, servers, stores, origins, networks and hosts."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, unquote_to_bytes

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

from proxy.config.secret import Secret, parse_secret
from proxy.config.store_url import StoreKind, StoreUrl
from proxy.config.values import base_of, parse_path, parse_text

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABELS: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")
_HOST_PORT: Final = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{1,5}))?")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([/?#].*)?", re.DOTALL)
_PORT_ALONE: Final = re.compile(r"(?:\*?:)?-?[0-9]+")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}
_SENTINEL_PORT: Final = 26_379
_MASTER: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class Address:
    """A place to listen on: a TCP host and port, or the path of a unix socket."""

    host: str
    """IP address (v6 without brackets) or name; empty for a unix socket."""
    port: int
    """0: the system picks one; 0 for a unix socket too."""
    path: Path | None = None

    @property
    def is_unix(self) -> bool:
        """True for a unix socket."""
        return self.path is not None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class UpstreamServer:
    """One server of an upstream; a server has no path."""

    scheme: Literal["http", "https", "unix"]
    host: str
    """IP address (v6 without brackets) or name, lower case; empty for a unix socket."""
    port: int
    path: Path | None = None
    """The unix socket."""

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{self.scheme}://{_bracketed(self.host)}:{self.port}"


def parse_address(value: object, info: ValidationInfo | None) -> Address:
    """Return a listener's address from `host:port`, `[v6]:port` or `unix:path`."""
    if isinstance(value, Address):
        return value
    is_port = isinstance(value, int) and not isinstance(value, bool)  # quotes alone would not do
    text = str(value) if is_port else parse_text(value)
    if text.startswith("unix:"):
        return Address("", 0, parse_path(_socket_path(text), info))
    if _PORT_ALONE.fullmatch(text):
        raise ValueError(
            "must be host:port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for every address; the host is missing"
        )
    host, port = _host_port(text)
    if port is None:
        raise ValueError("must be host:port, [IPv6]:port or unix:path; the port is missing")
    return Address(host, port)


def parse_server(value: object, info: ValidationInfo | None) -> UpstreamServer:
    """Return a server from `http://host:port`, `https://host:port` or `unix:path`."""
    if isinstance(value, UpstreamServer):
        return value
    text = parse_text(value)
    if text.startswith("unix:"):
        return UpstreamServer("unix", "", 0, parse_path(_socket_path(text), info))
    scheme, host, port, rest = _split_url(text, "must be http://host:port, https://… or unix:path")
    if rest:
        raise ValueError("a server has no path, query or final slash; see strip_prefix of a route")
    if scheme == "http":
        return UpstreamServer("http", host, port or 80)
    if scheme == "https":
        return UpstreamServer("https", host, port or 443)
    raise ValueError("must start with http://, https:// or unix:")


def parse_store_url(value: object, info: ValidationInfo | None) -> StoreUrl:
    """Return a store's place; the text may be given as `{file: path}`, since it has a password."""
    if isinstance(value, StoreUrl):
        return value
    text = parse_text(parse_secret(value, info).reveal())
    if text.startswith("embedded:"):
        path = text.removeprefix("embedded:")
        if not path:
            raise ValueError("embedded: needs a directory, such as embedded:var/store")
        return StoreUrl("embedded", path=base_of(info) / path)
    if text.startswith("unix:"):
        return _unix_store(text, info)
    if re.match(r"rediss?\+(sentinel|cluster)://", text):
        return _replicated_store(text, info)
    return _network_store(text, info)


def parse_origin(value: object) -> str:
    """Return `scheme://host[:port]` as browsers write it: lower case, no default port."""
    sentence = "must be an origin, such as https://shop.example.com, without a path"
    scheme, host, port, rest = _split_url(parse_text(value), sentence)
    if rest:
        raise ValueError(sentence)
    shown = _bracketed(host)
    return (
        f"{scheme}://{shown}"
        if port in (None, _DEFAULT_PORTS.get(scheme))
        else f"{scheme}://{shown}:{port}"
    )


def parse_public_url(value: object) -> str:
    """Return the gate's own origin, which is http or https."""
    origin = parse_origin(value)
    if not origin.startswith(("http://", "https://")):
        raise ValueError("must start with https:// or http://")
    return origin


def parse_http_url(value: object) -> str:
    """Return an http(s) URL with a path, without user, query-only tricks or fragment."""
    text = parse_text(value)
    sentence = "must be a URL, such as https://id.example.com/jwks.json"
    scheme, _, _, rest = _split_url(text, sentence)
    if scheme not in {"http", "https"}:
        raise ValueError("must start with https://")
    if "#" in rest or re.search(r"[\s\\<>\"]", text) or not text.isascii():
        raise ValueError(sentence)
    return text


def parse_trusted(value: object) -> Network | Literal["unix"]:
    """Return a network, or the word `unix` for peers on unix sockets."""
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    text = parse_text(value)
    if text == "unix":
        return "unix"
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("must be a network, such as 10.0.0.0/8, an address, or unix") from None
    raise ValueError("has bits set behind the prefix length; write the network's own address")


def parse_host_pattern(value: object) -> str:
    """Return a host name, `*.name` or IP address: lower case, no port, no final dot."""
    text = parse_text(value)
    wildcard, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    host, port = _host_port(name)
    if port is not None:
        raise ValueError("a host is matched without its port")
    if wildcard and (_as_ip(host) is not None or "*" in host):
        raise ValueError("a wildcard stands once, before a name: *.example.com")
    return wildcard + _bracketed(host)


def parse_upstream_host(value: object) -> str:
    """Return `preserve`, `upstream`, or the Host to send: `name` or `name:port`."""
    text = parse_text(value)
    if text in {"preserve", "upstream"}:
        return text
    host, port = _host_port(text)
    return _bracketed(host) if port is None else f"{_bracketed(host)}:{port}"


def parse_server_name(value: object) -> str:
    """Return a name for TLS (SNI and certificate): no port."""
    host, port = _host_port(parse_text(value))
    if port is not None:
        raise ValueError("must be a name without a port")
    return host


def is_loopback(host: str) -> bool:
    """Tell whether `host` can only be this machine."""
    address = _as_ip(host)
    return address.is_loopback if address is not None else host in {"localhost", "localhost."}


def host_of(url: str) -> str:
    """Return the host of a URL that one of the parsers here has accepted."""
    match = _URL.fullmatch(url)
    return _host_port(match[2])[0] if match is not None else ""


def _split_url(text: str, sentence: str) -> tuple[str, str, int | None, str]:
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError(sentence)
    if "@" in match[2]:
        raise ValueError("must not contain a user or password")
    host, port = _host_port(match[2])
    if port == 0:
        raise ValueError("the port must be between 1 and 65535")
    return match[1].lower(), host, port, match[3] or ""


def _host_port(text: str) -> tuple[str, int | None]:
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError("the host or port is malformed; an IPv6 address stands in brackets")
    port = int(match[2]) if match[2] else None
    if port is not None and port > 65_535:
        raise ValueError("the port must be between 1 and 65535")
    host = match[1]
    if host.startswith("["):
        address = _as_ip(host[1:-1])
        if not isinstance(address, ipaddress.IPv6Address) or address.scope_id:
            raise ValueError("must be an IPv6 address in brackets, without a zone")
        return str(address), port
    return _name(host), port


def _name(host: str) -> str:
    if not host:
        raise ValueError("the host is missing")
    if (address := _as_ip(host)) is not None:
        return str(address)
    if not host.isascii():
        raise ValueError("write an international name in its xn-- form")
    if len(host) > 254 or _LABELS.fullmatch(host) is None:
        raise ValueError("must be a host name or an IP address")
    last = host.rstrip(".").rpartition(".")[2]
    if last.isdigit() or re.fullmatch(r"0[xX][0-9A-Fa-f]*", last):
        raise ValueError("an IPv4 address has four decimal numbers")
    return host.lower().rstrip(".")


def _as_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:")
    path = path.removeprefix("//")
    if not path or path.endswith("/"):
        raise ValueError("unix: needs the path of a socket, such as unix:/run/app.sock")
    return path


def _unix_store(text: str, info: ValidationInfo | None) -> StoreUrl:
    place, _, query_text = text.partition("?")
    rest = _socket_path(place)
    login = ""
    if "@" in rest and not rest.startswith("/"):
        login, _, rest = rest.partition("@")
    user, colon, password = login.partition(":")
    query = _query(query_text, {"db", "password"})
    if colon and "password" in query:
        raise ValueError("names its password twice, before the @ and as password=")
    password = _unquoted(password) if colon else query.get("password", "")
    return StoreUrl(
        "unix",
        path=base_of(info) / parse_text(_unquoted(rest)),
        db=_database(query.get("db", "0")),
        username=_unquoted(user) or None,
        password=Secret(password) if password else None,
    )


def _network_store(text: str, info: ValidationInfo | None) -> StoreUrl:
    sentence = "must start with embedded:, redis://, rediss://, redis+sentinel://, redis+cluster:// or unix://"
    match = _URL.fullmatch(text)
    if match is None or match[1] not in {"redis", "rediss"}:
        raise ValueError(sentence)
    kind: StoreKind = "rediss" if match[1] == "rediss" else "redis"
    login, _, place = match[2].rpartition("@")
    user, _, password = login.partition(":")
    host, port = _host_port(place)
    path, _, query_text = (match[3] or "").partition("?")
    query = _query(query_text, {"db", *(_TLS_FILES if kind == "rediss" else ())})
    if path.strip("/") and "db" in query:
        raise ValueError("names its database twice, in the path and as db=")
    return StoreUrl(
        kind,
        host=host,
        port=port or _DEFAULT_PORTS[kind],
        db=_database(path.strip("/") or query.get("db", "0")),
        username=_unquoted(user) or None,
        password=Secret(_unquoted(password)) if password else None,
        tls_files=tuple((key, base_of(info) / query[key]) for key in _TLS_FILES if key in query),
    )


def _replicated_store(text: str, info: ValidationInfo | None) -> StoreUrl:
    match = _URL.fullmatch(text)
    assert match is not None  # noqa: S101 - the caller has seen how it begins
    is_tls, is_cluster = match[1].startswith("rediss"), match[1].endswith("cluster")
    login, _, places = match[2].rpartition("@")
    user, _, password = login.partition(":")
    path, _, query_text = (match[3] or "").partition("?")
    files = _TLS_FILES if is_tls else ()
    asking = () if is_cluster else ("db", "sentinel_username", "sentinel_password")
    query = _query(query_text, {*files, *asking})
    master, _, database = ("", "", "") if is_cluster else path.strip("/").partition("/")
    if is_cluster and path.strip("/0"):
        raise ValueError("must name no database: a Cluster has only one")
    if not is_cluster and _MASTER.fullmatch(master) is None:
        raise ValueError("must name the master behind the Sentinels: redis+sentinel://h1,h2/name")
    if database and "db" in query:
        raise ValueError("names its database twice, in the path and as db=")
    default = _DEFAULT_PORTS["redis"] if is_cluster else _SENTINEL_PORT
    found = tuple((host, port or default) for host, port in map(_host_port, places.split(",")))
    if len(set(found)) != len(found):
        raise ValueError("names a server twice, and it would count twice")
    secret = query.get("sentinel_password")
    kind: StoreKind = (
        ("rediss+cluster" if is_tls else "redis+cluster")
        if is_cluster
        else ("rediss+sentinel" if is_tls else "redis+sentinel")
    )
    return StoreUrl(
        kind,
        db=_database(database or query.get("db", "0")),
        username=_unquoted(user) or None,
        password=Secret(_unquoted(password)) if password else None,
        tls_files=tuple((key, base_of(info) / query[key]) for key in files if key in query),
        nodes=found if is_cluster else (),
        sentinels=() if is_cluster else found,
        master=master,
        sentinel_username=query.get("sentinel_username"),
        sentinel_password=Secret(secret) if secret else None,
    )


def _query(text: str, known: set[str]) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=16)
    query = dict(pairs)
    if len(query) != len(pairs) or not set(query) <= known:
        raise ValueError(f"its query may only name, once each: {', '.join(sorted(known))}")
    return query


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError("the database must be a number, such as /0")
    return int(text)


def _unquoted(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 after percent-decoding") from None


def _pattern(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"{pattern}|\$\{{", "examples": [example]})


AddressValue = Annotated[
    Address,
    PlainValidator(parse_address),
    _pattern(r"^unix:.|:[0-9]{1,5}$", "0.0.0.0:8080"),
]
ServerValue = Annotated[
    UpstreamServer,
    PlainValidator(parse_server),
    _pattern(r"^(https?://[^/?#@]+|unix:.+)$", "http://127.0.0.1:9001"),
]
StoreUrlValue = Annotated[
    StoreUrl,
    PlainValidator(parse_store_url),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "string",
                    "pattern": r"^(embedded:.|rediss?://|unix:)|\$\{",
                    "examples": ["embedded:var/store", "redis://127.0.0.1:6379/0"],
                },
                {
                    "type": "object",
                    "properties": {"file": {"type": "string", "minLength": 1}},
                    "required": ["file"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
OriginValue = Annotated[
    str,
    PlainValidator(parse_origin),
    _pattern("^[a-z][a-z0-9+.-]*://[^/?#@]+$", "https://a.example"),
]
PublicUrl = Annotated[
    str, PlainValidator(parse_public_url), _pattern("^https?://[^/?#@]+$", "https://a.example")
]
HttpUrl = Annotated[
    str, PlainValidator(parse_http_url), _pattern("^https?://", "https://id.example/jwks.json")
]
TrustedValue = Annotated[
    Network | Literal["unix"],
    PlainValidator(parse_trusted),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "unix"]}),
]
HostPattern = Annotated[
    str,
    PlainValidator(parse_host_pattern),
    WithJsonSchema({"type": "string", "examples": ["shop.example.com", "*.example.com"]}),
]
UpstreamHost = Annotated[
    str,
    PlainValidator(parse_upstream_host),
    WithJsonSchema({"type": "string", "examples": ["preserve", "upstream", "app.internal"]}),
]
ServerName = Annotated[
    str, PlainValidator(parse_server_name), WithJsonSchema({"type": "string", "minLength": 1})
]
