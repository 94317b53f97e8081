"""What one source may fill, and all together, within a minute."""

from __future__ import annotations

from proxy.core.shares import PERIOD_S, Shares

NOW = 1_800_000_000.0


def test_a_source_has_its_share_and_leaves_the_others_theirs():
    """Whoever has used up their own takes nothing from anybody else."""
    shares = Shares(each=2, together=5)
    assert [True, True, False, False] == [shares.take("a", NOW) for _ in range(4)]
    assert shares.take("b", NOW)


def test_all_sources_together_have_a_bound():
    """Many sources are as bounded as one, and are not even remembered beyond it."""
    shares = Shares(each=2, together=5)
    taken = [shares.take(str(number), NOW) for number in range(1000)]
    assert [True] * 5 + [False] * 995 == taken
    assert 5 >= sum(1 for name in range(1000) if shares._taken[str(name)])


def test_a_share_is_new_with_each_minute():
    """A window ends after a minute; a clock that goes back begins another one too."""
    shares = Shares(each=1, together=1)
    for at in (NOW, NOW + PERIOD_S, NOW - 3600):
        assert shares.take("a", at)
        assert not shares.take("a", at)
