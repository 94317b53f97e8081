"""Checks of listeners, servers and the files that TLS and keys come from."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxy.config.addresses import Address, UpstreamServer
from proxy.config.models import JwtSchemeConfig, SessionSchemeConfig
from proxy.config.scheme_checks import jwt_schemes
from proxy.config.survey import Survey
from proxy.config.values import NO_FILE
from proxy.errors import Problem

MIN_ADMIN_TOKEN: Final = 32
"""Characters; nobody guesses it, however often."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def listeners(survey: Survey) -> Iterator[tuple[tuple[str | int, ...], Address]]:
    """Yield every address that the gate listens on, with its path in the configuration."""
    for index, address in enumerate(survey.config.server.listen):
        yield ("server", "listen", index), address
    if survey.config.health is not None:
        yield ("health", "listen"), survey.config.health.listen
    if survey.config.admin is not None:
        yield ("admin", "listen"), survey.config.admin.listen
    if survey.config.decision is not None:
        yield ("decision", "listen"), survey.config.decision.listen
    if survey.config.redirect is not None:
        for index, address in enumerate(survey.config.redirect.listen):
            yield ("redirect", "listen", index), address


def check_listeners(survey: Survey) -> Iterator[Problem]:
    """Find two listeners in one place."""
    seen: list[Address] = []
    for path, address in listeners(survey):
        if not survey.is_whole(*path):  # a default stands there in the place of a mistake
            continue
        if any(_collide(address, other) for other in seen):
            yield Problem(path, "another listener has this address already")
        seen.append(address)


def check_own_listeners(survey: Survey) -> Iterator[Problem]:
    """Find servers that are the gate itself (F7)."""
    own = [address for path, address in listeners(survey) if survey.is_whole(*path)]
    for name, upstream in survey.config.upstreams.items():
        for index, server in enumerate(upstream.servers):
            if any(_is_own(server, address) for address in own):
                path = ("upstreams", name, "servers", index)
                yield Problem(path, "is a listener of this gate itself")


def check_admin(survey: Survey) -> Iterator[Problem]:
    """Find an admin API that anybody could use, or read along with (S11)."""
    admin = survey.config.admin
    if admin is None:
        return
    is_tcp = survey.is_whole("admin", "listen") and not admin.listen.is_unix
    if is_tcp and admin.token is None and survey.is_whole("admin", "token"):
        yield Problem(("admin", "token"), "is required on TCP: `token: {file: …}`")
    if admin.token is not None and len(admin.token.reveal_bytes()) < MIN_ADMIN_TOKEN:
        message = f"must have at least {MIN_ADMIN_TOKEN} characters (openssl rand -base64 32)"
        yield Problem(("admin", "token"), message)
    if is_tcp and not is_loopback(admin.listen):
        message = "is reached from other machines without TLS: whoever reads along has the token"
        yield Problem(("admin", "listen"), message, is_warning=True)
    is_useful = any(
        isinstance(scheme, JwtSchemeConfig)
        or (isinstance(scheme, SessionSchemeConfig) and scheme.format == "native")
        for scheme in survey.config.schemes.values()
    )
    if not is_useful and survey.is_whole("schemes"):
        yield Problem(("admin",), "there are neither sessions of the gate's own nor tokens")


def is_loopback(address: Address) -> bool:
    """Tell whether only this machine reaches a listener."""
    place = _as_ip(address.host)
    return place is not None and place.is_loopback


def check_trusted(survey: Survey) -> Iterator[Problem]:
    """Find trust in everybody's forwarding headers (field.md §3 #2)."""
    for index, network in enumerate(survey.config.server.trusted_proxies):
        if not isinstance(network, str) and network.prefixlen == 0:
            message = "everybody is trusted to say where a request comes from"
            yield Problem(("server", "trusted_proxies", index), message, is_warning=True)


def check_proxy_protocol(survey: Survey) -> Iterator[Problem]:
    """Find a way for anybody to say where they come from."""
    said = survey.config.server.proxy_protocol
    for index, network in enumerate(() if said is None else said.from_):
        if not isinstance(network, str) and network.prefixlen == 0:
            message = "anybody could say where they come from: name the proxy's own network"
            yield Problem(("server", "proxy_protocol", "from", index), message)


def check_server_tls(survey: Survey) -> Iterator[Problem]:
    """Find certificates and keys of the listeners that cannot be used."""
    tls = survey.config.server.tls
    if tls is None:
        return
    path = ("server", "tls")
    yield from _check_pair(path, tls.cert, tls.key)
    for index, pair in enumerate(tls.certificates):
        yield from _check_pair((*path, "certificates", index), pair.cert, pair.key)
    if tls.client_ca is not None:
        yield from _check_authorities((*path, "client_ca"), tls.client_ca)
    if all(address.is_unix for address in survey.config.server.listen):
        message = "no listener speaks TCP, so this is never used"
        yield Problem(path, message, is_warning=True)


def check_upstream_tls(survey: Survey) -> Iterator[Problem]:
    """Find certificates and keys towards servers that cannot be used."""
    for name, upstream in survey.config.upstreams.items():
        path, tls = ("upstreams", name, "tls"), upstream.tls
        if tls.ca is not None:
            yield from _check_authorities((*path, "ca"), tls.ca)
        if tls.cert is not None and tls.key is not None:
            yield from _check_pair(path, tls.cert, tls.key)
        elif (tls.cert is None) != (tls.key is None) and survey.is_whole(*path):
            missing = "key" if tls.key is None else "cert"
            yield Problem((*path, missing), "is required: cert and key go together")
        has_tls = any(server.scheme == "https" for server in upstream.servers)
        if tls.model_fields_set and not has_tls and survey.is_whole("upstreams", name, "servers"):
            message = "no server is https://, so this is never used"
            yield Problem(path, message, is_warning=True)


def check_key_files(survey: Survey) -> Iterator[Problem]:
    """Find files of verification keys that cannot be read."""
    for name, scheme in jwt_schemes(survey.config):
        if scheme.keys.file is not None and (reason := _unreadable(scheme.keys.file)) is not None:
            yield Problem(("schemes", name, "keys", "file"), reason)


def _unreadable(path: Path) -> str | None:
    if path.is_dir():
        return "is a directory, not a file"
    if not path.is_file():
        return NO_FILE
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
    return "the file is empty" if is_empty else None


def _check_pair(path: tuple[str | int, ...], cert: Path, key: Path) -> Iterator[Problem]:
    reasons = [(name, _unreadable(file)) for name, file in (("cert", cert), ("key", key))]
    for name, reason in reasons:
        if reason is not None:
            yield Problem((*path, name), reason)
    if any(reason for _, reason in reasons):
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password=_refuse_to_ask)
    except (ssl.SSLError, OSError, ValueError) as error:
        kind = getattr(error, "reason", None)
        if kind == "KEY_VALUES_MISMATCH":
            message = "does not belong to the certificate"
        elif isinstance(error, _PassPhraseError):
            message = "has a pass phrase, which nobody could type in"
        else:
            message = "cert and key cannot be read as PEM"
        yield Problem((*path, "key"), message)


def _check_authorities(path: tuple[str, ...], file: Path) -> Iterator[Problem]:
    if (reason := _unreadable(file)) is not None:
        yield Problem(path, reason)
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except (ssl.SSLError, OSError):
        yield Problem(path, "has no certificate in PEM")


class _PassPhraseError(ValueError):
    pass


def _refuse_to_ask() -> str:
    raise _PassPhraseError


def _collide(one: Address, other: Address) -> bool:
    """Tell whether the second of two listeners would find its place taken."""
    if one.path is not None or other.path is not None:
        return one.path == other.path
    if one.port != other.port or one.port == 0:
        return False
    first, second = _as_ip(one.host), _as_ip(other.host)
    if first is None or second is None:
        return one.host == other.host
    # IPv4 and IPv6 listeners do not meet: the gate binds IPv6 sockets to IPv6 alone.
    is_any = first.is_unspecified or second.is_unspecified
    return first == second or (is_any and first.version == second.version)


def _is_own(server: UpstreamServer, address: Address) -> bool:
    """Tell whether a connection to `server` would arrive at the listener `address`."""
    if server.path is not None or address.path is not None:
        is_both = server.path is not None and address.path is not None
        return is_both and _resolved(server.path) == _resolved(address.path)
    if server.port != address.port:
        return False
    if server.host == address.host:
        return True
    target, place = _as_ip(server.host), _as_ip(address.host)
    if target is not None and target == place:
        return True
    if place is not None and place.is_unspecified:
        return _is_this_machine(target, place.version)
    is_loopback_place = place is not None and place.is_loopback
    is_target_any = target is not None and (target.is_unspecified or target == place)
    return is_loopback_place and is_target_any


def _is_this_machine(target: IpAddress | None, version: int) -> bool:
    """Tell whether an address can be bound here, which is how a machine knows its own."""
    if target is None or target.version != version:
        return False
    if target.is_loopback or target.is_unspecified:
        return True
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(target), 0))
    except OSError:
        return False
    return True


def _as_ip(host: str) -> IpAddress | None:
    """Return the address that `host` is; this machine's own names are its loopback address."""
    if host == "localhost" or host == socket.gethostname().lower():
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _resolved(path: Path | None) -> Path | None:
    return path.resolve() if path is not None else None


CHECKS: Final = (
    check_listeners,
    check_own_listeners,
    check_admin,
    check_proxy_protocol,
    check_trusted,
    check_server_tls,
    check_upstream_tls,
    check_key_files,
)
