"""`tests:` of the configuration: what must become of a request, checked before anything starts."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from proxy.codes import CODES
from proxy.config.request_line import parse_request_line
from proxy.config.strict import Section
from proxy.config.values import DurationOrZero, Name, Text, not_empty, parse_text, unique

FORWARD: Final = "forward"
"""The request is let through: the application would receive it."""
SOMEBODY: Final = "somebody"
"""The subject of an `as:` that names none."""
_STATUSES: Final = frozenset({200, *(info.status for info in CODES.values())})


def parse_expectation(value: object) -> str | int:
    """Return `forward`, a stable code, or a status that the gate can answer with."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be forward, a status such as 403, or a code such as role_missing")
    if isinstance(value, int):
        if value not in _STATUSES:
            raise ValueError("must be 200 (let through) or a status of the gate's own answers")
        return value
    text = parse_text(value)
    if text != FORWARD and text not in CODES:
        near = difflib.get_close_matches(text[:64], (FORWARD, *CODES), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise ValueError(f"must be forward, a status, or a code of docs/codes.md{hint}")
    return text


def _parse_request(value: object) -> str:
    text = parse_text(value)
    parse_request_line(text)
    return text


Names = Annotated[list[Text], AfterValidator(unique), AfterValidator(not_empty)]


class PolicyActor(Section):
    """Who makes a test's request: somebody whose credential of a scheme is good."""

    scheme: Name
    """The scheme whose credential the request carries."""
    subject: Text = SOMEBODY
    """Who it is, as the scheme would have it (with `subject: "{iss}|{sub}"` the whole text)."""
    email: Text | None = None
    """The e-mail address."""
    name: Text | None = None
    """The name to show."""
    roles: Names | None = None
    """Roles; absent: none."""
    scopes: Names | None = None
    """Scopes; absent: none."""
    claims: dict[Text, Any] = {}
    """What else the record or token says: for `require.claims` and templates."""
    login_age: DurationOrZero | None = None
    """How long ago they proved who they are, for `mfa_within` and `login_within`; absent: nothing
    says when."""
    amr: Names | None = None
    """How they proved it (RFC 8176), such as `[pwd, otp]`; absent: nothing says how."""


class PolicyTest(Section):
    """A request, who makes it, and what must become of it."""

    request: Annotated[
        str,
        PlainValidator(_parse_request),
        WithJsonSchema({"type": "string", "examples": ["GET /api/orders/1"]}),
    ]
    """Method and path, such as `GET /api/orders/1`; or method and URL, where host or scheme matter.
    Without a host it is that of `server.public_url`, else the only host that routes name, else
    `localhost`."""
    as_: PolicyActor | None = Field(default=None, alias="as")
    """Who makes the request; absent: nobody who has said who they are."""
    expect: Annotated[
        str | int,
        PlainValidator(parse_expectation),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": [FORWARD, *CODES]},
                    {"type": "integer", "enum": sorted(_STATUSES)},
                ]
            }
        ),
    ]
    """`forward` or `200`: it is let through. A status or a code: it is refused with that."""
