from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.strict import Section


class Example(Section):
    """A section of the tests' own."""

    number: int = 1


def test_a_section_takes_nothing_that_it_does_not_know():
    """An unknown key, or a text where a number is meant, is refused."""
    with pytest.raises(ValidationError):
        Example(nmber=2)
    with pytest.raises(ValidationError):
        Example(number="2")


def test_a_section_does_not_change():
    """What was checked at the start is what holds."""
    example = Example()
    with pytest.raises(ValidationError):
        example.number = 2

    assert example.number == 1


def test_a_mistake_does_not_show_the_value():
    """Pydantic's own error, should it ever be seen, is silent about what was given."""
    with pytest.raises(ValidationError) as caught:
        Example(number="hunter2")

    assert "hunter2" not in str(caught.value)
