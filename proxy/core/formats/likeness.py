"""Which application a cookie's value looks like: a hint for people, never a decision."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_B64: Final = rb"[A-Za-z0-9+/]"
_LIKE: Final = (
    (re.compile(rb"s:[^.]+\." + _B64 + rb"{43}"), "express", "express-session: s:<id>.<signature>"),
    (
        re.compile(rb"[A-Za-z0-9_-]{32}\." + _B64 + rb"{43}"),
        "express",
        "@fastify/session: <id>.<signature>",
    ),
    (
        re.compile(rb"[A-Za-z0-9]{32}\." + _B64 + rb"{43}="),
        "better-auth",
        "better-auth: <token>.<signature>",
    ),
    (re.compile(rb"eyJpdiI6" + _B64 + rb"+={0,2}"), "laravel", "an encrypted cookie of Laravel"),
    (
        re.compile(rb"[A-Za-z0-9_-]{36,43}\.[A-Za-z0-9_-]{27}"),
        "flask",
        "Flask-Session with a signer",
    ),
    (
        re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        "spring",
        "a UUID: Spring (WebFlux), old Flask-Session",
    ),
    (re.compile(_B64 + rb"{48}"), "spring", "a UUID in base64: Spring Session (servlets)"),
    (re.compile(rb"[A-Za-z0-9_-]{43}"), "flask", "Flask-Session, or a session of the gate's own"),
    (
        re.compile(rb"[0-9a-f]{32}"),
        "rails",
        "32 hexadecimal letters: PHP, Rails, aiohttp-session, starsessions",
    ),
    (re.compile(rb"[a-z0-9]{32}"), "django", "32 letters and digits: Django"),
    (re.compile(rb"[0-9a-v]{26}"), "php", "26 letters: PHP as Debian sets it up"),
    (
        re.compile(rb"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+){0,2}"),
        "",
        "a JSON Web Token: no session in a store, but a scheme of `type: jwt`",
    ),
    (
        re.compile(rb"\.?eyJ?[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}"),
        "",
        "the whole session, signed, in the cookie itself (Flask, Starlette): there is none in a store",
    ),
    (
        re.compile(rb"Fe26\.2\*.+"),
        "",
        "a sealed cookie of iron-session: there is no session in a store",
    ),
)


def likeness_of(value: bytes) -> list[tuple[str, str]]:
    """Return formats (empty: none of a store) and words for what `value` looks like, likely first."""
    bare = unquote_to_bytes(value).strip(b'"')
    return [(form, words) for pattern, form, words in _LIKE if pattern.fullmatch(bare)]
