"""Sessions that real applications wrote, read back; and every hostile twin of them refused.

The recordings stand in session_fixtures; each says with which versions it was made.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from proxy.core.formats import (
    aiohttp_session,
    better_auth,
    django,
    express,
    flask,
    laravel,
    laravel_crypt,
    php,
    rails,
    serializations,
    spring,
    starsessions,
)
from proxy.core.formats.refusal import BadSession
from proxy.core.templates import claim_at

HERE = Path(__file__).parent / "session_fixtures"
BOUND = 1 << 20
KEY = laravel_crypt.decode_key("base64:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "AES-256-CBC")
SECRET = b"better-auth-golden-secret-32chars!!"
HEX = php.id_pattern(32, 4)


def recorded(name):
    return json.loads((HERE / f"{name}.json").read_text())


def bytes_of(entry):
    """Return what a key holds: bytes, or the fields of a hash."""
    if "value_b64" in entry:
        return base64.b64decode(entry["value_b64"])
    return {name: base64.b64decode(value) for name, value in entry["hash_b64"].items()}


def cookie_of(header):
    """Return the value of the one cookie in a header."""
    return header.partition("=")[2].encode()


class Php:
    """As the settings of an application say; each reader of this file looks like it."""

    prefix = "PHPREDIS_SESSION:"
    path = "user_id"

    def __init__(self, handler="php"):
        self.handler = handler

    def key(self, cookie):
        """Return the store's key, `None` where the cookie is refused."""
        found = php.session_id(cookie, HEX)
        return None if found is None else self.prefix + found

    def members(self, value):
        return php.read_session(value, self.handler, max_bytes=BOUND)


class Laravel:
    path = laravel.LOGIN_MEMBER

    def __init__(self, cipher=None):
        self.cipher = cipher

    def key(self, cookie):
        try:
            found = laravel.session_id(cookie, "laravel_session", (b"x" * 32, KEY), "AES-256-CBC")
        except laravel_crypt.BadPayload:
            return None
        return "laravel_database_laravel_cache:" + found

    def members(self, value):
        return laravel.read_session(value, "php", max_bytes=BOUND, keys=(KEY,), cipher=self.cipher)


class Spring:
    path = "principal"

    def __init__(self, serializer):
        self.serializer = serializer

    def key(self, cookie):
        found = spring.session_id(cookie, is_base64=True)
        return None if found is None else f"spring:session:sessions:{found}"

    def members(self, value):
        asked = {name: value.get(name) for name in spring.fields_of(self.serializer)}
        session = spring.read_session(asked, self.serializer, max_bytes=BOUND)
        assert session is not None
        return session.members if session.ends_at > 1795423080 else {}


class BetterAuth:
    path = "user.id"

    def key(self, cookie):
        return better_auth.token(cookie, (b"newer", SECRET))

    def members(self, value):
        wanted = "6QH1jdV2PDgU3SUK3DDn7GCpgva90Ju7"
        return better_auth.read_session(value, wanted, max_bytes=BOUND).members


class Aiohttp:
    path = aiohttp_session.IDENTITY_PATH

    def key(self, cookie):
        found = aiohttp_session.session_id(cookie)
        return None if found is None else f"AIOHTTP_SESSION_{found}"

    def members(self, value):
        return aiohttp_session.read_session(value, max_age=None, max_bytes=BOUND)[0]


class Starsessions:
    path = "user_id"

    def key(self, cookie):
        found = starsessions.session_id(cookie)
        return None if found is None else f"starsessions.{found}"

    def members(self, value):
        return starsessions.read_session(value, max_bytes=BOUND)


class Rails:
    path = "warden.user.user.key.0.0"

    def __init__(self, prefix):
        self.prefix = prefix

    def key(self, cookie):
        found = rails.private_id(cookie, 32)
        return None if found is None else self.prefix + found

    def members(self, value):
        return rails.read_session(value, max_bytes=BOUND)


class Express:
    def __init__(
        self, path="passport.user", prefix="sess:", variant="express", secret=b"keyboard cat"
    ):
        self.path, self.prefix, self.variant, self.secret = path, prefix, variant, secret

    def key(self, cookie):
        mark = b"s:" if self.variant == "express" else b""
        secrets = (b"newer", self.secret)
        found = express.session_id(cookie, secrets, express.id_pattern(32), mark=mark)
        return None if found is None else self.prefix + found

    def members(self, value):
        return express.read_session(value, self.variant, max_bytes=BOUND)[0]


class Django:
    path = django.USER_MEMBER

    def __init__(self, serializer="pickle", compressor="none", engine="cache"):
        self.serializer, self.compressor, self.engine = serializer, compressor, engine

    def key(self, cookie):
        found = django.session_id(cookie)
        return None if found is None else f":1:django.contrib.sessions.{self.engine}{found}"

    def members(self, value):
        return django.read_session(value, self.serializer, self.compressor, max_bytes=BOUND)


class Flask:
    def __init__(self, serializer="msgpack", path="user_id", length=43, secret=None):
        self.serializer, self.path, self.secret = serializer, path, secret
        self.pattern = flask.id_pattern(length)

    def key(self, cookie):
        if self.secret is None:
            found = flask.session_id(cookie, self.pattern)
        else:
            found = flask.signed_session_id(cookie, (b"newer", self.secret), self.pattern)
        return None if found is None else f"session:{found}"

    def members(self, value):
        return serializations.read_members(value, self.serializer, max_bytes=BOUND)


FLASK_KEY = b"flask-secret-key"
READERS = {
    "django-4.2-core-rediscache-pickle": Django(),
    "django-6.1-anonymous": Django(),
    "django-6.1-core-cached_db": Django(engine="cached_db"),
    "django-6.1-core-rediscache-pickle": Django(),
    "django-6.1-core-set_expiry": Django(),
    "django-redis-7.0-json": Django("json"),
    "django-redis-7.0-json-zlib": Django("json", "zlib"),
    "django-redis-7.0-pickle": Django(),
    "express-anonymous": Express(),
    "express-cr10-custom-name-prefix": Express("userId", "myapp:sess:"),
    "express-cr10-disablettl": Express(),
    "express-cr10-maxage-rolling": Express(),
    "express-cr10-noderedis5-passport": Express(),
    "express-cr7-ioredis-passport": Express(),
    "express-cr9-noderedis4-MISMATCH": Express(),
    "express-cr9-noderedis5-passport": Express(),
    "fastify-session-default": Express(
        "userId", variant="fastify", secret=b"a secret with minimum length of 32 characters"
    ),
    "flask-session-0.5-pickle-flasklogin": Flask("pickle", flask.USER_MEMBER, 36),
    "flask-session-0.5-pickle-signer": Flask("pickle", length=36, secret=FLASK_KEY),
    "flask-session-0.7-msgpack": Flask(),
    "flask-session-0.8-anonymous": Flask(path=flask.USER_MEMBER),
    "flask-session-0.8-json": Flask("json"),
    "flask-session-0.8-msgpack-flasklogin": Flask(path=flask.USER_MEMBER),
    "flask-session-0.8-msgpack-plain": Flask(),
    "flask-session-0.8-msgpack-signer": Flask(path=flask.USER_MEMBER, secret=FLASK_KEY),
    "aiohttp-session-redis-security": Aiohttp(),
    "better-auth-secondary-storage": BetterAuth(),
    "laravel-8-redis": Laravel(),
    "laravel-8-redis-session-encrypt": Laravel("AES-256-CBC"),
    "php-phpredis-default-php-handler": Php(),
    "php-phpredis-igbinary": Php(),
    "php-phpredis-object-and-reference": Php(),
    "php-phpredis-php_serialize": Php("php_serialize"),
    "rails-cache-store": Rails("_session_id:"),
    "rails-redis-actionpack": Rails("session:"),
    "rails-redis-session-store-json": Rails("myapp:session:"),
    "rails-redis-session-store-marshal": Rails("myapp:session:"),
    "spring-session-default-jdk-SYNTHETIC": Spring("jdk"),
    "spring-session-default-json-SYNTHETIC": Spring("json"),
    "spring-session-indexed-LOGGED-OUT-SYNTHETIC": Spring("jdk"),
    "starsessions-redis-default": Starsessions(),
}
NOBODY = {
    # Java's objects are not read: an application sets the attribute with the principal's name.
    "spring-session-default-jdk-SYNTHETIC",
    "spring-session-indexed-LOGGED-OUT-SYNTHETIC",
}
REFUSED = {
    "php-phpredis-igbinary": "igbinary",
    "rails-cache-store": "Marshal",
    "rails-redis-actionpack": "Marshal",
    "rails-redis-session-store-marshal": "Marshal",
}
ALIKE = {
    "url-encoded first char",
    "not url-encoded",
    "not url-encoded (accepted)",
    "other user agent (no such UA at login)",
    # A key that is gone, or a date that is past, is no matter of the cookie.
    "payload cookie.expires moved into the past (key alive)",
    "after the user's password was changed (redis key removed by app)",
}
"""Variants that say the same as the recorded cookie."""


def entry_of(fixture, name):
    """Return the session's own entry among the recorded ones."""
    key = READERS[name].key(cookie_of(fixture["cookie_header"]))
    entries = {entry["key"]: entry for entry in fixture["redis"]}
    assert key in entries
    return entries[key]


@pytest.mark.parametrize("name", READERS)
def test_a_recording_is_read_to_its_user(name):
    """The key, and whom the session names: or why it is not read (S12)."""
    fixture, reader = recorded(name), READERS[name]
    value = bytes_of(entry_of(fixture, name))
    if name in REFUSED:
        with pytest.raises(BadSession, match=REFUSED[name]):
            reader.members(value)
        return
    expected = None if name in NOBODY else fixture["expected"]["user_id"]

    assert expected == claim_at(reader.members(value), reader.path)


@pytest.mark.parametrize("name", READERS)
def test_s12_every_twin_of_a_cookie_is_refused(name):
    """Tampered, unsigned, quoted, private, in another base64: no key is asked for (S12).

    Two cookies of one name are no format's business (S2).
    """
    fixture, reader = recorded(name), READERS[name]
    own = reader.key(cookie_of(fixture["cookie_header"]))
    for variant in fixture.get("variants", ()):
        if variant["case"].startswith("duplicate"):
            continue
        if variant["case"] == "unknown key":  # whose key is not there
            assert own != reader.key(cookie_of(variant["cookie_header"]))
            continue
        expected = own if variant["case"] in ALIKE else None
        assert expected == reader.key(cookie_of(variant["cookie_header"])), variant["case"]


@pytest.mark.parametrize("name", sorted(set(READERS) - set(REFUSED)))
def test_a_recording_that_is_cut_names_nobody_else(name):
    """Every beginning of a record is refused, or names nobody or the same."""
    fixture, reader = recorded(name), READERS[name]
    whole = bytes_of(entry_of(fixture, name))
    user = claim_at(reader.members(whole), reader.path)
    fields = [None] if isinstance(whole, bytes) else list(whole)
    for field in fields:
        value = whole if field is None else whole[field]
        for end in range(len(value)):
            cut = value[:end] if field is None else whole | {field: value[:end]}
            try:
                found = claim_at(reader.members(cut), reader.path)
            except BadSession:
                continue
            assert found in (None, user)


def test_a_mark_ends_a_session_that_is_still_there():
    """better-auth refused the recorded session when its key was restored after the mark was made."""
    fixture = recorded("better-auth-secondary-storage")
    session = better_auth.read_session(
        bytes_of(fixture["redis"][0]), fixture["redis"][0]["key"], max_bytes=BOUND
    )
    mark = fixture["after_revoke_sessions"]["redis"][0]

    assert mark["key"] == better_auth.REVOKED + session.user_id
    assert better_auth.is_revoked(session, bytes_of(mark))
    assert fixture["session_key_restored_after_revoke_app_says"]["user"] is None


def test_what_a_logout_leaves_names_nobody():
    """aiohttp-session's key stays behind, and is empty."""
    left = recorded("aiohttp-session-redis-security")["redis_after_logout"][0]

    assert claim_at(Aiohttp().members(bytes_of(left)), Aiohttp.path) is None
