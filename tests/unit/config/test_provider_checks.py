"""Checks of `login.providers`: asked over TLS, for a login, and nobody has another's name."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigErrors
from proxy.services.runtime import load

FILE = """\
upstreams:
  shop: {servers: ["http://127.0.0.1:9001"]}
schemes:
  web: {type: session, format: native}
routes:
  - {match: {path: /**}, auth: web, upstream: shop}
login:
  scheme: web
  providers:
"""
GOOD = 'issuer: "https://id.example.com", client_id: gate, client_secret: s'


def with_providers(**providers):
    """Return a file with these providers."""
    return FILE + "".join(f"    {name}: {{{text}}}\n" for name, text in providers.items())


def test_a_provider_is_read(reading):
    """The defaults are those of the page."""
    loaded = reading.config(with_providers(corp=GOOD))
    provider = loaded.login.providers["corp"]

    assert (["openid", "email"], "sub", None) == (
        provider.scopes,
        provider.identity.subject,
        provider.identity.scopes,
    )
    assert "s" == provider.client_secret.reveal()


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        ('issuer: "http://id.example.com"', "issuer: must be https:// (http:// is for"),
        ('issuer: "https://id.example.com?a=b"', "issuer: an issuer has no query"),
        ('issuer: "https://u:p@id.example.com"', "issuer: must not contain a user or password"),
        ("scopes: [email]", "scopes: must contain openid"),
        ("scopes: []", "scopes: must not be empty"),
        ("algorithms: [HS256]", "algorithms[0]: must be RS256"),
        ("identity: {subject: none_such, mail: x}", "identity.mail: unknown key"),
    ],
)
def test_k3_a_provider_that_cannot_be_trusted_is_a_mistake(reading, changes, mistake):
    """Over TLS, asymmetric, and asked for a login."""
    name = changes.partition(":")[0]
    parts = [part for part in GOOD.split(", ") if not part.startswith(f"{name}:")]

    (found,) = reading.mistakes(with_providers(corp=", ".join([*parts, changes])))

    assert f"login.providers.corp.{mistake}" in found


def test_a_provider_on_this_machine_may_speak_plain_http(reading):
    """For trying things out, and for sidecars."""
    text = 'issuer: "http://127.0.0.1:4000", client_id: gate, client_secret: s'

    assert [] == reading.mistakes(with_providers(corp=text))


def test_a_public_client_is_a_warning(reading):
    """A forgotten secret looks the same."""
    text = 'issuer: "https://id.example.com", client_id: gate'

    (found,) = reading.warnings(with_providers(corp=text))
    assert "login.providers.corp.client_secret: there is no secret" in found


def test_k6_two_providers_name_nobody_alike(reading):
    """A session knows its person by the subject alone: `sub` of two providers may be the same."""
    both = '"{iss}|{sub}"'
    other = 'issuer: "https://other.example.com", client_id: gate, client_secret: s'

    found = reading.mistakes(with_providers(corp=GOOD, other=other))
    assert 2 == len(found)
    assert "11:12: login.providers.other: people come from several places" in found[1]
    assert all('write identity: {subject: "{iss}|{sub}"}' in mistake for mistake in found)
    assert [] == reading.mistakes(
        with_providers(
            corp=f"{GOOD}, identity: {{subject: {both}}}",
            other=f"{other}, identity: {{subject: {both}}}",
        )
    )


def test_k6_people_of_a_provider_are_not_those_of_the_file(reading):
    """A `sub` of `admin` must not be the user who is called admin here."""
    text = with_providers(corp=GOOD).replace(
        "  providers:", "  users: {file: u.yaml}\n  providers:"
    )

    (found,) = reading.mistakes(text)
    assert "login.providers.corp: people come from several places" in found


@pytest.mark.parametrize(
    ("login", "mistake"),
    [
        ("", "needs `login.providers`"),
        (f"login: {{scheme: web, providers: {{corp: {{{GOOD}}}}}}}\n", "needs `web` in `auth`"),
    ],
)
def test_a_providers_token_is_told_where_there_can_be_one(reading, login, mistake):
    """A route that nobody with such a session can open has nothing to be told."""
    text = (
        "upstreams: {a: {servers: ['http://127.0.0.1:1']}}\n"
        "schemes: {web: {type: session, format: native}}\n"
        "routes: [{match: {path: /**}, auth: none, upstream: a, identity: {provider_token: true}}]\n"
    )

    (found,) = reading.mistakes(text + login)
    assert f"routes[0].identity.provider_token: {mistake}" in found


def test_h1_the_name_of_the_token_is_the_gates_alone(tmp_path):
    """`pass_headers` cannot give it back to whoever sends it."""
    file = tmp_path / "gate.yaml"
    text = with_providers(corp=GOOD).replace(
        "upstream: shop}",
        "upstream: shop, identity: {provider_token: true}, pass_headers: [X-Auth-Provider-Token]}",
    )
    file.write_text(text)
    with pytest.raises(ConfigErrors, match="pass_headers"):
        load(file)


def test_s10_with_a_store_of_others_a_key_is_required(reading):
    """Provider tokens are kept there, sealed."""
    text = 'store: {url: "redis://127.0.0.1"}\n' + with_providers(corp=GOOD)

    (found,) = reading.mistakes(text)
    assert "login.providers: needs `secrets: {key: …}`" in found
