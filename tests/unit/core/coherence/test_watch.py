"""The watch over one set of credentials, with clocks that the test moves."""

from __future__ import annotations

import pytest

from proxy.core.coherence import VerdictCache
from proxy.core.coherence.source import Scope
from proxy.core.coherence.verdict import Verdict
from proxy.core.coherence.watch import CHECK_S, Watch
from proxy.model import Identity, Refusal

WHO = Identity("local", "ada", "web")
KEY = ("web", 1, b"one")
EPOCH = 1_800_000_000.0
"""`now` where `mono` is 0."""


class Bench:
    """One pinned credential, and what happens to its store."""

    def __init__(self, *, grace_s=None, is_bridged=False):
        self.cache = VerdictCache(entries=10, size=10**6)
        self.source = self.cache.source("store", max_staleness_s=2.0, grace_s=grace_s)
        self.source.tracked(0.0)
        self.scope = self.source.scope()
        self.watch = Watch(max_staleness_s=2.0, is_bridged=is_bridged, mono=0.0, now=EPOCH)
        self.watch.hold([self.cache.pin(KEY, self.changed)])

    def changed(self, _pin):
        self.watch.changed(is_outage=self.source.state == "lost")

    def fill(self, until=float("inf"), **verdict):
        verdict = Verdict(WHO, **verdict)
        self.cache.keep(KEY, verdict, self.scope, store_keys=(b"s",), until=until)
        return verdict

    def good(self, mono=0.0, **verdict):
        """Let the credential be asked for at `mono`, and found good."""
        made = self.fill(**verdict)
        self.watch.confirmed(mono, EPOCH + mono, None)
        return made

    def look(self, mono):
        return self.watch.look(mono, EPOCH + mono)

    def due(self, mono):
        return self.watch.due_at(mono, EPOCH + mono)


@pytest.fixture
def bench():
    return Bench()


def test_r7_a_new_watch_asks_at_once(bench):
    """What was decided may have changed before anybody watched."""
    assert "ask" == bench.look(0.0)
    bench.good()
    assert "nothing" == bench.look(0.0)


def test_r7_what_is_never_confirmed_ends(bench):
    """Within `max_staleness` of its beginning."""
    bench.watch.unanswered(0.5)
    assert ("nothing", "ask", "ask", "end") == tuple(map(bench.look, (0.6, 0.75, 2.0, 2.1)))


def test_r7_it_lives_as_long_as_the_store_is_heard(bench):
    """Each proof of freshness prolongs it; without one it ends."""
    bench.good()
    bench.source.proven(1.5)
    assert "nothing" == bench.look(3.5)
    assert "end" == bench.look(3.6)


def test_r7_a_change_makes_it_ask_and_then_end(bench):
    """From the last proof before the change, however fresh the connection is afterwards."""
    bench.good()
    bench.source.proven(1.0)
    bench.source.invalidated([b"s"])
    bench.watch.unanswered(1.2)
    for at in (2.0, 3.0):
        bench.source.proven(at)
        assert "ask" == bench.look(at)
    assert "end" == bench.look(3.1)


def test_r7_a_loss_makes_it_ask_when_tracking_is_back(bench):
    """Until then, and until it is answered, the last proof counts."""
    bench.good()
    bench.source.proven(1.0)
    bench.source.lost()
    assert "nothing" == bench.look(2.0)
    bench.source.tracked(2.5)
    bench.watch.unanswered(2.5)
    assert ("ask", "end") == (bench.look(3.0), bench.look(3.1))


def test_r8_a_bridged_watch_outlives_an_outage_and_no_change():
    """R8: a loss is bridged until the grace is over, a change is not."""
    for happens, last in (
        (lambda s: (s.lost(), s.tracked(9.0)), 30.0),
        (lambda s: s.invalidated([b"s"]), 2.0),
    ):
        bench = Bench(grace_s=30.0, is_bridged=True)
        bench.good()
        happens(bench.source)
        bench.watch.unanswered(0.0)
        assert ("ask", "end") == (bench.look(last), bench.look(last + 0.1))


def test_r10_where_nobody_tells_it_asks_twice_in_max_staleness(bench):
    """R10: a good answer is good for `max_staleness`, and is asked for again in its middle."""
    bench.watch.confirmed(0.0, EPOCH, None)
    assert ("nothing", "ask") == (bench.look(0.9), bench.look(1.0))
    bench.watch.unanswered(1.0)
    assert ("nothing", "ask", "end") == (bench.look(1.1), bench.look(1.25), bench.look(2.1))


def test_r7_the_end_of_a_token_is_asked_for(bench):
    """On the clock of the day, to the moment; and the timer knows when that is."""
    bench.good(not_after=EPOCH + 1.5)
    assert 1.5 == bench.due(0.0)
    assert ("nothing", "ask") == (bench.look(1.4), bench.look(1.5))


def test_r7_a_use_puts_idleness_off(bench):
    """The verdict is shared with requests: their use counts as well."""
    verdict = bench.good(seen_at=EPOCH, idle_s=1.0)
    assert "ask" == bench.look(1.0)
    verdict.seen_at = EPOCH + 0.9
    assert ("nothing", "ask") == (bench.look(1.0), bench.look(1.9))


def test_r7_the_end_of_a_foreign_session_is_asked_for(bench):
    """Its key's life is counted on the clock that counts suspension."""
    bench.good(until=1.5)
    assert (1.5, "nothing", "ask") == (bench.due(0.0), bench.look(1.4), bench.look(1.5))


def test_r7_while_it_is_asked_only_the_deadline_counts(bench):
    """The timer does not spin for an answer that is on its way."""
    bench.good(not_after=EPOCH)
    assert (0.0, 2.0) == (bench.due(0.0), bench.watch.due_at(0.0, EPOCH, is_asked=True))


def test_k3_what_the_store_cannot_say_is_checked_now_and_then(bench):
    """K3: a key that left its set. A doubt that nobody clears up ends the connection."""
    bench.good()
    bench.source.proven(CHECK_S + 60)
    assert ("nothing", "check", "nothing") == tuple(
        map(bench.look, (CHECK_S - 0.1, CHECK_S, CHECK_S + 0.1))
    )
    bench.watch.doubted(CHECK_S)
    bench.watch.unanswered(CHECK_S)
    assert ("ask", "end") == (bench.look(CHECK_S + 2), bench.look(CHECK_S + 2.1))


@pytest.mark.parametrize(
    ("code", "mono", "expected"),
    [
        ("session_expired", 0.0, True),
        ("token_expired", 0.0, True),
        ("token_revoked", 9.0, False),
        ("role_missing", 9.0, False),
        ("session_unknown", 0.0, False),
        ("session_unknown", 9.0, True),
    ],
)
def test_a_revocation_is_told_from_an_expiry(bench, code, mono, expected):
    """A session that is gone was ended, unless its end had come."""
    bench.good(not_after=EPOCH + 9.0)
    assert expected == bench.watch.is_expiry(Refusal(code), mono, EPOCH + mono)


def test_idleness_is_no_end_for_what_is_gone(bench):
    """A session that was idle and is deleted later was revoked: its record stays till its end."""
    bench.good(not_after=EPOCH + 9.0, seen_at=EPOCH, idle_s=1.0)
    assert not bench.watch.is_expiry(Refusal("session_unknown"), 5.0, EPOCH + 5.0)


def test_what_outlives_its_time_is_judged_as_of_then(bench):
    """And is watched on: its clocks are silent, its store is heard."""
    bench.good(0.5, not_after=EPOCH + 1.0)
    assert bench.watch.outlived(1.0)
    assert EPOCH + 0.5 == bench.watch.judged_at(EPOCH + 7.0)
    assert "ask" == bench.look(1.0)
    bench.watch.confirmed(1.0, EPOCH + 0.5, None)
    assert "nothing" == bench.look(1.5)
    bench.source.invalidated([b"s"])
    assert not bench.watch.is_known
    assert not bench.watch.outlived(1.5)


def test_what_outlives_its_time_where_nobody_tells_is_polled(bench):
    """R10 goes on as well."""
    assert bench.watch.outlived(1.0)
    assert not bench.watch.outlived(1.0)
    assert ("nothing", "ask", "end") == (bench.look(1.9), bench.look(2.0), bench.look(3.1))


def test_it_asks_when_a_route_wants_a_newer_proof(bench):
    """At that moment, as at the end of the credential; afterwards only what is new counts."""
    bench.fill()
    bench.watch.confirmed(0.0, EPOCH, None, EPOCH + 1.5)
    assert 1.5 == bench.due(0.0)
    bench.source.proven(1.4)
    assert ("nothing", "ask") == (bench.look(1.4), bench.look(1.5))
    assert bench.watch.is_expiry(Refusal("step_up_required"), 1.5, EPOCH + 1.5)
    bench.watch.confirmed(1.5, EPOCH + 1.5, None)
    assert "nothing" == bench.look(1.6)


def test_r7_what_hangs_on_no_store_is_bounded_too():
    """R7: a token whose key was withdrawn, while nobody can say more, keeps nothing open for ever."""
    cache = VerdictCache(entries=10, size=10**6)
    watch = Watch(max_staleness_s=2.0, is_bridged=False, mono=0.0, now=EPOCH)
    watch.hold([cache.pin(KEY, lambda _pin: watch.changed(is_outage=False))])
    cache.keep(KEY, Verdict(WHO), Scope(None))
    watch.confirmed(0.0, EPOCH, None)
    assert "end" != watch.look(1.0, EPOCH + 1.0)
    cache.drop(KEY, "key")
    watch.doubted(1.0)
    watch.unanswered(1.0)

    assert "end" == watch.look(3.1, EPOCH + 3.1)
