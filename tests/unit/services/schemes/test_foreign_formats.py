from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from proxy.config.models import SessionSchemeConfig
from proxy.services.schemes.foreign_formats import format_of

FIXTURES = Path(__file__).parents[3] / "contract" / "session_fixtures"
RECORDED_AT = 1_795_423_080.0
APP_KEY = "base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
LARAVEL = {
    "format": "laravel",
    "cookie": "laravel_session",
    "prefix": "laravel_database_laravel_cache:",
    "secrets": ["x" * 32, APP_KEY],
}
FLASK = {"format": "flask", "secrets": ["newer", "flask-secret-key"], "signer": True}
EXPRESS = {
    "format": "express",
    "secrets": ["newer", "keyboard cat"],
    "identity": {"subject": "passport.user"},
}
RECORDED = {
    "express-cr10-noderedis5-passport": EXPRESS,
    "express-cr10-custom-name-prefix": {
        **EXPRESS,
        "cookie": "app.sid",
        "prefix": "myapp:sess:",
        "identity": {"subject": "userId"},
    },
    "fastify-session-default": {
        "format": "express",
        "variant": "fastify",
        "secrets": "a secret with minimum length of 32 characters",
        "identity": {"subject": "userId"},
    },
    "django-6.1-core-rediscache-pickle": {"format": "django"},
    "django-6.1-core-cached_db": {
        "format": "django",
        "prefix": ":1:django.contrib.sessions.cached_db",
    },
    "django-redis-7.0-json-zlib": {
        "format": "django",
        "serializer": "json",
        "compressor": "zlib",
    },
    "flask-session-0.5-pickle-signer": {
        **FLASK,
        "serializer": "pickle",
        "id_length": 36,
        "identity": {"subject": "user_id"},
    },
    "flask-session-0.8-msgpack-flasklogin": {"format": "flask"},
    "flask-session-0.8-msgpack-signer": FLASK,
    "flask-session-0.8-json": {
        "format": "flask",
        "serializer": "json",
        "identity": {"subject": "user_id"},
    },
    "aiohttp-session-redis-security": {"format": "aiohttp-session"},
    "better-auth-secondary-storage": {
        "format": "better-auth",
        "secrets": ["newer", "better-auth-golden-secret-32chars!!"],
    },
    "laravel-8-redis": LARAVEL,
    "laravel-8-redis-session-encrypt": {**LARAVEL, "encrypted": True},
    "php-phpredis-default-php-handler": {"format": "php", "identity": {"subject": "user_id"}},
    "php-phpredis-php_serialize": {
        "format": "php",
        "serializer": "php_serialize",
        "identity": {"subject": "user_id"},
    },
    "rails-redis-session-store-json": {
        "format": "rails",
        "cookie": "_myapp_session",
        "prefix": "myapp:session:",
        "identity": {"subject": "warden.user.user.key.0.0"},
    },
    "spring-session-default-json-SYNTHETIC": {"format": "spring", "serializer": "json"},
    "starsessions-redis-default": {
        "format": "starsessions",
        "identity": {"subject": "user_id"},
    },
}


def bytes_of(entry):
    if "value_b64" in entry:
        return base64.b64decode(entry["value_b64"])
    return {name: base64.b64decode(value) for name, value in entry["hash_b64"].items()}


def cookie_of(recorded):
    return recorded["cookie_header"].partition("=")[2].encode()


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_session_opens_its_scheme(application, name):
    """From configuration, cookie and store to whom the application itself saw; gone with its key."""
    fixture = json.loads((FIXTURES / f"{name}.json").read_text())
    app = application(**RECORDED[name])
    for entry in fixture["redis"]:
        value = entry.get("value_b64") or entry.get("hash_b64")
        if isinstance(value, dict):
            app.store.hset(entry["key"], mapping=bytes_of(entry))
        elif value is not None:
            app.store.set(entry["key"], bytes_of(entry))
    cookie = cookie_of(fixture)
    assert str(fixture["expected"]["user_id"]) == await app.judge(cookie, RECORDED_AT)
    for variant in fixture.get("variants", ()):
        alike = cookie_of(variant) == cookie
        if variant["case"].startswith("duplicate") or variant["app_user"] is not None or alike:
            continue
        assert "session_unknown" == await app.judge(cookie_of(variant), RECORDED_AT), variant[
            "case"
        ]
    async with app.change():
        app.store.delete(*(entry["key"] for entry in fixture["redis"]))
    assert "session_unknown" == await app.judge(cookie, RECORDED_AT)


def test_a_secret_that_cannot_be_a_key_is_told():
    """The text says what is wrong with it, and not what it is."""
    scheme = SessionSchemeConfig(type="session", **{**LARAVEL, "secrets": ["base64:AAAA"]})
    with pytest.raises(ValueError, match="has 3 bytes") as told:
        format_of(scheme)
    assert "AAAA" not in str(told.value)


async def test_s2_the_format_says_what_its_application_makes_of_a_name(application):
    """S2: PHP folds names of cookies, under Laravel too; nobody else does."""
    for name in ("laravel-8-redis", "php-phpredis-default-php-handler"):
        assert format_of(application(**RECORDED[name]).settings).folding == "php"
    assert format_of(application(format="django").settings).folding == "exact"
