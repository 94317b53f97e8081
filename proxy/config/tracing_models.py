"""Section `tracing`: spans of requests for an OpenTelemetry collector."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import PlainValidator, WithJsonSchema

from proxy.config.addresses import HttpUrl
from proxy.config.secret import SecretValue
from proxy.config.strict import Section
from proxy.config.values import VARIABLE, Duration, Expanded, FilePath, Text, Token


def parse_share(value: object) -> float:
    """Return a share between 0 and 1."""
    sentence = "must be a number from 0 to 1, such as 0.1"
    if isinstance(value, bool) or not isinstance(value, int | float | Expanded):
        raise ValueError(sentence)
    try:
        share = float(value)
    except ValueError:
        raise ValueError(sentence) from None
    if not 0 <= share <= 1:
        raise ValueError(sentence)
    return share


Share = Annotated[
    float,
    PlainValidator(parse_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": VARIABLE},
            ]
        }
    ),
]


class TracingConfig(Section):
    """Spans of requests, sent to a collector over OTLP/HTTP. Needs `pip install 'latchgate[otel]'`."""

    endpoint: HttpUrl
    """Where spans are sent over OTLP/HTTP, with its path: `http://127.0.0.1:4318/v1/traces`."""
    sample: Share = 0.01
    """The share of requests without a parent of which spans are made."""
    parents: Literal["trusted", "everyone", "nobody"] = "trusted"
    """Whose `traceparent` is followed, and with it whether spans are made: that of
    `server.trusted_proxies`, of everyone, or nobody's. Any other is replaced."""
    service: Text = "latchgate"
    """The name of this gate in traces (`service.name`)."""
    headers: dict[Token, SecretValue] = {}
    """What the collector wants to be sent with them, such as an `Authorization`; needs https unless
    it is on this machine."""
    ca: FilePath | None = None
    """Authorities in PEM that may have signed the collector's certificate; default the usual ones."""
    timeout: Duration = 10.0
    """How long the collector may take for a batch; what cannot be sent by then is lost."""
