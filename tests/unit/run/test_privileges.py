from __future__ import annotations

import pytest

from proxy.run.privileges import REFUSE_ROOT, root_problem


@pytest.mark.parametrize(
    ("environment", "uid", "is_refused"),
    [
        ({REFUSE_ROOT: "1"}, 0, True),
        ({REFUSE_ROOT: "1"}, 65532, False),
        ({REFUSE_ROOT: "0"}, 0, False),
        ({REFUSE_ROOT: ""}, 0, False),
        ({}, 0, False),
    ],
)
def test_root_is_refused_only_where_that_is_asked_for(environment, uid, is_refused):
    """The image sets the variable; a developer who is root is not bothered."""
    problem = root_problem(environment, uid)

    assert is_refused == (problem is not None)


def test_the_refusal_says_what_to_do():
    """It names the variable and the remedy."""
    problem = root_problem({REFUSE_ROOT: "1"}, 0)

    assert problem is not None
    assert REFUSE_ROOT in problem
    assert "leave the image's user" in problem
