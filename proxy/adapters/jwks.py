"""One fetch of a provider's keys over HTTP, by the rules of security.md, K3.

aiohttp's errors end here. What never belongs here: when to fetch, and what the keys are good for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from yarl import URL

from proxy.core.keyset import MAX_DOCUMENT_BYTES
from proxy.core.strict_json import loads_object

if TYPE_CHECKING:
    import aiohttp

MAX_REDIRECTS: Final = 3
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
REQUEST_HEADERS: Final = {
    "Accept": "application/json, application/jwk-set+json",
    # What is compressed could unfold to any size; key documents are small enough as they are.
    "Accept-Encoding": "identity",
    "User-Agent": "latchgate",
}


class FetchFailed(Exception):
    """The provider's keys could not be had; the text is for the log and quotes no document."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Whose keys, and where they are published."""

    issuer: str
    jwks_url: str | None = None
    """`None`: it is looked up in the issuer's discovery document."""
    accepts_http: bool = False
    """`keys: {http: accept}`: plain http to hosts that are not loopback."""


def is_loopback(host: str | None) -> bool:
    """Tell whether `host` can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def discovery_urls(issuer: str) -> tuple[str, str]:
    """Return where an issuer's metadata may stand: OpenID Discovery §4, then RFC 8414 §3.1."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
    )


async def fetch_jwks(
    provider: Provider, *, timeout_s: float, ssl_context: ssl.SSLContext | None = None
) -> bytes:
    """Return the provider's JWK Set, undecoded, within `timeout_s` for everything together.

    Raises `FetchFailed`.
    """
    import aiohttp  # noqa: PLC0415 - a fifth of a second, and most commands fetch nothing

    try:
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=True if ssl_context is None else ssl_context, limit=2
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=REQUEST_HEADERS,
                auto_decompress=False,
            ) as session,
        ):
            fetch = _Fetch(session, accepts_http=provider.accepts_http)
            url = provider.jwks_url
            if url is None:
                url = await fetch.discover(provider.issuer)
            return await fetch.document(url)
    except TimeoutError as error:
        raise FetchFailed(f"no answer within {timeout_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchFailed(f"the request failed: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class _Fetch:
    session: aiohttp.ClientSession
    accepts_http: bool

    async def discover(self, issuer: str) -> str:
        """Return the `jwks_uri` of a discovery document that is the issuer's own (K3)."""
        first, second = discovery_urls(issuer)
        raw = await self._read(first, is_404_none=True)
        if raw is None:
            raw = await self._read(second)
        metadata = _metadata(raw or b"")
        if metadata.get("issuer") != issuer:
            raise FetchFailed("the discovery document is another issuer's")
        url = metadata.get("jwks_uri")
        if not isinstance(url, str):
            raise FetchFailed("the discovery document has no jwks_uri")
        return url

    async def document(self, url: str) -> bytes:
        """Return what stands at `url`."""
        return await self._read(url) or b""

    async def _read(self, url: str, *, is_404_none: bool = False) -> bytes | None:
        target = self._checked(URL(url))
        for _ in range(MAX_REDIRECTS + 1):
            async with self.session.get(target, allow_redirects=False) as response:
                if response.status in REDIRECTS:
                    target = self._redirected(target, response)
                    continue
                if response.status == 404 and is_404_none:
                    return None
                if response.status != 200:
                    raise FetchFailed(f"{target.host} answered {response.status}")
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise FetchFailed(f"{target.host} sent a compressed document unasked")
                return await read_body(response)
        raise FetchFailed(f"more than {MAX_REDIRECTS} redirects")

    def _checked(self, url: URL) -> URL:
        is_plain_allowed = self.accepts_http or is_loopback(url.host)
        if url.scheme == "https" or (url.scheme == "http" and is_plain_allowed):
            return url
        raise FetchFailed("keys are fetched over https only")

    def _redirected(self, origin: URL, response: aiohttp.ClientResponse) -> URL:
        target = origin.join(URL(response.headers.get("Location", "")))
        if target.scheme != "https":
            raise FetchFailed(f"{origin.host} redirects to something that is not https")
        return target


async def read_body(response: aiohttp.ClientResponse, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Return a body of at most `limit` bytes; raises `FetchFailed`."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
            raise FetchFailed(f"the document is longer than {size}")
    return bytes(body)


def _metadata(raw: bytes) -> dict[str, Any]:
    try:
        return loads_object(raw, max_bytes=MAX_DOCUMENT_BYTES)
    except ValueError:
        raise FetchFailed("the discovery document is not a JSON object") from None
