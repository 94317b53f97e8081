"""R9: a bad signature is checked once."""

from __future__ import annotations

from proxy.core.coherence import Forgeries
from proxy.core.keyset import KeySet
from proxy.model import Rejected

KEYS, NEWER = KeySet([]), KeySet([])
BAD = Rejected("token_invalid")


def key(number):
    return ("api", 1, b"%d" % number)


def test_r9_a_forgery_is_remembered_for_these_keys_and_a_short_time():
    """R9: a new key may make it good, and so may time."""
    forgeries = Forgeries(life_s=10.0)
    forgeries.put(key(1), BAD, KEYS, 0.0)
    assert BAD is forgeries.get(key(1), KEYS, 10.0)
    assert forgeries.get(key(2), KEYS, 0.0) is None
    assert forgeries.get(key(1), KEYS, 10.1) is None
    forgeries.put(key(1), BAD, KEYS, 0.0)
    assert forgeries.get(key(1), NEWER, 0.0) is None
    assert 0 == len(forgeries)


def test_it_is_bounded():
    """The oldest go first."""
    forgeries = Forgeries(entries=3)
    for number in range(5):
        forgeries.put(key(number), BAD, KEYS, 0.0)
    assert 3 == len(forgeries)
    assert forgeries.get(key(1), KEYS, 0.0) is None
    assert BAD is forgeries.get(key(2), KEYS, 0.0)
