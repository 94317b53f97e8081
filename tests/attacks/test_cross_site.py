"""A page of another site makes a signed-in browser send something (CSRF, cross-site WebSocket)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proxy.core.cors import CorsPolicy
from proxy.core.cross_site import CrossSitePolicy
from proxy.model import ClientInfo, Peer, RequestView

HOST = "shop.example"
PEER = Peer("192.0.2.1", 40000, is_unix=False, is_tls=True)
CLIENT = ClientInfo("192.0.2.1", "https", HOST, None, is_trusted_peer=False)


@dataclass(frozen=True)
class Attack:
    """What a browser sends for the attacker's page; `None` for a header it leaves out."""

    what: str
    method: str
    origin: bytes | None
    site: bytes | None
    upgrade: bool = False

    def view(self):
        """Return the request head."""
        headers = [(b"Host", HOST.encode()), (b"Cookie", b"__Host-sid=x")]
        if self.origin is not None:
            headers.append((b"Origin", self.origin))
        if self.site is not None:
            headers.append((b"Sec-Fetch-Site", self.site))
        if self.upgrade:
            headers += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        return RequestView(self.method, b"/transfer", tuple(headers), PEER)


EVIL = b"https://evil.example"
ATTACKS = [
    Attack("form post", "POST", EVIL, b"cross-site"),
    Attack("form post, old browser", "POST", EVIL, None),
    Attack("form post from a sandboxed frame", "POST", b"null", b"cross-site"),
    Attack("form post from a sandboxed frame, old browser", "POST", b"null", None),
    Attack("post after a redirect", "POST", b"null", b"cross-site"),
    Attack("post from a sibling", "POST", b"https://user-pages.shop.example", b"same-site"),
    Attack("post from a sibling, old browser", "POST", b"https://cdn.shop.example", None),
    Attack("post from plain http", "POST", b"http://shop.example", b"cross-site"),
    Attack("post from plain http, old browser", "POST", b"http://shop.example", None),
    Attack("post from another port", "POST", b"https://shop.example:8443", b"same-site"),
    Attack("post from another port, old browser", "POST", b"https://shop.example:8443", None),
    Attack("websocket", "GET", EVIL, b"cross-site", upgrade=True),
    Attack("websocket, old browser", "GET", EVIL, None, upgrade=True),
    Attack("websocket from a sandboxed frame", "GET", b"null", None, upgrade=True),
    Attack("suffix", "POST", b"https://shop.example.evil.example", None),
    Attack("prefix", "POST", b"https://evilshop.example", None),
    Attack("user info", "POST", b"https://shop.example@evil.example", None),
    Attack("path", "POST", b"https://evil.example/https://shop.example", None),
    Attack("list", "POST", b"https://shop.example https://evil.example", None),
    Attack("extension", "POST", b"chrome-extension://shop.example", None),
    Attack("file", "POST", b"file://", None),
    Attack("idn look-alike", "POST", "https://sh\u043ep.example".encode(), None),
    Attack("control character", "POST", b"https://shop.example\x00.evil.example", None),
    Attack("lying word", "POST", EVIL, b"same-origin;cross-site"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_s3_the_session_is_not_used(attack):
    """S3: whatever page sends it, the request does not pass with the browser's credential."""
    policy = CrossSitePolicy(public_url="https://shop.example")

    refusal = policy.check(attack.view(), CLIENT)
    assert refusal is not None
    assert refusal.code == "cross_site"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_s3_a_list_opens_to_its_origins_only(attack):
    """S3: exceptions for others do not help the attacker."""
    cors = CorsPolicy(["https://partner.example"], credentials=True)
    policy = CrossSitePolicy(
        origins=["https://app.example"], cors_origins=cors.credentialed_origins
    )

    assert not policy.allows(attack.view(), CLIENT)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_s3_a_stranger_reads_nothing(attack):
    """S3: no answer lets the attacker's page read it, with credentials or without."""
    cors = CorsPolicy(["https://app.example"], credentials=True)

    assert cors.response(attack.origin) == ((b"Vary", b"Origin"),)


def test_s3_a_spoofed_forwarded_host_is_not_ours_to_believe():
    """S3: the host compared is H5's; from a peer that is not trusted it is the Host header's."""
    attack = Attack("cache poisoning", "POST", EVIL, None)
    view = attack.view()
    view.headers += ((b"X-Forwarded-Host", b"evil.example"), (b"X-Forwarded-Port", b"443"))

    assert not CrossSitePolicy().allows(view, CLIENT)
