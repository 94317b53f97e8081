"""Which requests have spans, and what those say, without a gate."""

from __future__ import annotations

import pytest

from proxy.adapters.telemetry.spans import Span
from proxy.core.forwarding import ForwardingPolicy
from proxy.edge.forward import Passage
from proxy.edge.tracing import RequestTrace, Tracer, Untraced
from proxy.model import Peer, RequestView
from proxy.services.lookups import watching

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = (
    (b"Traceparent", f"00-{TRACE}-{SPAN}-{flag}".encode()) for flag in ("01", "00")
)
NEAR = Peer(None, None, is_unix=True, is_tls=False)
FAR = Peer("192.0.2.7", 1, is_unix=False, is_tls=False)


def made(parents="trusted", sample=0.0):
    """Return a tracer, and the list of what it exports."""
    exported: list[Span] = []
    tracer = Tracer(
        exported.extend, sample=sample, parents=parents, forwarding=ForwardingPolicy(["unix"])
    )
    return tracer, exported


def view(*headers, peer=NEAR, method="GET", target=b"/a?b"):
    return RequestView(method, target, ((b"Host", b"shop.example"), *headers), peer)


@pytest.mark.parametrize(
    ("parents", "peer", "is_followed"),
    [
        ("trusted", NEAR, True), ("trusted", FAR, False), ("everyone", FAR, True),
        ("nobody", NEAR, False),
    ],
)  # fmt: skip
def test_who_is_followed_decides_whether_there_are_spans(parents, peer, is_followed):
    """A parent that is followed decides itself; any other is as if there were none, and is removed."""
    tracer, _ = made(parents)
    found = tracer.begin(view(SAMPLED, peer=peer), lot=None)
    watching.set(None)

    assert isinstance(found, RequestTrace if is_followed else Untraced)
    told = dict(found.outgoing([(b"a", b"b"), SAMPLED]))
    assert is_followed == (TRACE.encode() in told.get(b"traceparent", b""))
    assert SPAN.encode() not in told.get(b"traceparent", b"")
    assert b"b" == told[b"a"]


@pytest.mark.parametrize(
    ("headers", "lot", "expected"),
    [
        ((), False, True), ((), True, False), ((UNSAMPLED,), True, True),
        ((UNSAMPLED, UNSAMPLED), False, False), ((SAMPLED,), False, False),
        (((b"tracestate", b"a=1"),), False, False),
    ],
    ids=["lost", "won", "unsampled", "twice", "sampled", "state_alone"],
)  # fmt: skip
def test_the_lane_is_for_what_nothing_is_done_about(headers, lot, expected):
    """What begin() would leave as it is, and nothing else."""
    tracer, _ = made()
    found = tracer.begin(view(*headers), lot=lot)
    watching.set(None)

    assert expected == tracer.leaves_alone(view(*headers), lot=lot)
    assert expected == (found is None)


def test_all_or_none_by_the_share():
    """A share of 1 is every request, one of 0 is none."""
    assert all(made(sample=1.0)[0].draw() for _ in range(100))
    assert not any(made(sample=0.0)[0].draw() for _ in range(100))


def test_a_request_that_never_came_to_a_decision_has_its_spans():
    """A method that nobody knows is no word of a span, and its target neither."""
    tracer, exported = made(sample=1.0)
    found = tracer.begin(view(method="EYJSECRET", target=b"http://u:p@h/x?y"), lot=True)
    passage = Passage(request_id="1" * 32, status=500, code="internal_error")
    assert found is not None
    found.finish(view(method="EYJSECRET", target=b"http://u:p@h/x?y"), None, "error", passage)
    request, verdict = exported

    assert ("_OTHER", "server", True, None) == (
        request.name, request.kind, request.is_failed, request.parent_id,
    )  # fmt: skip
    assert ("/x", "REDACTED", "1" * 32) == tuple(
        request.attributes[name] for name in ("url.path", "url.query", "latchgate.request_id")
    )
    assert request.span_id == verdict.parent_id
    assert request.began_ns <= verdict.began_ns <= verdict.ended_ns <= request.ended_ns
    assert watching.get() is None
