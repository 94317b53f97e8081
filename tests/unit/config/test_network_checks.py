from __future__ import annotations

import datetime as dt
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def pair(directory, name, passphrase=None):
    """Write a key and its own certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    sealing = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealing)
    )


def messages(reading, text):
    """Return what is wrong, without line and column."""
    return [found.split(" ", 1)[1] for found in reading.mistakes(text)]


@pytest.mark.parametrize(
    ("listen", "health", "place"),
    [
        ("['127.0.0.1:80', '127.0.0.1:80']", "none", "server.listen[1]"),
        ("['127.0.0.1:80', '0.0.0.0:80']", "none", "server.listen[1]"),
        ("['[::]:80', '[::1]:80']", "none", "server.listen[1]"),
        ("['unix:a', 'unix:a']", "none", "server.listen[1]"),
        ("0.0.0.0:9902", "{}", "health.listen"),
        ("localhost:9902", "{}", "health.listen"),
        ("unix:g", "{listen: 'unix:g'}", "health.listen"),
        ("['0.0.0.0:80', '[::]:80']", "{listen: '0.0.0.0:81'}", None),
        ("['127.0.0.1:0', '127.0.0.1:0']", "none", None),
        ("['127.0.0.1:80', '127.0.0.2:80']", "none", None),
        ("['unix:a', 'unix:b']", "none", None),
        ("['a.example:80', 'b.example:80']", "none", None),
    ],
)
def test_listeners_do_not_share_a_place(reading, listen, health, place):
    """Binding the second would fail; the file says so before anything is bound."""
    found = messages(reading, f"server: {{listen: {listen}}}\nhealth: {health}\n")

    assert ([] if place is None else [place]) == [line.split(": ")[0] for line in found]


@pytest.mark.parametrize(
    ("listen", "health", "place"),
    [
        ("8080", "{listen: '127.0.0.1:8080'}", "server.listen"),
        ("8080x", "{listen: '127.0.0.1:8080'}", "server.listen"),
        ("['0.0.0.0']", "{listen: '127.0.0.1:8080'}", "server.listen[0]"),
        ("[8080, '127.0.0.1:80']", "{listen: '127.0.0.1:8080'}", "server.listen[0]"),
        ("'127.0.0.1:9902'", "{listen: x}", "health.listen"),
    ],
)
def test_a_listener_that_is_no_address_takes_no_place(reading, listen, health, place):
    """What the gate would use by default is nothing that the file says."""
    found = messages(reading, f"server: {{listen: {listen}}}\nhealth: {health}\n")

    assert [place] == [line.split(": ")[0] for line in found]


@pytest.mark.parametrize(
    ("listen", "server", "is_own"),
    [
        ("127.0.0.1:80", "http://127.0.0.1:80", True),
        ("127.0.0.1:80", "https://127.0.0.1:80", True),
        ("127.0.0.1:80", "http://localhost", True),
        ("127.0.0.1:80", "http://[::ffff:127.0.0.1]", True),
        ("127.0.0.1:80", "http://0.0.0.0:80", True),
        ("0.0.0.0:80", "http://127.0.0.9:80", True),
        ("0.0.0.0:80", "http://0.0.0.0:80", True),
        ("[::]:80", "http://[::1]:80", True),
        ("localhost:80", "http://127.0.0.1", True),
        ("unix:g", "unix:./x/../g", True),
        ("shop.example:80", "http://shop.example", True),
        ("127.0.0.1:80", "http://127.0.0.1:81", False),
        ("127.0.0.1:80", "http://127.0.0.2:80", False),
        ("0.0.0.0:80", "http://192.0.2.7:80", False),
        ("0.0.0.0:80", "http://other.example:80", False),
        ("192.0.2.1:80", "http://127.0.0.1:80", False),
        ("unix:g", "unix:h", False),
        ("unix:g", "http://127.0.0.1", False),
    ],
)
def test_f7_an_upstream_is_not_the_gate_itself(reading, listen, server, is_own):
    """F7: in every spelling that this machine has for itself."""
    text = f"server: {{listen: '{listen}'}}\nhealth: none\nupstreams: {{a: {{servers: ['{server}']}}}}\n"

    assert is_own == (
        messages(reading, text) == ["upstreams.a.servers[0]: is a listener of this gate itself"]
    )


def test_f7_the_health_listener_is_the_gate_too(reading):
    """F7: neither listener may be asked by a route."""
    text = "upstreams: {a: {servers: ['http://b', 'http://127.0.0.1:9902']}}\n"

    assert messages(reading, text) == ["upstreams.a.servers[1]: is a listener of this gate itself"]


def test_f7_a_machine_knows_its_own_name(reading, monkeypatch):
    """F7: the host's name leads to itself."""
    monkeypatch.setattr(socket, "gethostname", lambda: "Gate.internal")
    text = "server: {listen: '0.0.0.0:80'}\nupstreams: {a: {servers: ['http://gate.internal']}}\n"

    assert len(messages(reading, text)) == 1


def test_trust_in_everybody_is_a_warning(reading):
    """field.md §3 #2: a default of "everyone" was another gate's advisory; written out it is seen."""
    found = reading.warnings("server: {trusted_proxies: [10.0.0.0/8, 0.0.0.0/0, unix, '::/0']}\n")

    assert [
        "server.trusted_proxies[1]: everybody is trusted to say where a request comes from",
        "server.trusted_proxies[3]: everybody is trusted to say where a request comes from",
    ] == [line for line in found if "trusted" in line]


def test_a_listeners_certificate_is_usable(reading):
    """Certificate and key are there, are PEM, and belong together."""
    pair(reading.base, "a")
    pair(reading.base, "b")
    pair(reading.base, "sealed", b"hunter2")
    (reading.base / "empty").touch()
    (reading.base / "junk").write_text("junk")
    for tls, expected in (
        ("{cert: a.pem, key: a.key, client_ca: b.pem}", []),
        ("{cert: a.pem, key: b.key}", ["server.tls.key: does not belong to the certificate"]),
        (
            "{cert: a.pem, key: gone}",
            [
                "server.tls.key: there is no such file; a relative path begins where the configuration is"
            ],
        ),
        (
            "{cert: ., key: empty}",
            ["server.tls.cert: is a directory", "server.tls.key: the file is"],
        ),
        ("{cert: junk, key: a.key}", ["server.tls.key: cert and key cannot be read as PEM"]),
        ("{cert: sealed.pem, key: sealed.key}", ["server.tls.key: has a pass phrase"]),
        (
            "{cert: a.pem, key: a.key, client_ca: junk}",
            ["server.tls.client_ca: has no certificate"],
        ),
        ("{cert: a.pem, key: a.key, client_ca: gone}", ["server.tls.client_ca: there is no such"]),
    ):
        found = messages(reading, f"server: {{tls: {tls}}}\n")

        assert len(expected) == len(found), tls
        assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))


def test_a_file_that_may_not_be_read_is_told(reading, monkeypatch):
    """A key that belongs to somebody else is found before the gate starts."""
    pair(reading.base, "a")
    real = Path.open

    def refuse(path, *rest, **more):
        if path.name == "a.key":
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    found = messages(reading, "server: {tls: {cert: a.pem, key: a.key}}\n")

    assert found == ["server.tls.key: the file cannot be read: Permission denied"]


def test_tls_without_a_tcp_listener_is_a_warning(reading):
    """A unix socket speaks plain HTTP."""
    pair(reading.base, "a")
    found = reading.warnings("server: {listen: 'unix:g', tls: {cert: a.pem, key: a.key}}\n")

    assert "server.tls: no listener speaks TCP, so this is never used" in found


def test_an_upstreams_certificates_are_usable(reading):
    """A certificate and its key go together; authorities are certificates; without https nothing of it is used."""
    pair(reading.base, "a")
    for tls, expected in (
        ("{ca: a.pem, cert: a.pem, key: a.key, server_name: x}", []),
        ("{cert: a.pem}", ["upstreams.u.tls.key: is required: cert and key go together"]),
        ("{key: a.key}", ["upstreams.u.tls.cert: is required: cert and key go together"]),
        ("{ca: a.key}", ["upstreams.u.tls.ca: has no certificate in PEM"]),
        (
            "{ca: gone}",
            [
                "upstreams.u.tls.ca: there is no such file; a relative path begins where the configuration is"
            ],
        ),
        ("{cert: 7, key: a.key}", ["upstreams.u.tls.cert: must be text; put it in quotes"]),
    ):
        text = f"upstreams: {{u: {{servers: ['https://h'], tls: {tls}}}}}\n"

        assert expected == messages(reading, text)
    found = reading.warnings("upstreams: {u: {servers: ['http://h'], tls: {ca: a.pem}}}\n")
    assert "upstreams.u.tls: no server is https://, so this is never used" in found


def test_a_file_of_keys_is_there(reading):
    """A scheme without its keys would refuse everybody."""
    text = "schemes: {a: {type: jwt, issuer: i, audience: x, keys: {file: k.pem}}}\n"

    assert messages(reading, text) == [
        "schemes.a.keys.file: there is no such file; a relative path begins where the configuration is"
    ]
    (reading.base / "k.pem").write_text("x")
    assert messages(reading, text) == []


ADMIN = """
schemes: {{web: {{type: session, format: native, cookie: __Host-sid}}}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9001"]}}}}
routes: [{{match: {{path: /}}, auth: [web], upstream: app}}]
admin: {admin}
"""
LONG = "x" * 32


@pytest.mark.parametrize(
    ("admin", "expected"),
    [
        ('{listen: "unix:/run/a.sock"}', []),
        (f'{{listen: "unix:/run/a.sock", token: {LONG}}}', []),
        (f'{{listen: "127.0.0.1:9903", token: {LONG}}}', []),
        ('{listen: "127.0.0.1:9903"}', ["admin.token: is required on TCP: `token: {file: …}`"]),
        (
            '{listen: "127.0.0.1:9903", token: short}',
            ["admin.token: must have at least 32 characters (openssl rand -base64 32)"],
        ),
        (f'{{listen: "127.0.0.1:9902", token: {LONG}}}', None),
        ("{}", ["admin.listen: is required"]),
    ],
)
def test_s11_an_admin_api_that_anybody_could_use_is_a_mistake(reading, admin, expected):
    """S11: on TCP a token is wanted, and one that nobody guesses."""
    found = messages(reading, ADMIN.format(admin=admin))
    if expected is None:
        assert ["admin.listen: another listener has this address already"] == found
    else:
        assert expected == found


def test_an_admin_api_in_the_clear_is_a_warning(reading):
    """Whoever reads along between two machines has the token."""
    text = ADMIN.format(admin=f'{{listen: "0.0.0.0:9903", token: {LONG}}}')

    assert "admin.listen: is reached from other machines without TLS" in str(reading.warnings(text))


def test_an_admin_api_without_anything_to_administer_is_a_mistake(reading):
    """A gate without sessions of its own and without tokens has nothing to end."""
    text = """
upstreams: {app: {servers: ["http://127.0.0.1:9001"]}}
routes: [{match: {path: /}, auth: none, upstream: app}]
admin: {listen: "unix:/run/a.sock"}
"""

    assert ["admin: there are neither sessions of the gate's own nor tokens"] == messages(
        reading, text
    )


DECISION = """
upstreams: {{app: {{servers: ["http://127.0.0.1:9001"]}}}}
routes: [{{match: {{path: /**}}, auth: none, upstream: app}}]
decision: {{listen: "{listen}", callers: {callers}}}
"""
NGINX = "{from: 10.0.0.1, dialect: nginx}"


@pytest.mark.parametrize(
    ("listen", "callers", "expected"),
    [
        ("127.0.0.1:9191", NGINX, []),
        ("127.0.0.1:9191", f"[{NGINX}, {{from: 'fd00::/8', dialect: caddy}}]", []),
        ("unix:d.sock", "{from: unix, dialect: envoy}", []),
        ("127.0.0.1:9191", "[]", ["decision.callers: must not be empty"]),
        (
            "127.0.0.1:9191",
            "{from: 0.0.0.0/0, dialect: nginx}",
            [
                "decision.callers.from: anybody could describe a request as they like: name the proxy's own network"
            ],
        ),
        (
            "127.0.0.1:9191",
            f"[{NGINX}, {{from: 10.0.0.0/8, dialect: caddy}}]",
            [
                "decision.callers[1].from: another caller has this address already, and each has one dialect"
            ],
        ),
        (
            "127.0.0.1:9191",
            "{from: unix, dialect: nginx}",
            [
                "decision.callers.from: nobody can come from there: a socket's callers are `unix`, and only a socket's"
            ],
        ),
        ("0.0.0.0:8080", NGINX, ["decision.listen: another listener has this address already"]),
        (
            "127.0.0.1:9001",
            NGINX,
            ["upstreams.app.servers[0]: is a listener of this gate itself"],
        ),
    ],
)
def test_s13_callers_are_known_and_speak_one_dialect(reading, listen, callers, expected):
    """S13: Nobody asks who is not named, nobody is everybody, and no address has two dialects."""
    assert expected == messages(reading, DECISION.format(listen=listen, callers=callers))


def test_questions_that_travel_in_the_clear_are_a_warning(reading):
    """They hold everything by which their clients are known."""
    text = DECISION.format(listen="10.0.0.2:9191", callers=NGINX)

    assert "decision.listen: credentials travel to it without TLS" in str(reading.warnings(text))
