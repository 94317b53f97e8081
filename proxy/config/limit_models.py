"""What a route takes: a rate, a number of requests at once, the length of a body."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from proxy.config.strict import Section
from proxy.config.upstream_models import OTHER, WORD, word_or_other
from proxy.config.values import VARIABLE, Count, Size, Token, matching

_RATE: Final = r"([1-9][0-9]{0,8})/([1-9][0-9]{0,4})?(s|m|h|d)"
_PERIODS: Final = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}

RateText = Annotated[
    str,
    PlainValidator(
        matching(_RATE, "must be a number and a time, such as 100/s, 600/m, 1000/h or 5/10m")
    ),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^[1-9][0-9]*/[0-9]*(s|m|h|d)$|{VARIABLE}",
            "examples": ["100/s"],
        }
    ),
]


def parse_rate(text: str) -> tuple[int, float]:
    """Return how many a rate allows in how many seconds: `100/s`, `5/10m`. Raises ValueError."""
    match = re.fullmatch(_RATE, text)
    if match is None:
        raise ValueError("not a rate")
    return int(match[1]), float(match[2] or 1) * _PERIODS[match[3]]


class HeaderKey(Section):
    """Names a header."""

    header: Token
    """The header whose value it is: the client's own word, unless a proxy before the gate sets
    it."""


class RouteLimitsConfig(Section):
    """What the route takes; what is beyond never reaches the application."""

    rate: RateText | None = None
    """Requests in a time, all at once or spread: `100/s`, `600/m`, `1000/h`, `5/10m`. Beyond: 429
    `too_many_requests`."""
    per: Annotated[
        Annotated[Literal["subject", "address"], Tag(WORD)] | Annotated[HeaderKey, Tag(OTHER)],
        Discriminator(word_or_other),
    ] = "subject"
    """Whose requests are counted together. Who has no subject or header counts by address; a /64 of
    IPv6 is one."""
    in_: Literal["store", "worker"] = Field("worker", alias="in")
    """`store`: all workers and gates count together; while it is away, each worker by itself.
    `worker`: each for itself."""
    parallel: Count | None = None
    """Requests under way at once, in each worker, tunnels included. Beyond: 429
    `too_many_requests`."""
    body_size: Size | None = None
    """The longest body of a request, in place of `server.limits.body_size`. Beyond: 413."""
