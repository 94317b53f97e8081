"""From a session scheme of the configuration to the format of its application's sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from proxy.config.models import SessionSchemeConfig
from proxy.core.formats import (
    aiohttp_session,
    better_auth,
    django,
    express,
    flask,
    json,
    laravel,
    laravel_crypt,
    php,
    rails,
    serializations,
    spring,
    starsessions,
)
from proxy.core.formats.port import Format


def format_of(scheme: SessionSchemeConfig) -> Format:
    """Return the format. Raises `ValueError` for a secret that cannot be one of it."""
    return _FORMATS[scheme.format](scheme)


def _secrets(scheme: SessionSchemeConfig) -> tuple[bytes, ...]:
    return tuple(secret.reveal_bytes() for secret in scheme.secrets)


def _php(scheme: SessionSchemeConfig) -> Format:
    handler = cast("php.Handler", scheme.serializer)
    return php.session_format(
        scheme.prefix, handler, length=scheme.id_length or 32, bits=scheme.id_bits
    )


def _laravel(scheme: SessionSchemeConfig) -> Format:
    keys = [laravel_crypt.decode_key(one.reveal(), scheme.cipher) for one in scheme.secrets]
    return laravel.session_format(
        scheme.prefix,
        cast("laravel.Serialization", scheme.serializer),
        cookie=scheme.cookie,
        keys=keys,
        cipher=scheme.cipher,
        is_encrypted=scheme.encrypted,
    )


def _spring(scheme: SessionSchemeConfig) -> Format:
    return spring.session_format(
        scheme.prefix,
        cast("spring.Serializer", scheme.serializer),
        attributes=tuple(scheme.attributes),
        is_base64=scheme.cookie_encoding == "base64",
        route=f".{scheme.jvm_route}" if scheme.jvm_route else "",
    )


def _express(scheme: SessionSchemeConfig) -> Format:
    mark = scheme.cookie_prefix
    if mark is None:
        mark = express.MARK if scheme.variant == "express" else ""
    return express.session_format(
        scheme.prefix,
        scheme.variant,
        secrets=_secrets(scheme),
        length=scheme.id_length or 32,
        mark=mark,
    )


def _django(scheme: SessionSchemeConfig) -> Format:
    serializer = cast("serializations.Serializer", scheme.serializer)
    return django.session_format(scheme.prefix, serializer, scheme.compressor)


def _flask(scheme: SessionSchemeConfig) -> Format:
    return flask.session_format(
        scheme.prefix,
        cast("serializations.Serializer", scheme.serializer),
        length=scheme.id_length or 43,
        secrets=_secrets(scheme) if scheme.signer else None,
    )


_FORMATS: Final[Mapping[str, Callable[[SessionSchemeConfig], Format]]] = {
    "json": lambda scheme: json.session_format(scheme.prefix),
    "express": _express,
    "django": _django,
    "flask": _flask,
    "php": _php,
    "laravel": _laravel,
    "spring": _spring,
    "better-auth": lambda scheme: better_auth.session_format(
        scheme.prefix, secrets=_secrets(scheme)
    ),
    "aiohttp-session": lambda scheme: aiohttp_session.session_format(
        scheme.prefix, max_age=scheme.max_age
    ),
    "starsessions": lambda scheme: starsessions.session_format(scheme.prefix),
    "rails": lambda scheme: rails.session_format(scheme.prefix, length=scheme.id_length or 32),
}
