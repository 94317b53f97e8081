"""Where somebody is sent after signing in, by payloads that led elsewhere on other gates (S4)."""

from __future__ import annotations

import pytest

from proxy.core.destination import MAX_NEXT_BYTES, START, Destinations
from proxy.core.routing import Found, Router, RouteSpec

ELSEWHERE = r"""
//evil.example
///evil.example
////evil.example
/\evil.example
/\/evil.example
\/evil.example
\\evil.example
/%5cevil.example
/%5c%5cevil.example
/%255cevil.example
/%25255cevil.example
/%2f/evil.example
/%2f%2fevil.example
/.//evil.example
/..//evil.example
/x/..//evil.example
/x/%2e%2e//evil.example
/%09/evil.example
/%0d%0aSet-Cookie:sid=1
/%250d%250aSet-Cookie:sid=1
/shop?x=%0d%0aLocation:%20https://evil.example
/shop?x=%00
/shop%00
/shop%c2%85
https://evil.example
https://evil.example/
http://evil.example/
http:evil.example
https:/evil.example
https:///evil.example
HTTPS://evil.example/
https://shop.example.com@evil.example/
https://evil.example#shop.example.com
https://evil.example\.shop.example.com/
https://evil.example?.shop.example.com/
https://shop.example.com.evil.example/
https://evilexample.com/
https://shop.example.com:8443/shop
https://shop.example.com%2eevil.example/
https://shop.example.com\@evil.example/
https://shop.example.com/\evil.example
https://shop.example.com//evil.example
https://unnamed.example.com/shop
https://elsewhere.org/shop
https://[::1]/shop
https://127.0.0.1/shop
http://shop.example.com/shop
ftp://shop.example.com/
javascript:alert(1)
JaVaScRiPt:alert(1)
data:text/html,x
vbscript:x
mailto:x@evil.example
//shop.example.com/shop
shop
?x
#x
.evil.example
@evil.example
/_auth/login
/_auth/login?next=/
/_auth/login/
/_AUTH/login
/_auth/%6cogin
/_auth/x/../login
/_auth/logout
/_auth/callback/corp
/_auth/jwks.json
/_auth
/nothing-here
/shop/../../etc
/shop#fragment
/shop?q=\
/shop;jsessionid=1/..;/admin
/shop/ö
/shop/%ff
/shop%
*
""".strip().splitlines()

HERE = [
    "/",
    "/shop",
    "/shop/orders/7",
    "/shop?q=a%20b&page=2",
    "/shop?next=https://evil.example",
    "/shop/%EA%B0%80",
    "/_auth/sessions",
    "https://shop.example.com/shop?x=1",
    "https://SHOP.example.com/shop",
    "https://app.example.com/",
    "https://app.example.com",
]


def leads(host, path):
    """Tell whether a path has a route; only `named.example.com` has none of its own."""
    found = ROUTER.match(host, path, "GET")
    return isinstance(found, Found) and found.payload == "page"


def spec(path, payload="page", host=None):
    return RouteSpec(
        name=f"{host}{path}",
        host=host,
        path=path,
        methods=None,
        policy=(payload,),
        is_folded=True,
        allow_paths=frozenset(),
        strip_prefix=None,
        payload=payload,
    )


ROUTER = Router(
    [
        spec("/"),
        spec("/shop/**"),
        spec("/_auth/**", "reserved"),
        spec("/_auth/sessions", "page"),
        spec("/_auth/login", "login"),
        spec("/_auth/logout", "logout"),
    ]
)
NAMED = {"shop.example.com", "app.example.com", "elsewhere.org"}
SHARED = Destinations(leads, domain="example.com", hosts=NAMED)
ALONE = Destinations(leads, hosts=NAMED)


@pytest.mark.parametrize("payload", ELSEWHERE)
@pytest.mark.parametrize("where", [SHARED, ALONE], ids=["several hosts", "one host"])
def test_s4_what_could_lead_elsewhere_leads_to_the_start_page(where, payload):
    """S4: no spelling of another site, of a way out of the path policy, or of a sign-in passes."""
    assert START == where.checked(payload, "shop.example.com")


@pytest.mark.parametrize("target", HERE)
def test_s4_what_leads_to_a_page_here_is_left_alone(target):
    """S4: people come back to exactly where they were."""
    assert target == SHARED.checked(target, "shop.example.com")


@pytest.mark.parametrize("target", [target for target in HERE if target.startswith("https:")])
def test_s4_without_a_login_for_several_hosts_there_is_no_other_host(target):
    """S4: a URL in full is for `cookie_domain` only, also that of the host itself."""
    assert START == ALONE.checked(target, "shop.example.com")


def test_s4_a_target_has_at_most_2_kib():
    """S4: longer ones are not carried along."""
    longest = "/shop?" + "x" * (MAX_NEXT_BYTES - 6)

    assert longest == ALONE.checked(longest, None)
    assert START == ALONE.checked(longest + "x", None)
    assert START == ALONE.checked(None, None)
    assert START == ALONE.checked("", None)
