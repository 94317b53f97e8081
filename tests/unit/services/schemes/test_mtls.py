"""Certificates of clients as credentials: whose they are, and what makes them worth nothing."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import DNSName, RFC822Name, UniformResourceIdentifier

from proxy.config.models import MtlsSchemeConfig
from proxy.core.certificates import holder_of
from proxy.model import Absent, Authenticated, ClientInfo, Peer, Rejected, RequestView
from proxy.services.schemes.mtls import MtlsScheme
from proxy.services.schemes.port import Carried
from tests.certificates import BEGIN, Authority

URI = "spiffe://shop.test/billing"
NOW = time.time()


def scheme(subject="uri", **more):
    """Return a scheme."""
    config = {"type": "mtls", "subject": subject, "roles": {URI: ["biller"]}, **more}
    return MtlsScheme.from_config("machine", MtlsSchemeConfig.model_validate(config))


@pytest.fixture
def issue(tmp_path):
    """Return what makes a certificate and returns it in DER."""
    authority = Authority(tmp_path)

    def der(*names, name="billing", **more):
        cert, _ = authority.issue("c", name, *names, **more)
        return x509.load_pem_x509_certificate(cert.read_bytes()).public_bytes(Encoding.DER)

    return der


def carried(certificate, *, is_trusted=False, headers=()):
    """Return a request on a connection with a certificate."""
    peer = Peer(
        "192.0.2.1", 4711, is_unix=False, is_tls=True,
        has_client_certificate=certificate is not None, certificate=certificate,
    )  # fmt: skip
    client = ClientInfo("192.0.2.1", "https", "shop.test", 443, is_trusted_peer=is_trusted)
    return Carried(RequestView("GET", b"/", tuple(headers), peer), None, [], client=client)


def judged(certificate, now=NOW, **more):
    """Return what a scheme says of a certificate."""
    asked = scheme(**more)
    found = asked.find(carried(certificate))
    assert found is not None
    return asked.known(found, now)


@pytest.mark.parametrize(
    ("subject", "called"),
    [("uri", URI), ("dns", "billing.test"), ("email", "ops@shop.test"), ("common_name", "billing")],
)
def test_k6_the_holder_is_called_as_the_configuration_says(issue, subject, called):
    """By one kind of name; K6: the origin is the scheme, so that no token's subject is the same person."""
    der = issue(
        UniformResourceIdentifier(URI), DNSName("billing.test"), RFC822Name("ops@shop.test")
    )
    outcome = judged(der, subject=subject)

    assert isinstance(outcome, Authenticated)
    identity = outcome.identity
    assert (identity.origin, identity.scheme, identity.subject) == ("machine", "machine", called)
    assert identity.roles == (("biller",) if subject == "uri" else ())
    assert (identity.email, identity.name) == ("ops@shop.test", "billing")
    assert identity.claims["fingerprint"] == holder_of(der).fingerprint
    assert identity.claims["dns"] == ["billing.test"]
    assert identity.expires_at == holder_of(der).ends_at
    assert identity.auth_time is None  # S7: nobody has proved a factor


def test_a_browser_adds_it_by_itself(issue):
    """S3: a certificate is ambient, like a cookie."""
    assert judged(issue(UniformResourceIdentifier(URI))).is_ambient
    assert [place.is_ambient for place in scheme().places] == [True]


def test_no_header_is_a_certificate():
    """Whatever says so, only the gate's own TLS connection has one."""
    spoofed = [
        (b"X-Forwarded-Client-Cert", b"URI=" + URI.encode()),
        (b"X-SSL-Client-Cert", b"MIIB"),
        (b"Client-Cert", b":MIIB:"),
    ]

    assert scheme().find(carried(None, headers=spoofed)) is None


def test_a_trusted_proxys_certificate_is_its_own(issue):
    """It says nothing of whose requests the proxy passes on."""
    der = issue(UniformResourceIdentifier(URI))

    assert scheme().find(carried(der, is_trusted=True)) is None


def test_what_is_revoked_is_rejected_and_what_is_over_is_absent(issue):
    """At every request anew: a resumed or long connection is not looked at by TLS again."""
    der = issue(UniformResourceIdentifier(URI), end=BEGIN + dt.timedelta(days=1))
    begin = BEGIN.replace(tzinfo=dt.UTC).timestamp()
    fingerprint = ":".join(holder_of(der).fingerprint.upper()[i : i + 2] for i in range(0, 64, 2))

    assert isinstance(judged(der, begin), Authenticated)
    assert judged(der, begin, revoked={"fingerprints": [fingerprint]}) == Rejected(
        "certificate_invalid", "it is among `revoked.fingerprints`"
    )
    assert judged(der, begin, revoked={"subjects": [URI]}) == Rejected(
        "certificate_invalid", "its holder is among `revoked.subjects`"
    )
    others = {"fingerprints": ["a" * 64], "subjects": ["billing", URI + "/x"]}
    assert isinstance(judged(der, begin, revoked=others), Authenticated)
    for now in (begin - 1, begin + 86_400):
        outcome = judged(der, now)
        assert isinstance(outcome, Absent)
        assert outcome.code == "certificate_expired"


def test_who_has_no_clear_name_is_nobody(issue):
    """None of the kind leaves other keys their turn; two, or one that reads in two ways, do not."""
    none = judged(issue(DNSName("billing.test")))
    two = judged(issue(UniformResourceIdentifier(URI), UniformResourceIdentifier("spiffe://b/c")))

    assert (type(none), none.code) == (Absent, "certificate_invalid")
    assert (type(two), two.code) == (Rejected, "certificate_invalid")
    for name in ("a\r\nX-Auth-Roles: admin", "a\x00b", " a", "a\u202eb"):
        outcome = judged(issue(name=name), subject="common_name")
        assert (type(outcome), outcome.code) == (Rejected, "certificate_invalid"), name
    unreadable = judged(b"nothing")
    assert unreadable.code == "certificate_invalid"


def test_nothing_is_remembered_of_it(issue):
    """No request is known by a certificate that another connection may not have."""
    asked = scheme()
    found = asked.find(carried(issue(UniformResourceIdentifier(URI))))

    assert asked.stand(found) is None
    assert asked.meet(found, NOW) is None
    assert asked.recall(found) is None


@pytest.mark.parametrize("fingerprint", ["", "ab", "g" * 64, "a" * 63, 7])
def test_a_fingerprint_is_one(fingerprint):
    """SHA-256 in hexadecimal digits, or the file has a mistake."""
    with pytest.raises(ValueError, match=r"."):
        scheme(revoked={"fingerprints": [fingerprint]})
