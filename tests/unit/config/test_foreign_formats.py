from __future__ import annotations

import typing

import pytest

from proxy.config.foreign_formats import COMMON, FORMATS, owners_of
from proxy.config.models import SessionSchemeConfig

HEAD = 'upstreams: {shop: {servers: ["http://a"]}}\nroutes: [{auth: none, upstream: shop}]\n'


def test_every_format_of_the_models_is_described():
    """A format that can be written is one that the checks and the completion know."""
    words = typing.get_args(SessionSchemeConfig.model_fields["format"].annotation)
    assert {"native", *FORMATS} == set(words)


def test_every_key_of_a_format_is_one_of_the_models():
    """What the table says of a key is said of one that exists."""
    known = SessionSchemeConfig.model_fields.keys()
    for name, form in FORMATS.items():
        named = {*COMMON, *form.keys, *form.required, *form.defaults}
        assert named <= known, name
        assert set(form.required) <= COMMON | form.keys, name
        assert not set(form.required) & set(form.defaults), name


def test_a_key_says_where_it_belongs():
    """Messages name every format that has the key."""
    assert ["aiohttp-session"] == owners_of("max_age")
    assert list(FORMATS) == owners_of("cookie")


@pytest.mark.parametrize(
    ("scheme", "cookie", "prefix", "subject"),
    [
        ("php, identity: {subject: uid}", "PHPSESSID", "PHPREDIS_SESSION:", "uid"),
        ("django", "sessionid", ":1:django.contrib.sessions.cache", "_auth_user_id"),
        ("flask", "session", "session:", "_user_id"),
        ("express, secrets: x, identity: {subject: u}", "connect.sid", "sess:", "u"),
        (
            "express, variant: fastify, secrets: x, identity: {subject: u}",
            "sessionId",
            "sess:",
            "u",
        ),
        ("spring", "SESSION", "spring:session:sessions:", "principal"),
        ("better-auth, secrets: x", "better-auth.session_token", "", "user.id"),
        ("aiohttp-session", "AIOHTTP_SESSION", "AIOHTTP_SESSION_", "session.AIOHTTP_SECURITY"),
        ("aiohttp-session, cookie: S", "S", "S_", "session.AIOHTTP_SECURITY"),
        ("starsessions, identity: {subject: u}", "session", "starsessions.", "u"),
        ("spring, identity: {email: mail}", "SESSION", "spring:session:sessions:", "principal"),
    ],
)
def test_a_framework_as_it_comes_needs_little(reading, scheme, cookie, prefix, subject):
    """What is not written is what the framework does unless it is told otherwise."""
    text = f"{HEAD}schemes: {{a: {{type: session, store: 'redis://apps', format: {scheme}}}}}\n"
    found = reading.config(text).schemes["a"]
    assert (cookie, prefix, subject) == (found.cookie, found.prefix, found.identity.subject)
