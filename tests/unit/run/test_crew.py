from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.run.crew import Crew, GiveUp, Restart, RestartPolicy, State

POLICY = RestartPolicy(first_s=1.0, factor=2.0, longest_s=5.0, stable_s=30.0, attempts=3)


def running(size: int = 2) -> Crew:
    """Return a crew whose workers are all ready since 0."""
    crew = Crew(size, POLICY)
    for worker in range(size):
        crew.started(worker)
        crew.became_ready(worker, 0.0)
    return crew


def test_a_crew_is_ready_when_every_worker_is():
    """Started is not ready; all but one is not ready either."""
    crew = Crew(2, POLICY)
    assert not crew.is_ready
    crew.started(0)
    crew.started(1)
    crew.became_ready(0, 1.0)
    assert (False, 1) == (crew.is_ready, crew.ready)
    crew.became_ready(1, 2.0)
    assert (True, 2) == (crew.is_ready, crew.ready)


def test_a_worker_that_served_for_long_is_replaced_at_once():
    """A crash now and then costs as little time as can be."""
    crew = running()
    assert Restart(0.0) == crew.died(0, 1000.0)
    assert (False, State.WAITING, State.READY) == (
        crew.is_ready,
        crew.state_of(0),
        crew.state_of(1),
    )


def test_deaths_in_a_row_wait_longer_each_time_up_to_a_bound():
    """A fault that kills each new worker does not burn the machine."""
    crew = running()
    delays = []
    for _ in range(6):
        verdict = crew.died(0, 1.0)
        assert isinstance(verdict, Restart)
        delays.append(verdict.delay_s)
        crew.started(0)
    assert [0.0, 1.0, 2.0, 4.0, 5.0, 5.0] == delays


def test_a_good_while_forgives():
    """After `stable_s` of service the count begins anew; a long start without service does not."""
    crew = running()
    crew.died(0, 1.0)
    crew.started(0)
    crew.became_ready(0, 10.0)
    assert Restart(0.0) == crew.died(0, 40.0)
    crew.started(0)
    assert Restart(1.0) == crew.died(0, 500.0)


def test_each_place_counts_for_itself():
    """One worker's bad luck does not slow another's replacement."""
    crew = running()
    for _ in range(4):
        crew.died(0, 1.0)
        crew.started(0)
    assert Restart(0.0) == crew.died(1, 1.0)


def test_restarts_are_counted():
    """Of all places together; the end of a draining crew is none."""
    crew = running()
    crew.died(0, 1.0)
    crew.died(1, 1.0)
    crew.drain()
    crew.died(0, 2.0)
    assert 2 == crew.restarts


def test_a_gate_none_of_whose_workers_ever_served_gives_up():
    """A configuration that no worker can run is an error, not a loop."""
    crew = Crew(2, POLICY)
    crew.started(0)
    crew.started(1)
    verdicts = []
    for _ in range(3):
        verdicts.append(crew.died(0, 1.0))
        crew.started(0)
    assert [Restart(0.0), Restart(1.0), GiveUp()] == verdicts


def test_a_gate_that_has_served_never_gives_up():
    """What kept workers from starting may go away again."""
    crew = running()
    for _ in range(20):
        assert isinstance(crew.died(0, 1.0), Restart)
        crew.started(0)


def test_a_draining_crew_starts_nobody_and_ends_with_the_last():
    """A death is then what was asked for."""
    crew = running()
    crew.died(1, 1.0)
    crew.drain()
    assert (False, False, State.ENDED) == (crew.is_ready, crew.is_over, crew.state_of(1))
    assert crew.died(0, 2.0) is None
    assert crew.is_over


def test_a_late_word_of_a_dead_worker_changes_nothing():
    """`ready` of a worker that has died meanwhile makes nobody ready."""
    crew = running()
    crew.died(0, 1.0)
    crew.became_ready(0, 1.0)
    assert State.WAITING == crew.state_of(0)


@given(st.integers(min_value=1, max_value=10_000))
def test_no_delay_is_beyond_the_bound(deaths):
    """However many deaths: between zero and the longest, and never shorter than one fewer."""
    policy = RestartPolicy()
    assert 0 <= policy.delay_s(deaths) <= policy.longest_s
    assert policy.delay_s(deaths) <= policy.delay_s(deaths + 1)


@given(st.lists(st.tuples(st.sampled_from("srdD"), st.integers(0, 2), st.floats(0, 1e6))))
def test_no_order_of_events_breaks_the_crew(events):
    """Whatever happens in whatever order: a count that fits, and no start while draining."""
    crew = Crew(3, POLICY)
    for kind, worker, now in events:
        if kind == "s":
            crew.started(worker)
        elif kind == "r":
            crew.became_ready(worker, now)
        elif kind == "D":
            crew.drain()
        else:
            verdict = crew.died(worker, now)
            assert (verdict is None) == crew.is_draining
        assert 0 <= crew.ready <= 3


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_the_default_policy_is_quick_at_first(deaths):
    """The usual replacement takes less than a second."""
    assert RestartPolicy().delay_s(deaths) < 1
