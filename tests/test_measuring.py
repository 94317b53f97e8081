from __future__ import annotations

import coverage
import pytest

from tests.measuring import IS_LEFT_OUT, MEASURED_CASES


@pytest.mark.parametrize("case", range(MEASURED_CASES + 2))
def test_a_few_cases_of_a_test_alone_are_measured(case, request):
    """Nothing is measured in a case that is left out; which ones are, their order says."""
    del case
    test = request.node.nodeid.partition("[")[0]
    cases = [item for item in request.session.items if item.nodeid.partition("[")[0] == test]
    measured = [item for item in cases if not item.stash[IS_LEFT_OUT]]

    assert len(measured) == min(len(cases), MEASURED_CASES)
    if request.node not in measured:
        assert coverage.Coverage.current() is None


@pytest.mark.slow
def test_what_is_slow_is_not_measured():
    """A test that does something very often takes its own time and not three times that."""
    assert coverage.Coverage.current() is None


def test_a_single_test_is_measured(pytestconfig):
    """Wherever coverage is asked for, what is not left out is counted."""
    is_asked_for = bool(pytestconfig.getoption("cov_source", default=[]))

    assert is_asked_for == (coverage.Coverage.current() is not None)
