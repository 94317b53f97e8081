from __future__ import annotations

from proxy.config.attribute_docs import attribute_docs
from proxy.config.outline import sections
from proxy.config.strict import Section


class Example(Section):
    """A section of the tests' own."""

    number: int = 1
    """Said in the schema,
    on two lines."""
    silent: int = 2
    again: int = 3
    """Replaced below."""


class Derived(Example):
    """One that has its base's keys as well."""

    again: int = 4
    """Said of the derived one."""


def test_descriptions_stand_beside_the_attributes():
    """An attribute's docstring is its description; one without has none."""
    assert attribute_docs(Example) == {
        "number": "Said in the schema,\non two lines.",
        "again": "Replaced below.",
    }


def test_a_base_describes_its_own_attributes():
    """What a section inherits is described where it was first written, unless it says more itself."""
    assert attribute_docs(Derived) == {
        "number": "Said in the schema,\non two lines.",
        "again": "Said of the derived one.",
    }


def test_what_is_described_is_a_key():
    """No description stands at a name that the section does not have."""
    for section in sections():
        assert attribute_docs(section).keys() <= section.model_fields.keys()
