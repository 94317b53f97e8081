"""Every key of the file is compared, or stated to let nobody in: by a walk over all of its models."""

from __future__ import annotations

import datetime as dt
import types
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from proxy.config.models import Config, MatchConfig, RolesRule, RouteConfig, Secret
from proxy.config.route_models import ModeConfig, ReportConfig
from proxy.services.effects import effects_of
from proxy.services.strictness import HARMLESS, IN_PARTS

SECRET = "s" * 64
FULL = {
    "server": {
        "tls": {"cert": "c", "key": "k", "certificates": [{"cert": "c", "key": "k"}]},
        "hsts": {},
        "response_headers": {},
        "proxy_protocol": {"from": ["10.0.0.0/8"]},
    },
    "health": {},
    "admin": {"listen": "127.0.0.1:1", "token": SECRET},
    "decision": {
        "listen": "127.0.0.1:2",
        "callers": [{"from": "127.0.0.1", "dialect": "nginx"}],
    },
    "redirect": {"listen": "127.0.0.1:3"},
    "store": {
        "url": "redis://127.0.0.1:1/0",
        "on_outage": {"serve_cached": "30s"},
        "durability": {"replicas": 1},
    },
    "upstreams": {
        "app": {"servers": ["http://127.0.0.1:4"], "health": {"path": "/up"}},
        "hashed": {
            "servers": ["http://127.0.0.1:5", "http://127.0.0.1:6"],
            "balance": {"hash": {"cookie": "c"}},
        },
        "other": {"servers": ["http://127.0.0.1:7"]},
    },
    "schemes": {
        "web": {"type": "session", "format": "json", "cookie": "sid", "identity": {"subject": "u"}},
        "api": {"type": "jwt", "keys": {"secret": SECRET}, "from": ["bearer"]},
        "cert": {"type": "mtls", "subject": "uri", "roles": {"ann": ["a"]}},
    },
    "tokens": {"issuer": "https://i.test", "audience": "a", "otp": {"after": "1h"}},
    "secrets": {"key": "0" * 64},
    "login": {
        "scheme": "web",
        "users": {"file": "users"},
        "providers": {"idp": {"issuer": "https://p.test", "client_id": "c"}},
        "administrators": {"roles": ["boss"]},
    },
    "clients": {"robot": {"secret": SECRET}},
    "routes": [
        {
            "name": "one",
            "match": {"host": "a.test", "path": "/a/**", "methods": ["GET"]},
            "auth": ["web", "api", "cert"],
            "dpop": "required",
            "require": {
                "roles": ["a"],
                "scopes": ["s"],
                "claims": {"c": "v", "d": {"all": ["v"]}},
                "mfa_within": "5m",
                "login_within": "5m",
            },
            "upstream": "app",
            "strip_prefix": "/a",
            "cors": {"origins": ["https://b.test"]},
            "limits": {"rate": "1/s", "per": {"header": "x"}},
            "mode": {"report": {"until": "2999-01-01"}},
        },
        {
            "name": "two",
            "match": {"path": "/b"},
            "auth": ["api"],
            "require": {"roles": {"all": ["a"]}},
            "upstream": "hashed",
        },
    ],
    "tests": [{"request": "GET /a", "as": {"scheme": "web"}, "expect": "forward"}],
    "tracing": {"endpoint": "http://127.0.0.1:1/t"},
}
"""Each section that a file can have, at least once."""

OTHERWISE = {
    (MatchConfig, "path"): "/a/c",
    (MatchConfig, "methods"): ["PUT"],
    (MatchConfig, "host"): "b.test",
    (RouteConfig, "auth"): ["cert"],
    (RouteConfig, "strip_prefix"): None,
    (RouteConfig, "mode"): ModeConfig(report=ReportConfig(until=dt.date(2999, 1, 1))),
    (RolesRule, "any"): ["b"],
    (RolesRule, "all"): ["b"],
    (ReportConfig, "until"): dt.date(2998, 1, 1),
    (RouteConfig, "allow_paths"): ["semicolon"],
    (RouteConfig, "upstream"): "other",
}
"""What has to be what it says, since it is asked about."""


PARTS = {(Config, name) for name in IN_PARTS}
"""What has no value of its own."""


def other(model, name):
    """Return another value for a key than the one that it has."""
    if (type(model), name) in OTHERWISE:
        return OTHERWISE[type(model), name]
    value = getattr(model, name)
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case Path():
            return Path("other")
        case Secret():
            return Secret("other")
        case str():
            words = [
                word
                for word in _arguments(type(model).model_fields[name].annotation)
                if isinstance(word, str) and word != value
            ]
            return words[0] if words else value + "x"
        case list():
            return [] if value else ["other"]
        case dict():
            return {} if value else {"other": "other"}
        case None:
            return 7.0
    return "other"


def _arguments(annotation):
    found = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        yield from found
        return
    for one in found:
        yield from _arguments(one)


def changed(node, is_harmless=False):
    """Yield, for each key at or below `node`: its place, whether it is harmless, and `node` without what it was."""
    if isinstance(node, BaseModel):
        for name in type(node).model_fields:
            harmless = is_harmless or name in HARMLESS.get(type(node), ())
            value = getattr(node, name)
            place = (type(node), name)
            if not isinstance(value, BaseModel) and place not in PARTS:
                yield place, harmless, node.model_copy(update={name: other(node, name)})
            for where, is_so, made in changed(value, harmless):
                yield where, is_so, node.model_copy(update={name: made})
    elif isinstance(node, dict):
        for key, value in node.items():
            for where, is_so, made in changed(value, is_harmless):
                yield where, is_so, node | {key: made}
    elif isinstance(node, list):
        for index, value in enumerate(node):
            for where, is_so, made in changed(value, is_harmless):
                yield where, is_so, [*node[:index], made, *node[index + 1 :]]


def instances(node):
    """Yield the model of each section that there is."""
    if isinstance(node, BaseModel):
        yield type(node)
        for name in type(node).model_fields:
            yield from instances(getattr(node, name))
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from instances(value)


def models(annotation, found):
    """Add each model that a value of the annotation can be, or have in it, to `found`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in found:
            found.add(annotation)
            for info in annotation.model_fields.values():
                models(info.annotation, found)
    elif typing.get_origin(annotation) is not None or isinstance(annotation, types.UnionType):
        for one in typing.get_args(annotation):
            models(one, found)
    return found


@pytest.fixture(scope="module")
def full():
    """Give the configuration, which nothing has to be able to run."""
    return Config.model_validate(FULL, context={"base": Path()})


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_change_of_any_key_is_told_or_stated_to_let_nobody_in(full):
    """In one of the two directions it may open, where somebody uses it; what is harmless asks nobody."""
    harmless, others, told = set(), set(), set()
    for place, is_harmless, made in changed(full):
        (harmless if is_harmless else others).add(place)
        if effects_of(full, made).may_open or effects_of(made, full).may_open:
            told.add(place)
    assert not others - told
    assert not (harmless - others) & told


def test_the_walk_comes_by_every_model_that_a_file_can_have(full):
    """A new section has to be put into it."""
    assert models(Config, set()) <= set(instances(full))


def test_what_is_harmless_is_a_key_and_has_a_reason():
    """None is of a model of yesterday."""
    for model, keys in HARMLESS.items():
        assert set(keys) <= set(model.model_fields)
        assert all(keys.values())
