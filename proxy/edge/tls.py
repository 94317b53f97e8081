"""TLS on the listener: the certificates, and which client certificates are asked for.

The one place where contexts are made: whoever reads files again calls `listener_context` again.
"""

from __future__ import annotations

import logging
import ssl
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.config.models import TlsServerConfig
from proxy.core.certificates import dns_names, expires_at

_log: Final = logging.getLogger("latchgate.edge")
_expiries: Final[weakref.WeakKeyDictionary[ssl.SSLContext, Mapping[str, float]]] = (
    weakref.WeakKeyDictionary()
)
"""Of what `listener_context` has read: a context does not tell its own certificate."""


def listener_context(tls: TlsServerConfig) -> ssl.SSLContext:
    """Return the context of `server.tls`, with a certificate for each name that clients ask for.

    Reads every file anew. Raises OSError, ssl.SSLError and ValueError for those that cannot be used.
    """
    is_optional = tls.client_certificate == "optional"
    context = server_context(tls.cert, tls.key, tls.client_ca, is_optional=is_optional)
    others: dict[str, ssl.SSLContext] = {}
    for pair in tls.certificates:
        other = server_context(pair.cert, pair.key, tls.client_ca, is_optional=is_optional)
        for name in dns_names(pair.cert.read_bytes()):
            others.setdefault(name, other)
    if others:
        context.sni_callback = _Chooser(others)
    served = {"cert": tls.cert}
    served |= {f"certificates[{index}]": pair.cert for index, pair in enumerate(tls.certificates)}
    _expiries[context] = {key: end for key, file in served.items() if (end := _end_of(file))}
    return context


def expiries_of(context: ssl.SSLContext | None) -> Mapping[str, float]:
    """Return when each certificate of a listener's context ends, in epoch seconds, by its key in `server.tls`."""
    return {} if context is None else _expiries.get(context, {})


def contexts_of(context: ssl.SSLContext) -> tuple[ssl.SSLContext, ...]:
    """Return every context that a connection of a listener's `context` may have in the end."""
    chooser = context.sni_callback
    return (context, *chooser.contexts) if isinstance(chooser, _Chooser) else (context,)


def authorities_of(context: ssl.SSLContext) -> frozenset[bytes]:
    """Return whose client certificates are believed, as certificates in DER."""
    return frozenset(context.get_ca_certs(binary_form=True))


def server_context(
    cert: Path, key: Path, client_ca: Path | None = None, *, is_optional: bool = False
) -> ssl.SSLContext:
    """Return the context of one certificate: TLS 1.2 or newer, HTTP/1.1 only.

    With `client_ca` a client certificate of that authority is required (reference.md, tls);
    `is_optional`: who has none may come as well.
    Raises OSError or ssl.SSLError for files that cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL if is_optional else ssl.CERT_REQUIRED
    return context


def _end_of(file: Path) -> float | None:
    """Return when a chain ends; `None` for one that serves, and still cannot be read as the rest can."""
    try:
        return expires_at(file.read_bytes())
    except ValueError:
        return None


class _Chooser:
    """Gives a connection the certificate for the name that the client asks for (RFC 6066 §3).

    The name chooses that and nothing else: what is asked of the client is the same in each context, and
    who may pass hangs on the request's Host.
    """

    def __init__(self, contexts: Mapping[str, ssl.SSLContext]) -> None:
        self._contexts = contexts

    @property
    def contexts(self) -> tuple[ssl.SSLContext, ...]:
        """All that it may choose."""
        return tuple(self._contexts.values())

    def __call__(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> None:
        """Choose; a name that is unknown, and none, leave the default certificate."""
        try:
            found = None if name is None else self._find(name.lower().rstrip("."))
            if found is not None:
                connection.context = found
        except Exception:  # noqa: BLE001 - the handshake goes on with the default certificate
            _log.exception("a certificate could not be chosen")

    def _find(self, name: str) -> ssl.SSLContext | None:
        """Return the context for a name; a wildcard stands for one label (RFC 6125 §6.4.3)."""
        return self._contexts.get(name) or self._contexts.get("*." + name.partition(".")[2])
