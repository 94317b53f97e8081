"""Attacks on the gate's word: identity headers in every spelling, through servers that fold."""

from __future__ import annotations

import itertools
import random

import pytest

from proxy.core.forwarding import ForwardingPolicy
from proxy.core.headers import IDENTITY_NAMES, HeaderRules, compile_pass_headers, fold
from proxy.core.identity import PRESETS, IdentityPlan
from proxy.model import Identity, Peer, RequestView
from tests.backends.running import running

MARK = b"mallory"
PUNCTUATION = "!#$%&'*+-.^_`|~"
"""All that a field name may hold beside letters and digits (RFC 9110 §5.6.2)."""

PLANS = [
    IdentityPlan({"X-Remote-User": "{sub}", "X-Tenant": "{tenant}"}),
    *(IdentityPlan({}, preset) for preset in PRESETS),
]
NAMES = sorted(frozenset().union(*(plan.names for plan in PLANS)))
RULES = HeaderRules(NAMES)
IDENTITY = Identity(
    "https://id.example.com/",
    "alice",
    "web",
    email="alice@example.com",
    name="Alice",
    roles=("customer",),
    scopes=("read",),
    claims={"tenant": "acme", "preferred_username": "alice"},
)
STRANGER = Peer("203.0.113.7", 4711, is_unix=False, is_tls=False, local_port=8080)


@pytest.fixture(scope="module", params=["wsgi", "cgi"])
def backend(request):
    """Run a real application behind a real server that folds names."""
    with running(request.param) as started:
        yield started


def spellings(name):
    """Return `name` with each gap filled by each mark, and in several cases."""
    words = name.split("-")
    written = {mark.join(words) for mark in PUNCTUATION}
    written |= {
        "".join(itertools.chain(*zip(words, marks, strict=False)))
        for marks in itertools.product("-_.", repeat=len(words) - 1)
        for marks in [(*marks, "")]
    }
    written |= {form(text) for text in written for form in (str.upper, str.lower, str.swapcase)}
    return sorted(written)


def variable(name):
    """Return the environ's name of a header, as the widest server makes it."""
    return "HTTP_" + fold(name.encode()).replace(b"-", b"_").decode().upper()


def sent(headers, *, rules=RULES, is_trusted=False, passed=frozenset(), plan=PLANS[0]):
    """Return what the upstream is sent for a client's `headers`: cleaned, then the gate's own."""
    view = RequestView("GET", b"/", tuple(headers), STRANGER)
    forwarding = ForwardingPolicy()
    client = forwarding.read(view)
    return [
        (b"Host", b"app"),
        *rules.strip(headers, is_trusted=is_trusted, passed=passed),
        *forwarding.write(view, client, gate_id="gate", request_id="r"),
        *plan.render(IDENTITY),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_h1_no_spelling_of_an_identity_header_reaches_the_environ(backend, name):
    """What a client sends under any spelling of the gate's names is gone (field.md §3 #6, #9)."""
    headers = [(text.encode(), MARK) for text in spellings(name)]

    environ = backend.environ(sent(headers))

    assert [] == [key for key, value in environ.items() if "mallory" in value]


@pytest.mark.parametrize("name", ["X-Auth-Subject", "Remote-User", "X-Forwarded-User"])
def test_the_back_ends_fold_names_that_nobody_cleaned(backend, name):
    """Without the gate the spoofed spelling arrives: the test above can fail."""
    environ = backend.environ([(name.replace("-", "_").encode(), MARK)])

    assert environ[variable(name)] == "mallory"


def test_h1_php_folds_dots_as_this_cgi_server_does():
    """A dot makes the same variable as a hyphen there (field.md §3 #9)."""
    with running("cgi") as cgi:
        environ = cgi.environ([(b"X.Auth.Subject", MARK)])

    assert environ["HTTP_X_AUTH_SUBJECT"] == "mallory"


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: ",".join(sorted(plan.names))[:40])
def test_h1_the_environ_says_the_gates_word_alone(backend, plan):
    """Each identity variable has exactly the gate's value, however often it was sent."""
    spoofed = [(text.encode(), MARK) for name in sorted(plan.names) for text in spellings(name)]
    random.Random(7).shuffle(spoofed)

    environ = backend.environ(sent(spoofed, plan=plan))

    assert {variable(name.decode()): value.decode() for name, value in plan.render(IDENTITY)} == {
        key: value
        for key, value in environ.items()
        if key in {variable(name) for name in plan.names}
    }


def test_h1_a_public_route_tells_nobodys_identity(backend):
    """Without an identity there is none in the environ either (field.md §3 #13, #27)."""
    headers = [(text.encode(), MARK) for name in IDENTITY_NAMES for text in spellings(name)]

    environ = backend.environ(RULES.strip(headers, is_trusted=False))

    assert [] == [key for key in environ if key.startswith("HTTP_")]


def test_h2_no_override_reaches_the_environ(backend):
    """Nothing that rewrites method, path or script name, and no `Proxy`, arrives (httpoxy)."""
    names = [
        "X-Original-URL",
        "X-Original-URI",
        "X-Original-Method",
        "X-Rewrite-URL",
        "X-HTTP-Method",
        "X-HTTP-Method-Override",
        "X-Method-Override",
        "X-Script-Name",
        "Proxy",
        "X-Forwarded-Client-Cert",
        "Client-Cert",
        "Client-Cert-Chain",
        "Ssl-Client-Verify",
        "Ssl-Client-Cert",
        "Ssl-Client-S-Dn",
    ]
    headers = [(text.encode(), MARK) for name in names for text in spellings(name)]

    environ = backend.environ(sent(headers))

    assert [] == [key for key, value in environ.items() if "mallory" in value]


def test_h2_forwarding_headers_of_strangers_are_rebuilt(backend):
    """Every spelling goes, and the application sees the gate's own (field.md §3 #10, #11, #40)."""
    names = [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-User",
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-Server",
        "X-Forwarded-Ssl",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "X-Client-IP",
        "CF-Connecting-IP",
        "X-Request-Id",
    ]
    headers = [(text.encode(), MARK) for name in names for text in spellings(name)]

    environ = backend.environ(sent([(b"Host", b"shop.example.com"), *headers]))

    assert [] == [key for key, value in environ.items() if "mallory" in value]
    assert environ["HTTP_X_FORWARDED_FOR"] == "203.0.113.7"
    assert environ["HTTP_X_FORWARDED_HOST"] == "shop.example.com"
    assert environ["HTTP_X_FORWARDED_PROTO"] == "http"


def test_h2_a_trusted_proxys_other_spellings_do_not_pass(backend):
    """From trusted peers too only the exact X-Real-IP passes: the client wrote the others."""
    spoofed = [(text.encode(), MARK) for text in spellings("X-Real-IP")]
    others = [header for header in spoofed if header[0].lower() != b"x-real-ip"]

    environ = backend.environ(sent([*others, (b"X-Real-IP", b"192.0.2.1")], is_trusted=True))

    assert environ["HTTP_X_REAL_IP"] == "192.0.2.1"


def test_h1_pass_headers_lets_one_spelling_through(backend):
    """A restored name arrives as it is written; its aliases do not join it (field.md §3 #33)."""
    passed = compile_pass_headers(["X-Auth-Token"], RULES)
    aliases = [(t.encode(), MARK) for t in spellings("X-Auth-Token") if t.lower() != "x-auth-token"]

    environ = backend.environ(sent([*aliases, (b"x-auth-TOKEN", b"mine")], passed=passed))

    assert environ["HTTP_X_AUTH_TOKEN"] == "mine"


def test_a_connection_nomination_removes_nothing_of_the_gates(backend):
    """A client cannot have the gate's own headers dropped (field.md §3 #32)."""
    nominated = b", ".join(
        [b"close", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Request-Id", b"Via", b"Forwarded"]
    )

    environ = backend.environ(sent([(b"Connection", nominated), (b"Host", b"a")]))

    assert environ["HTTP_X_FORWARDED_FOR"] == "203.0.113.7"
    assert environ["HTTP_X_FORWARDED_PROTO"] == "http"
    assert environ["HTTP_X_REQUEST_ID"] == "r"
    assert environ["HTTP_VIA"] == "1.1 gate"
    assert environ["HTTP_X_AUTH_SUBJECT"] == "alice"
    assert "HTTP_CONNECTION" not in environ


def test_h4_values_with_line_breaks_make_no_header(backend):
    """A subject cannot smuggle a header of its own, or a second list member, to the application."""
    evil = Identity(
        "o", "alice\r\nX-Auth-Roles: admin", "web", roles=("a,admin", 'b";admin', "c admin")
    )

    environ = backend.environ(PLANS[0].render(evil))

    assert environ["HTTP_X_AUTH_SUBJECT"] == "alice%0D%0AX-Auth-Roles: admin"
    assert environ["HTTP_X_AUTH_ROLES"] == "a%2Cadmin,b%22%3Badmin,c%20admin"


def test_h3_a_spelling_that_no_server_could_fold_alone_is_refused():
    """A name with a letter that folds by upper-casing (`ß` is `SS` in WSGI) is 400."""
    refusal = RULES.check([("X-I\xdfuer".encode("latin-1"), MARK)])

    assert refusal is not None
    assert refusal.code == "header_ambiguous"
