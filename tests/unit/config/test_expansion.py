from __future__ import annotations

import pytest

from proxy.config.expansion import ExpansionError, expand

ENVIRONMENT = {"HOST": "shop", "EMPTY": "", "NESTED": "${HOST}", "PATTERN": r"\1\g<0>"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${HOST}", "shop"),
        ("http://${HOST}:80", "http://shop:80"),
        ("${HOST}${HOST}", "shopshop"),
        ("${UNSET:-a}", "a"),
        ("${EMPTY:-a}", "a"),
        ("${EMPTY}", ""),
        ("${HOST:-a}", "shop"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b}", "a:-b"),
        ("$${HOST}", "${HOST}"),
        ("$HOST $", "$HOST $"),
        ("{sub} ${HOST}", "{sub} shop"),
        ("${NESTED}", "${HOST}"),
        ("${PATTERN}", r"\1\g<0>"),
    ],
)
def test_variables_are_replaced_as_a_shell_does(text, expanded):
    """A default holds for unset and empty; `$${` is `${`; a value is not expanded again."""
    assert expanded == expand(text, ENVIRONMENT)[0]


def test_what_came_from_the_environment_is_told():
    """The values that must not be repeated in a message are those of the environment, no defaults."""
    assert expand("${HOST} ${UNSET:-a} ${HOST}", ENVIRONMENT)[1] == ("shop", "shop")


@pytest.mark.parametrize(
    "text", ["${}", "${1A}", "${A B}", "${A", "a ${", "${A-b}", "${A:=b}", "${A:-${B}}", "${a{b}"]
)
def test_what_is_no_variable_is_an_error(text):
    """A `${` that does not fit is a slip, never a plain text."""
    with pytest.raises(ExpansionError, match="must be"):
        expand(text, ENVIRONMENT)


def test_an_unset_variable_is_an_error():
    """A gate does not start with a hole where a name should be."""
    with pytest.raises(ExpansionError, match="UNSET is not set"):
        expand("${HOST}${UNSET}", ENVIRONMENT)
