"""What can be said of an application's sessions, by the format in which it keeps them.

Defaults are those of the framework, as it comes: an application may be set up differently, and
`latchgate inspect-session` shows what was assumed. What never belongs here: reading sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

COMMON: Final = frozenset({"cookie", "prefix", "store", "identity"})
"""Keys of every format but `native`."""
FASTIFY_COOKIE: Final = "sessionId"
"""The cookie of @fastify/session."""
LARAVEL_LOGIN: Final = "login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d"
"""Where the guard `web` keeps who signed in."""

COMPRESSOR_MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "zstd": ("compression.zstd", "backports.zstd"),
    "lz4": ("lz4.frame",),
}
"""Of each compressor that not every Python has, the modules of which one has to be there; the first is taken."""


@dataclass(frozen=True, slots=True)
class ForeignFormat:
    """One value of `schemes.*.format`, beside the keys of every one."""

    keys: frozenset[str] = frozenset()
    """Further keys that mean something."""
    required: tuple[str, ...] = ()
    """Keys that have no default."""
    serializers: tuple[str, ...] = ()
    """Values of `serializer`, the default first."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    """Where the framework itself keeps who signed in."""


FORMATS: Final[Mapping[str, ForeignFormat]] = {
    "json": ForeignFormat(required=("cookie", "identity")),
    "express": ForeignFormat(
        keys=frozenset({"secrets", "variant", "cookie_prefix", "id_length"}),
        required=("secrets", "identity"),
        defaults={"cookie": "connect.sid", "prefix": "sess:", "id_length": 32},
    ),
    "django": ForeignFormat(
        keys=frozenset({"serializer", "compressor"}),
        serializers=("pickle", "json", "msgpack"),
        defaults={"cookie": "sessionid", "prefix": ":1:django.contrib.sessions.cache"},
        identity={"subject": "_auth_user_id"},
    ),
    "flask": ForeignFormat(
        keys=frozenset({"secrets", "signer", "serializer", "id_length"}),
        serializers=("msgpack", "json", "pickle"),
        defaults={"cookie": "session", "prefix": "session:", "id_length": 43},
        identity={"subject": "_user_id"},
    ),
    "php": ForeignFormat(
        keys=frozenset({"serializer", "id_length", "id_bits"}),
        required=("identity",),
        serializers=("php", "php_serialize", "php_binary"),
        defaults={"cookie": "PHPSESSID", "prefix": "PHPREDIS_SESSION:", "id_length": 32},
    ),
    "laravel": ForeignFormat(
        keys=frozenset({"secrets", "serializer", "cipher", "encrypted"}),
        required=("cookie", "prefix", "secrets"),
        serializers=("php", "json"),
        identity={"subject": LARAVEL_LOGIN},
    ),
    "spring": ForeignFormat(
        keys=frozenset({"serializer", "attributes", "cookie_encoding", "jvm_route"}),
        serializers=("jdk", "json"),
        defaults={"cookie": "SESSION", "prefix": "spring:session:sessions:"},
        identity={"subject": "principal", "roles": "authorities"},
    ),
    "better-auth": ForeignFormat(
        keys=frozenset({"secrets"}),
        required=("secrets",),
        defaults={"cookie": "better-auth.session_token", "prefix": ""},
        identity={"subject": "user.id", "email": "user.email", "name": "user.name"},
    ),
    "aiohttp-session": ForeignFormat(
        keys=frozenset({"max_age"}),
        defaults={"cookie": "AIOHTTP_SESSION"},
        identity={"subject": "session.AIOHTTP_SECURITY"},
    ),
    "starsessions": ForeignFormat(
        required=("identity",), defaults={"cookie": "session", "prefix": "starsessions."}
    ),
    "rails": ForeignFormat(
        keys=frozenset({"id_length"}),
        required=("cookie", "prefix", "identity"),
        defaults={"id_length": 32},
    ),
}


def owners_of(key: str) -> list[str]:
    """Return the formats in which `key` means something."""
    return [name for name, known in FORMATS.items() if key in COMMON or key in known.keys]
