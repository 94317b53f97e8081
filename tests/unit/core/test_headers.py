"""Request headers: what is refused, what is removed, what a route may let through."""

from __future__ import annotations

import pytest

from proxy.config.header_names import why_not_mapped, why_not_passed
from proxy.core.headers import (
    CLIENT_ADDRESS_NAMES,
    CONNECTION_NAMES,
    FORWARDING_NAMES,
    GUARDED_NAMES,
    IDENTITY_NAMES,
    OVERRIDE_NAMES,
    HeaderRules,
    compile_pass_headers,
    fold,
    forbidden_identity_name,
    is_token,
    nominations,
)

RULES = HeaderRules({"X-Remote-User", "Authorization", *IDENTITY_NAMES})


def strip(*names, trusted=False, passed=frozenset()):
    """Return the names that are left of `names`."""
    headers = [(name.encode("latin-1"), b"v") for name in names]
    return [
        name.decode("latin-1")
        for name, _ in RULES.strip(headers, is_trusted=trusted, passed=passed)
    ]


def check(*headers):
    """Return the code of the refusal of `headers` (name, or name and value), or `None`."""
    pairs = [
        (header, b"v") if isinstance(header, bytes) else header
        for header in (h.encode("latin-1") if isinstance(h, str) else h for h in headers)
    ]
    refusal = RULES.check(pairs)
    return refusal.code if refusal else None


def test_h1_fold_makes_all_spellings_equal():
    """Letters become lower case, and all that is neither letter nor digit a hyphen."""
    for spelling in (b"X-Auth-Subject", b"x_auth_subject", b"X.AUTH.SUBJECT", b"X!Auth~Subject"):
        assert fold(spelling) == b"x-auth-subject"


def test_h1_fold_covers_every_byte():
    """No byte outside a-z, 0-9 and the hyphen is left, whatever it was."""
    assert set(fold(bytes(range(256)))) == set(b"abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"\xdf", b"a\x00", b"a\xa0b", b'"'])
def test_a_name_that_is_no_token_is_none(name):
    """Empty names, white space, separators, controls and bytes above ASCII."""
    assert not is_token(name)


def test_connection_options_are_read_as_a_list():
    """Lower case, without white space, empty members ignored."""
    assert nominations(b" Close,\tFoo-Bar , ,") == frozenset({b"close", b"foo-bar"})


@pytest.mark.parametrize("name", ["X-Auth-Subject", "x-auth-anything", "X_AUTH.NEW", "X-Auth-"])
@pytest.mark.parametrize("trusted", [False, True])
def test_h1_all_of_x_auth_goes(name, trusted):
    """Known or not, from anybody: X-Auth-* is the gate's word (field.md §3 #6)."""
    assert strip("Accept", name, trusted=trusted) == ["Accept"]


@pytest.mark.parametrize("name", ["X-Remote-User", "x_remote_user", "X.Remote-USER"])
def test_h1_what_any_route_sets_goes_everywhere(name):
    """The rules are one for the whole file, so a public route removes it too (field.md §3 #27)."""
    assert strip(name) == []


def test_h1_authorization_stays_where_bearer_is_set_elsewhere():
    """Only the route that sets Authorization removes it, together with H6."""
    assert strip("Authorization", "Cookie", "Origin", "DPoP") == [
        "Authorization",
        "Cookie",
        "Origin",
        "DPoP",
    ]


def test_h1_a_name_that_only_resembles_stays():
    """`X-Auth` and `X-Authority` are not `X-Auth-…`."""
    assert strip("X-Auth", "X-Authority", "XAuth-Subject") == [
        "X-Auth",
        "X-Authority",
        "XAuth-Subject",
    ]


@pytest.mark.parametrize("name", sorted(n.decode() for n in OVERRIDE_NAMES))
@pytest.mark.parametrize("trusted", [False, True])
def test_h2_overrides_go(name, trusted):
    """Nobody's header chooses another path, method or script name."""
    assert strip(name, name.upper(), name.replace("-", "_"), trusted=trusted) == []


def test_h2_client_certificate_headers_go():
    """All of `Ssl-Client-…`, in every spelling."""
    assert strip("Ssl-Client-Verify", "SSL_CLIENT_CERT", "ssl.client.s-dn", trusted=True) == []


@pytest.mark.parametrize("name", sorted(n.decode() for n in FORWARDING_NAMES))
@pytest.mark.parametrize("trusted", [False, True])
def test_h2_what_the_gate_writes_never_passes(name, trusted):
    """The gate's own take their place, whoever sent them (field.md §3 #11)."""
    assert strip(name, name.replace("-", "_"), trusted=trusted) == []


@pytest.mark.parametrize("name", ["X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups"])
def test_h2_forwarded_identity_never_passes(name):
    """A trusted proxy's X-Forwarded-User is not the gate's word either."""
    assert strip(name, trusted=True) == []


def test_h2_client_addresses_pass_from_trusted_peers_only():
    """X-Real-IP and its like are believed by applications, so strangers send none."""
    names = ["X-Real-IP", "True-Client-IP", "X-Client-IP", "CF-Connecting-IP"]

    assert strip(*names) == []
    assert strip(*names, trusted=True) == names
    assert strip("X_Real_IP", trusted=True) == []


def test_framing_and_hop_by_hop_headers_are_taken_out():
    """The forwarder writes its own; `Via` is a list that the gate adds to."""
    names = [name.decode() for name in sorted(CONNECTION_NAMES)]

    assert strip("Via", *names, "Keep_Alive") == ["Via"]


def test_what_connection_nominates_is_taken_out():
    """RFC 9110 §7.6.1: fields of this connection only, from all of its lines."""
    headers = [
        (b"Foo", b"1"),
        (b"Connection", b"close, foo"),
        (b"Accept", b"2"),
        (b"connection", b"X-Hop"),
        (b"x-hop", b"3"),
        (b"FOO", b"4"),
    ]

    assert RULES.strip(headers, is_trusted=False) == [(b"Accept", b"2")]


def test_order_and_duplicates_are_kept():
    """Everything else passes as it came."""
    headers = [(b"B", b"1"), (b"a", b"2"), (b"b", b"3"), (b"Cookie", b"x=1"), (b"Cookie", b"y=2")]

    assert RULES.strip(headers, is_trusted=False) == headers


@pytest.mark.parametrize(
    "name",
    [
        "Content_Length",
        "content.length",
        "Transfer_Encoding",
        "TRANSFER.ENCODING",
        "Sec_Fetch_Site",
        "Sec-Fetch_Site",
        "sec.websocket.key",
    ],
)
def test_h3_a_disguised_name_is_refused(name):
    """A name that folds to a guarded one, but is spelled otherwise, is 400."""
    assert check(name) == "header_ambiguous"
    assert strip(name) == []


@pytest.mark.parametrize("name", sorted(n.decode() for n in GUARDED_NAMES))
def test_h3_case_is_no_disguise(name):
    """The exact name in any case passes the check."""
    assert check(name.upper()) is None
    assert check(name.title()) is None


def test_h3_sec_headers_pass_as_they_are():
    """`Sec-…` in its own spelling is nothing odd."""
    assert check("Sec-Fetch-Site", "SEC-WEBSOCKET-KEY", "Security") is None


@pytest.mark.parametrize(
    "option",
    [
        b"Host",
        b"Cookie",
        b"authorization",
        b"DPoP",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Origin",
        b"Sec-Fetch-Site",
        b"X-Auth-Subject",
        b"x_auth_subject",
        b"X-Remote-User",
        b"x.remote.user",
        b"up.grade, content_length",
    ],
)
def test_h3_a_connection_that_names_what_counts_is_refused(option):
    """No nomination can take away a credential, framing or the gate's word (field.md §3 #32)."""
    assert check((b"Connection", b"close, " + option)) == "header_ambiguous"


@pytest.mark.parametrize(
    "value",
    [
        b"close",
        b"keep-alive",
        b"Upgrade",
        b"keep-alive, Upgrade",
        b"X-Forwarded-For",
        b"Upgrade, HTTP2-Settings",
        b"TE",
        b"",
    ],
)
def test_h3_ordinary_connections_pass(value):
    """`Upgrade` may be named, and so may what is only removed."""
    assert check((b"Connection", value)) is None


def test_h3_every_line_of_connection_is_read():
    """A second line is no hiding place."""
    assert check((b"Connection", b"close"), (b"connection", b"cookie")) == "header_ambiguous"


def test_h3_two_authorizations_are_refused():
    """Equal or not: servers differ in which of two they read (field.md §3 #33)."""
    assert check("Authorization") is None
    assert check("Authorization", "authorization") == "header_ambiguous"


@pytest.mark.parametrize("name", ["", "a b", "X-I\xdfuer", "a\x7fb"])
def test_h3_a_name_that_is_no_token_is_refused(name):
    """What is not a field name is read by every server in its own way."""
    assert check(name) == "header_ambiguous"
    assert strip(name) == []


def test_h3_the_log_sees_a_short_and_printable_name_and_no_value():
    """Control characters and length of a name do not reach the log; values never do (S15)."""
    refusal = RULES.check([(b"\x1b[31m" + b"a" * 900 + b"_", b"secret")])

    assert refusal is not None
    assert refusal.detail.isprintable()
    assert len(refusal.detail) < 150
    assert "secret" not in refusal.detail


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Host", "belongs to the request"),
        ("cookie", "belongs to the request"),
        ("Content_Length", "belongs to the request"),
        ("Transfer-Encoding", "belongs to the request"),
        ("Sec-Fetch-Site", "belongs to the request"),
        ("TE", "belongs to the request"),
        ("Authorization", "bearer"),
        ("X-Forwarded-For", "written by the gate"),
        ("Via", "written by the gate"),
        ("X_Request_Id", "written by the gate"),
        ("X-Auth-Subject", "on every guarded route"),
        ("Content_Type", "message's body"),
        ("Range", "message's body"),
        ("X-Rewrite-URL", "another path or method"),
        ("a b", "not a header name"),
        ("Ä", "not a header name"),
    ],
)
def test_h1_identity_is_not_mapped_onto_what_the_request_needs(name, reason):
    """Such a mapping is a configuration error."""
    assert reason in (forbidden_identity_name(name) or "")


@pytest.mark.parametrize("name", ["X-Remote-User", "X-Forwarded-User", "X-Auth-Tenant"])
def test_h1_identity_is_mapped_onto_other_names(name):
    """An application's own header, another gate's, and other X-Auth names can carry it."""
    assert forbidden_identity_name(name) is None


def test_h1_rules_refuse_a_name_that_cannot_carry_identity():
    """The same error, should a plan ever name it."""
    with pytest.raises(ValueError, match="Cookie belongs"):
        HeaderRules({"Cookie"})


def test_h1_pass_headers_restore_an_applications_own():
    """Only the exact name passes, in any case; its other spellings do not."""
    passed = compile_pass_headers(["X-Auth-Token", "X-HTTP-Method-Override"], RULES)

    assert strip("x-auth-TOKEN", "X_Auth_Token", "X-Auth-Tokens", passed=passed) == ["x-auth-TOKEN"]
    assert strip("X-HTTP-Method-Override", "X-Script-Name", passed=passed) == [
        "X-HTTP-Method-Override"
    ]


@pytest.mark.parametrize("name", ["X-Forwarded-Client-Cert", "Client-Cert", "Client-Cert-Chain"])
def test_h2_a_certificate_header_passes_from_trusted_peers_when_named(name):
    """A stranger's stays out even then, in whatever spelling (RFC 9440)."""
    passed = compile_pass_headers([name], RULES)

    assert strip(name, name.replace("-", "_"), passed=passed) == []
    assert strip(name, name.replace("-", "_"), passed=passed, trusted=True) == [name]
    assert strip(name, trusted=True) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("X-Auth-Subject", "set by the gate"),
        ("x_auth_assertion", "set by the gate"),
        ("X_Remote.User", "set by the gate"),
        ("X-Forwarded-For", "the gate's to write"),
        ("X-Forwarded-User", "the gate's to write"),
        ("X-Request-Id", "the gate's to write"),
        ("X-Real-IP", "trusted_proxies"),
        ("Cookie", "belongs to the request"),
        ("Sec-Fetch-Site", "belongs to the request"),
        ("Accept", "passes without being named"),
        ("a b", "not a header name"),
    ],
)
def test_h1_pass_headers_restore_nothing_else(name, reason):
    """What the gate sets, writes or needs cannot be let through by naming it."""
    with pytest.raises(ValueError, match=reason):
        compile_pass_headers([name], RULES)


def test_the_memo_is_bounded_and_never_wrong():
    """Ten thousand different names leave a bounded memo, and the same answers behind them."""
    rules = HeaderRules()
    for number in range(10_000):
        headers = [(b"X-N%d" % number, b""), (b"X-Auth-%d" % number, b"")]
        connection = (b"Connection", b"n%d" % number)

        assert rules.strip([*headers, connection], is_trusted=False) == headers[:1]
    assert len(rules._memo) <= 2048
    assert len(rules._nominations) <= 2048


def test_long_names_are_not_remembered():
    """A client cannot fill the memory with names of many KiB."""
    rules = HeaderRules()
    long = b"x" * 1000

    assert rules.strip([(long, b""), (b"Connection", long)], is_trusted=False) == []
    assert long not in rules._memo
    assert long not in rules._nominations


def test_the_check_reads_past_harmless_authorizations_and_connections():
    """One Authorization and a plain Connection do not end the check early."""
    assert check("Authorization", (b"Connection", b"close"), "Content_Length") == "header_ambiguous"


def may_pass(name):
    """Tell whether `pass_headers` may name `name`."""
    try:
        compile_pass_headers([name], HeaderRules())
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "name",
    [
        *sorted(
            name.decode()
            for name in GUARDED_NAMES
            | CONNECTION_NAMES
            | OVERRIDE_NAMES
            | FORWARDING_NAMES
            | CLIENT_ADDRESS_NAMES
        ),
        *IDENTITY_NAMES,
        *("Via", "Sec-Any", "X-Auth-Token", "Ssl-Client-Any", "X-Forwarded-User", "X-Any"),
        *(
            "Content-Type",
            "Content-Encoding",
            "Content-Range",
            "Range",
            "Set-Cookie",
            "Remote_User",
        ),
    ],
)
def test_h1_h2_the_configuration_and_the_core_allow_the_same_names(name):
    """What `check` accepts can be compiled, and what it refuses could not have worked."""
    assert (why_not_mapped(name) is None) == (forbidden_identity_name(name) is None)
    assert (why_not_passed(name) is None) == may_pass(name)
