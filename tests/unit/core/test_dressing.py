"""What an operator adds to answers and takes from them."""

from __future__ import annotations

from proxy.config.models import HstsConfig, ResponseHeadersConfig
from proxy.core.dressing import Dressing
from proxy.core.responses import ResponsePlan

DEFAULT = ResponseHeadersConfig(set={"X-Frame-Options": "DENY", "X-A": "1"}, remove=["Server"])


def test_a_route_has_the_last_word_on_a_name():
    """What it sets or removes stands in the place of the default, however it is spelled."""
    own = ResponseHeadersConfig(set={"server": "shop"}, remove=["X-FRAME-OPTIONS"])
    dressing = Dressing.compile(DEFAULT, own)

    assert dressing.added == ((b"X-A", b"1"), (b"server", b"shop"))
    assert dressing.dropped == {b"x-frame-options", b"x-a", b"server"}


def test_https_is_promised_over_https_alone():
    """RFC 6797 §7.2: no answer over plain HTTP carries the header, not even the application's."""
    dressing = Dressing.compile(
        ResponseHeadersConfig(), None, HstsConfig(max_age="1d", subdomains=True)
    )
    said = [(b"strict-transport-security", b"max-age=1")]

    assert ResponsePlan(is_guarded=False, dropped=dressing.dropped).apply(said) == []
    assert dressing.to(is_secure=False) == ()
    assert dressing.to(is_secure=True) == (
        (b"Strict-Transport-Security", b"max-age=86400; includeSubDomains"),
    )


def test_the_whole_promise():
    """`preload` is a word of its own, and 0 takes everything back."""
    assert Dressing.compile(DEFAULT, None, HstsConfig(max_age="0s", preload=True)).hsts == (
        b"Strict-Transport-Security",
        b"max-age=0; preload",
    )


def test_the_gates_own_word_stands():
    """An application's policy for its pages does not open the gate's own."""
    lines = [(b"Content-Security-Policy", b"default-src 'none'")]
    loose = ResponseHeadersConfig(set={"content-security-policy": "default-src *", "X-A": "1"})

    assert Dressing.compile(loose).own(lines, is_secure=True) == [*lines, (b"X-A", b"1")]


def test_what_is_set_replaces_and_what_is_removed_is_gone():
    """In every spelling that a server behind could take for it, and in early hints and trailers too."""
    dressing = Dressing.compile(DEFAULT)
    plan = ResponsePlan(
        is_guarded=False, dropped=dressing.dropped, added=dressing.to(is_secure=False)
    )
    said = [(b"x_frame_options", b"ALLOW"), (b"SERVER", b"x"), (b"X-B", b"2")]

    assert plan.apply(said) == [(b"X-B", b"2"), (b"X-Frame-Options", b"DENY"), (b"X-A", b"1")]
    assert plan.informational(said) == plan.trailers(said) == [(b"X-B", b"2")]


def test_what_the_gate_says_of_one_answer_stands_before_what_is_set():
    """A header that this very request needs is not said twice."""
    plan = ResponsePlan(is_guarded=False, added=((b"Cache-Control", b"max-age=60"),))

    assert plan.apply([], [(b"Cache-Control", b"no-store")]) == [(b"Cache-Control", b"no-store")]
