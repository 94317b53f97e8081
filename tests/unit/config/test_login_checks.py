"""The section login, and what must be right between it and its neighbours."""

from __future__ import annotations

import pytest

START = """
upstreams: {app: {servers: ["http://127.0.0.1:1"]}}
schemes: {web: {type: session, format: native%s}}
routes: [{match: {path: /**}, auth: web, upstream: app}]
"""


def mistakes(reading, login, scheme="", extra=""):
    """Return what is wrong, without line and column."""
    text = START % scheme + f"login: {{scheme: web{login}}}\n" + extra
    return [found.split(" ", 1)[1] for found in reading.mistakes(text)]


def test_a_file_of_users_that_is_not_there_yet_is_a_warning(reading):
    """`latchgate user add` needs a configuration that loads in order to make it."""
    text = START % "" + "login: {scheme: web, users: {file: users.yaml}}\n"

    (found,) = reading.warnings(text)
    assert found.startswith("login.users.file: is not there yet")
    assert "latchgate user add" in found


def test_every_mistake_of_the_users_file_is_one_of_the_configuration(reading):
    """`check` finds them, with their lines."""
    (reading.base / "users.yaml").write_text("users:\n  a: {password: x}\n  b: {}\n")
    found = mistakes(reading, ", users: {file: users.yaml}")

    assert 2 == len(found)
    assert "login.users.file: line 2: users.a.password: must be an argon2id hash" in found[0]
    assert "line 3: users.b.password: is required" in found[1]


@pytest.mark.parametrize(
    "bind", ["{address: 24}", '{address: "/7"}', '{address: "/33"}', "{on_change: ask}", "yes"]
)
def test_what_binds_nothing_is_refused(reading, bind):
    """A block has a length that keeps some strangers out."""
    assert 1 == len(mistakes(reading, f", sessions: {{bind: {bind}}}"))


def test_a_binding_can_be_switched_off_in_parts(reading):
    """`none` is said of the whole, and of the address alone."""
    for bind, bits in (("none", None), ("{address: none}", None), ('{address: "/16"}', 16)):
        text = START % "" + f"login: {{scheme: web, sessions: {{bind: {bind}}}}}\n"
        bound = reading.config(text).login.sessions.bind
        assert bits == (bound.bits if bound else None)


def test_a_cookie_for_several_hosts_is_called_so(reading):
    """`__Host-` promises one host: the default gives way, and a name that was written is a mistake."""
    text = START % "" + "login: {scheme: web, cookie_domain: example.com}\n"
    assert "__Secure-sid" == reading.config(text).schemes["web"].cookie
    (found,) = mistakes(reading, ", cookie_domain: example.com", ", cookie: __Host-x")
    assert found.startswith("schemes.web.cookie: is for one host only")


def test_every_host_of_the_login_is_below_its_domain(reading):
    """Elsewhere no browser would keep the cookie."""
    found = mistakes(
        reading,
        ", cookie_domain: example.com, hosts: [a.example.com, '*.example.com', badexample.com]",
        extra="server: {public_url: https://example.org}\n",
    )

    places = {line.split(":")[0] for line in found}
    assert {"login.hosts[2]", "login.cookie_domain"} == places


@pytest.mark.parametrize("domain", ["com", ".example.com", "EXAMPLE.com", "a b.com", "10.0.0.1"])
def test_a_cookie_domain_is_a_domain(reading, domain):
    """What a browser would refuse, or read otherwise, is refused here."""
    assert 1 == len(mistakes(reading, f", cookie_domain: '{domain}'"))


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("/login", True),
        ("/login?back={next}", True),
        ("https://id.example.com/in?to={next}&x=1", True),
        ("//evil.example/", False),
        ("http://shop.example.com/login", False),
        ("login", False),
        ("/login?a={next}&b={next}", False),
        ("/login?a={nxt}", False),
        ("/lo gin", False),
        ("javascript:alert(1)", False),
    ],
)
def test_a_login_url_is_a_path_or_https(reading, url, is_good):
    """And says at most once where the person came from."""
    text = START % "" + ""
    text = text.replace("upstream: app}]", f"upstream: app, login_url: '{url}'}}]")

    assert is_good == (reading.mistakes(text) == [])


def test_a_login_url_is_for_routes_that_want_a_credential(reading):
    """On a public one nobody would ever be sent there."""
    text = (START % "").replace(
        "auth: web, upstream: app}", "auth: none, upstream: app, login_url: /x}"
    )

    assert ["routes[0].login_url: is for routes that want a credential; this one is public"] == [
        found.split(" ", 1)[1] for found in reading.mistakes(text)
    ]


def test_s5_the_bare_name_of_the_logins_cookie_is_a_warning_elsewhere(reading):
    """S5: on http://localhost the gate would take an application's cookie for its own."""
    text = (START % "").replace(
        "schemes: {", "schemes: {old: {type: session, format: json, cookie: sid, prefix: 's:',"
        " identity: {subject: a}, store: 'redis://r/3'}, "
    )  # fmt: skip
    found = reading.warnings(text + "login: {scheme: web}\n")

    assert ["schemes.old.cookie: on http://localhost the login's cookie is called sid too"] == found
