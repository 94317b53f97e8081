"""The errors of the product. A class exists only if someone catches it or a metric needs it.

Expected outcomes are values (proxy.model), not exceptions. What is not a `ProxyError` is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from proxy.codes import CODES


class ProxyError(Exception):
    """An answer in the making: `code` names the row of proxy.codes, the text is for the log only."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return CODES[self.code].status


class DependencyUnavailable(ProxyError):
    """A store or key source is out of reach: never "anonymous", never a logout (503)."""

    scheme: str | None = None
    """The scheme that needs it, once that is known."""


class StoreUnavailable(DependencyUnavailable):
    """The store did not answer in time, or not at all."""

    code = "store_unavailable"


class KeysUnavailable(DependencyUnavailable):
    """No usable verification or signing keys are at hand."""

    code = "keys_unavailable"


class LoginBusy(DependencyUnavailable):
    """More sign-ins wait, for a password's check or for a provider, than the gate keeps waiting."""

    code = "login_busy"

    def __init__(self, detail: str = "", wait_s: float = 1.0) -> None:
        super().__init__(detail)
        self.wait_s = wait_s
        """When it is worth while to come back."""


class UpstreamError(ProxyError):
    """The server behind the gate failed."""

    code = "upstream_invalid"


class UpstreamUnreachable(UpstreamError):
    """No connection could be made, or it broke before a response began."""

    code = "upstream_unreachable"


class UpstreamDown(UpstreamError):
    """Every server of the upstream failed lately, or its checks do: nothing is sent to it (503)."""

    code = "upstream_down"


class UpstreamBusy(UpstreamError):
    """The upstream has as many connections as it may, and as many requests wait for one (503)."""

    code = "upstream_busy"


class UpstreamTimeout(UpstreamError):
    """The server did not answer in time."""

    code = "upstream_timeout"


class UpstreamInvalid(UpstreamError):
    """The server's answer is not HTTP that can be passed on."""

    code = "upstream_invalid"


class LengthRequired(ProxyError):
    """A body of unknown length cannot be sent to a server that speaks HTTP/1.0 (411)."""

    code = "length_required"


class TooManyAtOnce(ProxyError):
    """A route has as many requests under way as it may (429)."""

    code = "too_many_requests"


class TokenInvalid(ProxyError):
    """A token that opens nothing; `reason` tells the log why, the client sees the code only."""

    code = "token_invalid"


class TokenExpired(TokenInvalid):
    """The token was good once."""

    code = "token_expired"


class ProofInvalid(ProxyError):
    """A DPoP proof that proves nothing; the text tells the log why."""

    code = "proof_invalid"


class ProviderUnavailable(DependencyUnavailable):
    """An OpenID provider did not answer in time, or not at all."""

    code = "provider_unavailable"


class ProviderInvalid(ProxyError):
    """An OpenID provider said something that must not be believed; the text is for the log."""

    code = "provider_invalid"


class ProviderRefused(ProxyError):
    """An OpenID provider said no: to the person, or to a code or token that was shown to it."""

    code = "login_refused"

    def __init__(self, error: str) -> None:
        super().__init__(f"the provider answered {error}")
        self.error = error
        """The provider's word for it (RFC 6749 §4.1.2.1, §5.2)."""


class LoginUnknown(ProxyError):
    """A callback that belongs to no login that this browser has begun, or to one that is over."""

    code = "login_expired"


class SecretsError(ProxyError):
    """A sealed value could not be opened: wrong key, planted or damaged record (S10)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration, before it has a position."""

    path: tuple[str | int, ...]
    """Where: keys and indexes from the document's root."""
    message: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One mistake in a configuration file, ready to print."""

    file: str
    line: int
    column: int
    path: str
    message: str
    is_warning: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.message}"


class ConfigErrors(ProxyError):
    """Every mistake of a configuration file at once."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)
