from __future__ import annotations

import pytest

from proxy.config.header_names import IDENTITY, fold, why_no_source, why_not_mapped, why_not_passed


def test_names_fold_as_servers_fold_them():
    """H1: CGI, PHP and WSGI make one variable of X-Auth-Subject, X_Auth_Subject, x.auth.subject."""
    assert {fold(name) for name in ("X-Auth-Subject", "x_auth_subject", "X.Auth.Subject")} == {
        "x-auth-subject"
    }
    assert IDENTITY == {fold(name) for name in IDENTITY}


@pytest.mark.parametrize(
    "name",
    [
        "Host", "Cookie", "Content-Length", "content_length", "Transfer-Encoding", "Connection",
        "Sec-Fetch-Site", "Authorization", "Proxy", "X-Original-URL", "X-HTTP-Method-Override",
        "X-Auth-Subject", "X_Auth_Roles", "X-Forwarded-For", "Forwarded", "Via", "Upgrade", "TE",
        "Origin", "DPoP", "X-Request-Id",
    ],
)  # fmt: skip
def test_h1_identity_is_not_mapped_onto_the_requests_own_headers(name):
    """H1: neither framing, nor credentials, nor what routes a request, nor what the gate says."""
    assert why_not_mapped(name)


@pytest.mark.parametrize(
    "name", ["X-Remote-User", "Remote-User", "X-Auth-Tenant", "X-Forwarded-User"]
)
def test_h1_identity_is_mapped_onto_identity_headers(name):
    """An application may expect its user under any name of its own."""
    assert why_not_mapped(name) is None


@pytest.mark.parametrize(
    "name",
    ["Proxy", "X-Original-URL", "X_Original_URL", "X-Script-Name", "Ssl-Client-Verify",
     "X-Forwarded-Client-Cert", "Client-Cert", "client-cert-chain", "X-Auth-Token"],
)  # fmt: skip
def test_h2_a_removed_header_may_be_restored(name):
    """H2: who knows that the application needs it may let it through."""
    assert why_not_passed(name) is None


@pytest.mark.parametrize(
    "name",
    ["X-Auth-Subject", "x_auth_assertion", "X-Forwarded-User", "X-Forwarded-For", "Forwarded",
     "X-Real-IP", "CF-Connecting-IP", "True-Client-IP"],
)  # fmt: skip
def test_h2_a_clients_word_about_itself_never_passes(name):
    """H1, H2: what the gate says, and what only trusted hops say, no client says."""
    assert why_not_passed(name)


def test_a_header_that_is_not_removed_needs_no_exception():
    """A name without effect is a slip, perhaps of another name."""
    assert "not removed" in (why_not_passed("Accept") or "")


def test_tokens_are_not_read_from_headers_with_a_meaning():
    """A header source is a header of its own."""
    assert why_no_source("X-Api-Token") is None
    assert "bearer" in (why_no_source("authorization") or "")
    assert "cookie" in (why_no_source("Cookie") or "")
    for name in ("Host", "X-Auth-Subject", "X-Forwarded-Access-Token", "X-Real-IP"):
        assert why_no_source(name)
