"""What the configuration adds to answers and takes from them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

from proxy.config.strict import Section
from proxy.config.values import DurationOrZero, Flag, Text, Token, unique

MAX_VALUE: Final = 4096
"""Characters of a header's value; it goes with every answer."""


def _parse_value(value: str) -> str:
    """Return a field value (RFC 9110 §5.5) of printable ASCII, without white space around it."""
    if not value.isascii():  # control characters are in no text
        raise ValueError("must have no characters beyond ASCII")
    if value != value.strip():
        raise ValueError("must neither begin nor end with a space")
    if len(value) > MAX_VALUE:
        raise ValueError(f"must have at most {MAX_VALUE} characters")
    return value


class ResponseHeadersConfig(Section):
    """Headers of answers, set or taken out after the gate's own rules."""

    set: dict[Token, Annotated[Text, AfterValidator(_parse_value)]] = {}
    """Header name and value, in the place of the application's, beside what the gate itself
    says."""
    remove: Annotated[list[Token], AfterValidator(unique)] = []
    """Headers that do not reach the client: the application's, and in a route those of
    `server.response_headers`."""


class HstsConfig(Section):
    """Strict-Transport-Security (RFC 6797) on answers to clients that use https, and on no others."""

    max_age: DurationOrZero = 365 * 86_400.0
    """How long browsers come by https only; `0s` makes them forget it."""
    subdomains: Flag = False
    """Whether that holds for every host below as well."""
    preload: Flag = False
    """Whether browsers may know it beforehand. Needs `subdomains`, and a year or more."""
