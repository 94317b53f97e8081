"""An OpenID provider over HTTP: its metadata, its token endpoint, UserInfo (security.md, K3).

aiohttp's errors end here. Every answer is bounded in time and size, nothing is followed anywhere
else, nothing compressed is unfolded. What never belongs here: what an answer is good for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from yarl import URL

from proxy.adapters.jwks import FetchFailed, discovery_urls, is_loopback, read_body
from proxy.core.oidc import MAX_ANSWER_BYTES, MAX_METADATA_BYTES, Metadata, read_metadata
from proxy.core.strict_json import loads_object
from proxy.errors import ProviderInvalid, ProviderRefused, ProviderUnavailable

if TYPE_CHECKING:
    import aiohttp

METADATA_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 20.0
"""Of one answer of the token endpoint or UserInfo, connection included: providers that take ten
seconds have been seen."""
CONNECTIONS: Final = 256
"""To all providers together, of one worker."""

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "latchgate",
}
_MAX_WORD: Final = 64


class ProviderClient:
    """Asks providers. One for each worker; connections are made when they are needed."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._ssl_context = ssl_context
        self.timeout_s = timeout_s
        """The longest time that one answer may take."""
        self._session: aiohttp.ClientSession | None = None

    async def metadata(self, issuer: str) -> Metadata:
        """Return what `issuer` says about itself (OpenID Connect Discovery §4).

        Raises `ProviderUnavailable`, or `ProviderInvalid` for a document that is not its own.
        """
        url, _ = discovery_urls(issuer)
        status, body = await self._ask("GET", url, METADATA_TIMEOUT_S, MAX_METADATA_BYTES)
        if status != 200:
            raise ProviderUnavailable(f"the discovery document is answered with {status}")
        return read_metadata(body, issuer)

    async def tokens(
        self, metadata: Metadata, form: Mapping[str, str], authorization: str | None
    ) -> Mapping[str, Any]:
        """Send `form` to the token endpoint and return its answer (RFC 6749 §5.1), unchecked.

        Raises `ProviderRefused` for an error of §5.2, `ProviderUnavailable`, `ProviderInvalid`.
        """
        headers = {} if authorization is None else {"Authorization": authorization}
        status, body = await self._ask(
            "POST",
            metadata.token_endpoint,
            self.timeout_s,
            MAX_ANSWER_BYTES,
            headers=headers,
            data=dict(form),
        )
        if status == 200:
            return _members(body)
        if status in (400, 401, 403):
            raise ProviderRefused(_error_word(body, status))
        raise ProviderUnavailable(f"the token endpoint answered {status}")

    async def userinfo(self, metadata: Metadata, access_token: str) -> Mapping[str, Any]:
        """Return the claims at UserInfo (Core §5.3); raises as `tokens` does."""
        if metadata.userinfo_endpoint is None:
            raise ProviderInvalid("the provider has no UserInfo endpoint")
        status, body = await self._ask(
            "GET",
            metadata.userinfo_endpoint,
            self.timeout_s,
            MAX_ANSWER_BYTES,
            headers={"Authorization": f"Bearer {access_token}"},
        )
        if status == 200:
            return _members(body)
        if status in (401, 403):
            raise ProviderRefused(f"{status} at UserInfo")
        raise ProviderUnavailable(f"UserInfo answered {status}")

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self, method: str, url: str, timeout_s: float, limit: int, **options: Any
    ) -> tuple[int, bytes]:
        """Return status and body of one answer; a redirect is an answer like any other."""
        import aiohttp  # noqa: PLC0415 - a fifth of a second, and most commands ask no provider

        _check(url)
        session = self._opened()
        try:
            async with (
                asyncio.timeout(timeout_s),
                session.request(method, url, allow_redirects=False, **options) as response,
            ):
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise ProviderInvalid("the provider sent a compressed answer unasked")
                return response.status, await read_body(response, limit)
        except TimeoutError as error:
            raise ProviderUnavailable(f"no answer within {timeout_s:g} s") from error
        except FetchFailed as error:
            raise ProviderInvalid(str(error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ProviderUnavailable(f"the request failed: {type(error).__name__}") from error

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415 - as above

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=True if self._ssl_context is None else self._ssl_context,
                    limit=CONNECTIONS,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),  # each request has its own
            )
        return self._session


def _check(url: str) -> None:
    """Raise unless the way to `url` is safe: TLS, or this machine (K3)."""
    parts = URL(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.host)):
        return
    raise ProviderInvalid("providers are asked over https only")


def _members(body: bytes) -> Mapping[str, Any]:
    try:
        return loads_object(body, max_bytes=MAX_ANSWER_BYTES)
    except ValueError:
        raise ProviderInvalid("the provider's answer is not a JSON object") from None


def _error_word(body: bytes, status: int) -> str:
    """Return the `error` of an answer for the log; what is no such word stays out of it."""
    try:
        error = loads_object(body, max_bytes=MAX_ANSWER_BYTES).get("error")
    except ValueError:
        error = None
    if isinstance(error, str) and 0 < len(error) <= _MAX_WORD and error.isascii():
        return "".join(letter for letter in error if letter.isalnum() or letter in "_-.")
    return str(status)
