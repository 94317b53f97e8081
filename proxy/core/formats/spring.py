"""Spring Session in Redis: a hash, each of whose fields is serialized on its own.

Its life in Redis is not the session's: the hash of an indexed repository outlives it by 300 s, and
a logout leaves the hash with `maxInactiveInterval` 0. What never belongs here: the serializations.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Final, Literal

from proxy.core.formats import java_values
from proxy.core.formats.port import MAX_RECORD_BYTES, Format, Reading
from proxy.core.formats.refusal import BadSession
from proxy.core.strict_json import BadJson, loads

Serializer = Literal["jdk", "json"]

PRINCIPAL_NAME: Final = (
    "org.springframework.session.FindByIndexNameSessionRepository.PRINCIPAL_NAME_INDEX_NAME"
)
"""The attribute in which an application says whose session it is."""
SECURITY_CONTEXT: Final = "SPRING_SECURITY_CONTEXT"

_ACCESSED: Final = "lastAccessedTime"
_INTERVAL: Final = "maxInactiveInterval"
_ATTRIBUTE: Final = "sessionAttr:"
_UUID: Final = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ANONYMOUS: Final = "AnonymousAuthenticationToken"


@dataclass(frozen=True, slots=True)
class SpringSession:
    """What a hash says."""

    ends_at: float
    """When it is over if nobody uses it; 0 for one that has been ended."""
    members: Mapping[str, Any]
    """Attributes by name, and `principal` and `authorities` where they can be told."""


def session_id(value: bytes, *, is_base64: bool, route: bytes = b"") -> str | None:
    """Return the id in a cookie's value, in base64 (servlets) or bare (WebFlux).

    `route` is the `jvmRoute` that the application appends. `None` if it is no UUID: a `:` would
    reach the keys beside the sessions.
    """
    if is_base64:
        try:
            bare = base64.b64decode(value, validate=True)
        except binascii.Error:
            return None
        if base64.b64encode(bare) != value:  # one id, one cookie
            return None
        value = bare
    value = value.removesuffix(route)
    return value.decode("ascii") if _UUID.fullmatch(value) else None


def fields_of(serializer: Serializer, attributes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the fields of the hash that are read, the session's own first."""
    context = (SECURITY_CONTEXT,) if serializer == "json" else ()
    names = dict.fromkeys((PRINCIPAL_NAME, *context, *attributes))
    return (_ACCESSED, _INTERVAL, *(_ATTRIBUTE + name for name in names))


def read_session(
    fields: Mapping[str, bytes | None], serializer: Serializer, *, max_bytes: int
) -> SpringSession | None:
    """Return what the fields say, `None` where there is no such session. Raises `BadSession`."""
    if sum(len(value) for value in fields.values() if value is not None) > max_bytes:
        raise BadSession(f"more than {max_bytes} bytes")
    decode = java_values.read if serializer == "jdk" else _json_reader(max_bytes)
    own = [fields.get(name) for name in (_ACCESSED, _INTERVAL)]
    if own == [None, None]:
        return None
    accessed, interval = (_whole(_decoded(decode, value)) for value in own)
    members = {
        name.removeprefix(_ATTRIBUTE): found
        for name, value in fields.items()
        if name.startswith(_ATTRIBUTE) and (found := _decoded(decode, value)) is not None
    }
    ends_at = inf if interval < 0 else accessed / 1000 + interval if interval else 0.0
    return SpringSession(ends_at, _with_principal(members))


def _json_reader(max_bytes: int) -> Callable[[bytes], Any]:
    def read(raw: bytes) -> Any:
        return loads(raw, max_bytes=max_bytes) if raw else None

    return read


def _decoded(decode: Callable[[bytes], Any], raw: bytes | None) -> Any:
    if raw is None:
        return None
    try:
        return decode(raw)
    except (java_values.BadJava, BadJson) as bad:
        raise BadSession(f"a field cannot be read: {bad}") from None


def _whole(value: Any) -> int:
    """Return a number, which Jackson may have put behind its class's name."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadSession("a time is missing")
    return value


def _with_principal(members: dict[str, Any]) -> dict[str, Any]:
    """Add whom the session is of. A context that is not authenticated is left out altogether."""
    name = members.get(PRINCIPAL_NAME)
    if SECURITY_CONTEXT in members:
        authentication = _signed_in(members[SECURITY_CONTEXT])
        if authentication is None:
            del members[SECURITY_CONTEXT]
            name = None
        else:
            name = name or _principal(authentication.get("principal"))
            members["authorities"] = _authorities(authentication.get("authorities"))
    members.pop("principal", None)
    if isinstance(name, str):
        members["principal"] = name
    return members


def _signed_in(context: Any) -> dict[str, Any] | None:
    authentication = context.get("authentication") if isinstance(context, dict) else None
    if not isinstance(authentication, dict) or authentication.get("authenticated") is not True:
        return None
    is_anonymous = str(authentication.get("@class", "")).endswith(_ANONYMOUS)
    return None if is_anonymous else authentication


def _principal(principal: Any) -> Any:
    return principal.get("username") if isinstance(principal, dict) else principal


def _authorities(value: Any) -> list[str]:
    """Return the names of the authorities, without Jackson's names of their classes."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[1], list):
        value = value[1]
    found = value if isinstance(value, list) else []
    names = [one.get("authority") for one in found if isinstance(one, dict)]
    return [name for name in names if isinstance(name, str)]


def session_format(
    prefix: str,
    serializer: Serializer,
    *,
    attributes: tuple[str, ...],
    is_base64: bool,
    route: str,
) -> Format:
    """Return the format of sessions under `prefix`, the namespace and `:sessions:`."""

    def read(fields: Mapping[str, bytes | None], _id: str) -> Reading | None:
        session = read_session(fields, serializer, max_bytes=MAX_RECORD_BYTES)
        return None if session is None else Reading(session.members, session.ends_at)

    return Format(
        "spring",
        prefix,
        partial(session_id, is_base64=is_base64, route=route.encode()),
        read,
        "a UUID, " + ("in base64" if is_base64 else "as it is"),
        fields=fields_of(serializer, attributes),
    )
