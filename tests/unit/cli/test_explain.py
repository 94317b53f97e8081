"""`latchgate explain` on a real store: the verdicts of real credentials, and nothing changed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from proxy.services.keyrings import open_nonces
from proxy.services.runtime import load
from tests import proof_maker
from tests import token_workshop as workshop

GOLDEN = Path(__file__).parents[2] / "golden"

POLICY = """
store: {{url: "{store}"}}
secrets: {{key: {{file: key}}}}
server: {{public_url: https://shop.example.com}}
tokens: {{issuer: https://shop.example.com, audience: shop}}
upstreams:
  app: {{servers: ["http://127.0.0.1:1"]}}
  other: {{servers: ["http://127.0.0.1:2"], host: upstream}}
schemes:
  web: {{type: session, format: native}}
  api: {{type: jwt, keys: {{local: true}}, from: [bearer, {{query: token}}]}}
routes:
  - {{name: all, match: {{path: "/**"}}, auth: [api, web], upstream: app}}
  - {{name: admin, match: {{path: "/admin/**"}}, auth: [api, web], require: {{roles: [admin]}}, upstream: other, strip_prefix: /admin}}
  - {{name: open, match: {{path: "/open", methods: [GET]}}, auth: none, upstream: app}}
  - {{name: signed, match: {{path: "/signed"}}, auth: web, upstream: app, identity: {{assertion: true, bearer: true}}}}
  - {{name: inner, match: {{host: inner.example.com, path: "/x/**"}}, auth: web, upstream: app}}
"""


BOUND = '  - {name: bound, match: {path: "/bound"}, auth: idp, same_subjects: false, dpop: required, upstream: app}\n'


@pytest.fixture
def gate(latchgate, valkey):
    (latchgate.directory / "key").write_text("00" * 32)
    latchgate.write(POLICY.format(store=valkey.url))
    return latchgate


@pytest.fixture
def cookie(gate):
    """Give the option that brings a good session's cookie, of a person called ada."""
    made = gate.json("session", "new", "--subject", "ada", "--role", "user")
    file = gate.directory / "cookie"
    file.write_text(made["cookie"] + "\n")
    return f"--cookie=@{file}"


@pytest.fixture
def epoch(valkey):
    """Let the store look as a gate leaves it that has run once (R4)."""
    with valkey.client() as client:
        client.set("latchgate:{revoked}:epoch", "1")
        client.set("latchgate:{revoked}:count", "0")


@pytest.fixture
def token(gate, epoch):
    """Give the option that brings a good token, of a person called bo."""
    made = gate.json("token", "mint", "--subject", "bo", "--role", "admin")
    file = gate.directory / "token"
    file.write_text(made["token"])
    return f"--bearer=@{file}"


def secrets_of(*options):
    """Return what the options' files hold: nothing of it may ever be printed."""
    texts = [Path(option.partition("@")[2]).read_text().strip() for option in options]
    return [text.partition("=")[2] or text for text in texts]


def outcomes(found):
    return {scheme["name"]: scheme["outcome"] for scheme in found["schemes"]}


def test_nobody_is_told_to_sign_in(gate):
    """Both schemes are absent, and the answer has the challenges."""
    found = gate.json("explain", "GET", "/a", status=1)

    assert ("challenge", "all") == (found["decision"], found["route"]["name"])
    assert {"api": "absent", "web": "absent"} == outcomes(found)
    assert (401, "credential_missing") == (found["answer"]["status"], found["answer"]["code"])
    assert [["WWW-Authenticate", 'Bearer realm="api"']] == found["answer"]["headers"]


def test_a_url_is_asked_as_a_browser_sends_it(gate):
    """Percent-encoded, where it is not ASCII; and so it is shown."""
    found = gate.json("explain", "GET", "/open?q=\u00fc")
    assert ("/open?q=%C3%BC", "/open?q=%C3%BC") == (
        found["request"]["target"],
        found["upstream"]["target"],
    )


def test_a_method_in_lower_case_is_another_method(gate):
    """It is explained as it was given, with a warning."""
    result = gate.run("explain", "get", "/open")
    assert "warning: methods are upper case: get is not GET" in result.stderr
    assert "warning" not in gate.run("explain", "GET", "/open").stderr


def test_an_asterisk_is_no_path(gate):
    """It is shown apart from the host."""
    result = gate.run("explain", "OPTIONS", "*")
    assert "OPTIONS * of https://shop.example.com from" in result.stdout


def test_a_session_opens_a_route_and_is_taken_out(gate, cookie):
    """Who it is, what is set for the upstream; the cookie does not travel on, and is not shown."""
    result = gate.run("explain", "GET", "/a?b=1", cookie)
    assert 0 == result.exit_code, result.output
    for line in (
        "scheme web        authenticated by cookie __Host-sid: ada of https://shop.example.com; roles user",
        "credential        cookie __Host-sid is taken out",
        "removed           Cookie: without __Host-sid",
        "                  X-Auth-Subject: ada",
        "decision          let through",
    ):
        assert line.split() in [shown.split() for shown in result.stdout.splitlines()]
    assert secrets_of(cookie)[0] not in result.output
    found = gate.json("explain", "GET", "/a?b=1", cookie)
    assert secrets_of(cookie)[0] not in json.dumps(found)
    assert {"scheme": "web", "place": "cookie __Host-sid", "travels_on": False} == found[
        "credential"
    ]
    assert "/a?b=1" == found["upstream"]["target"]


def test_a_token_opens_what_its_roles_allow(gate, token):
    """The role is there; the prefix is stripped, and Host is the upstream's."""
    found = gate.json("explain", "GET", "/admin/users", token)
    set_ = {header["name"]: header["value"] for header in found["headers"]["set"]}

    assert {"api": "authenticated", "web": "not_asked"} == outcomes(found)
    assert "passed" == found["require"]["outcome"]
    assert ("bo", "admin", "127.0.0.1:2") == (
        set_["X-Auth-Subject"],
        set_["X-Auth-Roles"],
        set_["Host"],
    )
    assert ("/users", "/admin") == (found["upstream"]["target"], set_["X-Forwarded-Prefix"])
    assert secrets_of(token)[0] not in json.dumps(found)


def test_a_missing_role_is_told_with_what_the_route_wants(gate, cookie):
    """Status 1, the code, and the log's detail."""
    found = gate.json("explain", "GET", "/admin/users", cookie, status=1)

    assert ("deny", 403, "role_missing") == (
        found["decision"],
        found["answer"]["status"],
        found["answer"]["code"],
    )
    assert "has user, the route wants one of the roles admin" == found["require"]["detail"]


def test_another_sites_request_is_refused(gate, cookie):
    """The headers of a browser can be given."""
    found = gate.json(
        "explain", "POST", "/a", cookie, "--header", "Origin: https://evil.example", status=1
    )

    assert ("refused", "Origin is not this host's") == (
        found["cross_site"]["outcome"],
        found["cross_site"]["detail"],
    )
    assert 0 == gate.run("explain", "POST", "/a", cookie).exit_code


def test_a_bad_token_stops_the_other_scheme(gate, cookie, token):
    """Rejected, never silently anonymous."""
    found = gate.json("explain", "GET", "/a", "--bearer", "-", cookie, status=1, stdin=b"a.b.c")

    assert {"api": "rejected", "web": "not_asked"} == outcomes(found)
    assert "token_invalid" == found["answer"]["code"]


def test_a_token_in_the_url_is_masked(gate, token):
    """Not in the request's line, not in the target, in no spelling."""
    secret = secrets_of(token)[0]
    result = gate.run("explain", "GET", f"/a?x=1&token={secret}&%74oken={secret}")
    assert 0 == result.exit_code, result.output
    assert "/a?x=1&token=…&%74oken=…" in result.stdout
    assert secret not in result.output


def test_what_would_be_signed_is_not(gate, cookie):
    """No assertion is made that somebody could use."""
    found = gate.json("explain", "GET", "/signed", cookie)
    values = {header["name"]: header["value"] for header in found["headers"]["set"]}

    assert "(signed for each request)" == values["X-Auth-Assertion"]
    assert "Bearer (signed for each request)" == values["Authorization"]


def test_nothing_is_changed(gate, valkey, cookie):
    """No last use is written, no revocations are repaired, no key is made."""
    with valkey.client() as client:
        before = sorted(client.keys())
        gate.json("explain", "GET", "/a", cookie)
        gate.json("explain", "GET", "/a", "--bearer", "-", status=1, stdin=b"a.b.c")
        assert before == sorted(client.keys())
        assert not [key for key in before if b"seen" in key or b"epoch" in key]


def test_a_session_that_is_bound_elsewhere_is_told_and_not_ended(gate, valkey, cookie):
    """A request would end it; a question about one does not."""
    gate.write(gate.file.read_text() + "login: {scheme: web}\n")
    with valkey.client() as store:
        (key,) = store.keys("latchgate:session:*")
        record = json.loads(store.get(key)) | {"bound": {"network": "192.0.2.0/24"}}
        store.set(key, json.dumps(record))
        found = gate.json(
            "explain",
            "GET",
            "https://shop.example.com/x",
            cookie,
            "--from",
            "198.51.100.1",
            status=1,
        )

        assert "session_moved" == found["answer"]["code"]
        assert store.exists(key)
    found = gate.json("explain", "GET", "https://shop.example.com/x", cookie, "--from", "192.0.2.9")
    assert "forward" == found["decision"]


def test_a_store_out_of_reach_is_status_3(gate, cookie, valkey):
    """And the answer would be a 503, never a challenge."""
    gate.write(POLICY.format(store="redis://127.0.0.1:1"))
    found = gate.json("explain", "GET", "/a", cookie, status=3)
    assert ("unavailable", 503) == (found["decision"], found["answer"]["status"])
    assert "unavailable" == outcomes(found)["web"]
    found = gate.json("explain", "GET", "/a", "--bearer=-", status=3, stdin=b"a.b.c")
    assert found["store_problem"]
    assert 1 == gate.run("explain", "GET", "/a").exit_code


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (("POST", "/open"), "method_not_allowed", "the same path, for GET"),
        (("GET", "https://inner.example.com/y"), "route_not_found", "none matches the path"),
        (("GET", "/admin%2fx"), "path_ambiguous", "another reading of the path"),
        (("GET", "/a%00"), "path_ambiguous", "refused before routes are looked at"),
        (("GET", "/_auth/login"), "route_not_found", "reserved for the gate"),
        (("GET", "/open", "--header", "Via: 1.1 latchgate"), "loop", "Via names this gate"),
    ],
)
def test_refusals_say_why(gate, request_, code, words):
    """404, 405, 400, 508: with what the router has instead."""
    result = gate.run("explain", *request_)
    assert 1 == result.exit_code, result.output
    assert code in result.stdout
    assert words in result.stdout


def test_a_trusted_peer_speaks_for_others(gate):
    """`--from` says who connects."""
    gate.write(
        gate.file.read_text().replace("{public_url", "{trusted_proxies: [10.0.0.0/8], public_url")
    )
    options = ("--header", "X-Forwarded-For: 203.0.113.9", "--header", "X-Request-Id: abc")
    for peer, address, request_id in (
        ("10.0.0.1", "203.0.113.9, 10.0.0.1", "abc"),
        ("192.0.2.7", "192.0.2.7", "(made for each request)"),
    ):
        found = gate.json("explain", "GET", "/open", "--from", peer, *options)
        values = {header["name"]: header["value"] for header in found["headers"]["set"]}
        assert (address, request_id) == (values["X-Forwarded-For"], values["X-Request-Id"])
    assert "unix" == gate.json("explain", "GET", "/open", "--from", "unix")["request"]["from"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET", "nothing here"),
        ("GET", "/a", "--cookie", "sid=secret"),
        ("GET", "/a", "--bearer", "secret"),
        ("GET", "/a", "--header", "Cookie: sid=secret"),
        ("GET", "/a", "--header", "authorization: Basic secret"),
        ("GET", "/a", "--header", "nonsense"),
        ("GET", "/a", "--from", "somewhere"),
        ("GET", "/a", "--cookie", "-", "--bearer", "-"),
    ],
)
def test_usage_is_status_2(gate, arguments):
    """A credential on the command line is refused, and not repeated."""
    result = gate.run("explain", *arguments, stdin=b"sid")
    assert 2 == result.exit_code
    assert "secret" not in result.output


@pytest.mark.parametrize("text", [b"secret", b"a=b\r\nX-Auth-Subject: root", b"a=\x00"])
def test_what_no_header_can_carry_is_status_2(gate, text):
    """A cookie is name=value, on one line."""
    result = gate.run("explain", "GET", "/a", "--cookie", "-", stdin=text)
    assert 2 == result.exit_code
    assert "secret" not in result.output


def test_the_json_has_one_shape(gate, cookie):
    """The golden file is what programs may count on; every answer has the same members."""
    golden = json.loads((GOLDEN / "explain.json").read_text())
    found = gate.json("explain", "GET", "https://shop.example.com/admin/a", cookie, status=1)
    identity = found["schemes"][1]["identity"]
    expires_at, auth_time = identity.pop("expires_at"), identity.pop("auth_time")
    found["configuration"]["file"] = "latchgate.yaml"
    assert golden == found
    assert expires_at > auth_time > 0
    passed = gate.json("explain", "GET", "/open")
    refused = gate.json("explain", "GET", "/a%00", status=1)
    assert golden.keys() == passed.keys() == refused.keys()


def bind(gate, dpop="required"):
    """Guard `/bound` by bound tokens, and return one and the option that brings it."""
    jwk = workshop.jwk("RSA")
    (gate.directory / "keys.json").write_text(json.dumps({"keys": [jwk]}))
    idp = "  idp: {type: jwt, issuer: 'https://id.example.com/', audience: [shop-api], algorithms: [RS256], keys: {file: keys.json}}\n"
    text = gate.file.read_text().replace("schemes:\n", "schemes:\n" + idp)
    bound = BOUND.replace("required", dpop)
    gate.write(text.partition("routes:\n")[0] + "routes:\n" + bound)
    now = int(time.time())
    cnf = {"jkt": proof_maker.thumbprint("P-256")}
    token = workshop.token("RS256", "RSA", iat=now, exp=now + 300, cnf=cnf)
    (gate.directory / "token").write_bytes(token)
    return token, f"--bearer=@{gate.directory / 'token'}"


def proof_option(gate, name, token, method="GET", **said):
    """Return the option that brings a proof for `/bound`."""
    url = "https://shop.example.com/bound"
    (gate.directory / name).write_text(proof_maker.proof(method, url, token, **said))
    return f"--proof=@{gate.directory / name}"


def test_a_proof_is_looked_at_and_not_used_up(gate, epoch, valkey):
    """`--proof` says what would become of a bound token; the proof is as good afterwards."""
    token, bearer = bind(gate)
    good = proof_option(gate, "proof", token)
    bad = proof_option(gate, "other", token, "POST")

    for _ in range(2):
        found = gate.json("explain", "GET", "/bound", bearer, good)
        (scheme,) = found["schemes"]
        jkt = proof_maker.thumbprint("P-256")
        assert (scheme["place"], scheme["identity"]["jkt"]) == ("dpop", jkt)
    refused = gate.json("explain", "GET", "/bound", bearer, bad, status=1)
    assert refused["answer"]["detail"] == "idp: htm is not the method of the request"
    plain = gate.json("explain", "GET", "/bound", bearer, status=1)
    assert plain["answer"]["code"] == "proof_missing"
    assert gate.run("explain", "GET", "/bound", good).exit_code == 2
    assert gate.run("explain", "GET", "/bound", "--header", "DPoP: a.b.c").exit_code == 2
    with valkey.client() as client:
        assert not client.keys("latchgate:dpop:*")


def test_a_nonce_is_known_without_a_gate_that_gave_it(gate, epoch):
    """What a running gate would say of a nonce, whoever has its secrets says too."""
    token, bearer = bind(gate, "nonce")
    nonce = open_nonces(load(gate.file).config).newest(time.time())
    good = proof_option(gate, "proof", token, nonce=nonce)
    bad = proof_option(gate, "other", token)

    assert gate.json("explain", "GET", "/bound", bearer, good)["answer"] is None
    refused = gate.json("explain", "GET", "/bound", bearer, bad, status=1)
    assert refused["answer"]["code"] == "proof_nonce_missing"
