"""What is noted of a request's look-ups."""

from __future__ import annotations

import time

from proxy.services.lookups import MOST, LookUps, watching


def test_a_look_up_is_noted_with_its_time_and_its_end():
    """It has ended when it is noted."""
    watch = LookUps()
    began = time.perf_counter_ns()
    watch.note("store", began, is_failed=True)
    (found,) = watch.found

    assert ("store", began, True) == (found.store, found.began_ns, found.is_failed)
    assert found.began_ns <= found.ended_ns


def test_what_goes_on_behind_a_request_is_not_noted():
    """A tunnel may look up for days: neither that nor a flood fills the memory."""
    watch = LookUps()
    for _ in range(MOST + 5):
        watch.note("store", 0, is_failed=False)
    closed = LookUps()
    closed.close()
    closed.note("store", 0, is_failed=False)

    assert (MOST, 0) == (len(watch.found), len(closed.found))


def test_nobody_watches_unless_asked_to():
    """Requests that are not traced cost a look at a variable."""
    assert watching.get() is None
