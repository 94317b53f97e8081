"""docs/scale.md: its arithmetic, computed again from the inputs that it states."""

from __future__ import annotations

import math

import pytest

from benchmarks import scale

TEXT = scale.PAGE.read_text()


def test_the_page_is_what_its_inputs_and_formulas_give():
    """Measured inputs are those of benchmarks/results, and every value is what its formula makes of them."""
    assert scale.filled(TEXT, scale.measured()) == TEXT, "run benchmarks/scale.py --write"


@pytest.mark.parametrize("name", ["hit_us", "session_all_bytes", "notice_bytes", "look_up_cpu_us"])
def test_an_input_that_changes_changes_the_page(name):
    """Nothing on the page is a constant that merely looks computed."""
    inputs = scale.measured()
    page = scale.filled(TEXT, inputs | {name: inputs[name] * 2})
    changed = [
        line.split("|")[1].strip()
        for old, line in zip(TEXT.splitlines(), page.splitlines(), strict=True)
        if old != line
    ]

    assert f"`{name}`" in changed
    assert len(changed) > 1


def test_every_input_is_used():
    """Whatever the page says was measured or assumed stands in a formula, but what it only tells."""
    tables = {match[1]: match[2] for match in scale.TABLE.finditer(TEXT)}
    formulas = [
        scale.cells(line)[1] for kind in ("computed", "sites") for line in tables[kind].splitlines()
    ]
    stated = [
        scale.cells(line)[0].strip("`")
        for kind in ("measured", "assumed")
        for line in tables[kind].splitlines()[2:]
    ]

    assert {"connection_kib"} == {
        name for name in stated if not any(name in one for one in formulas)
    }


@pytest.mark.parametrize(
    ("formula", "value"),
    [("2 * (a + 1)", 8.0), ("ceil(a / 2)", 2), ("a**2 - 1 / 4", 8.75)],
)
def test_a_formula_is_evaluated(formula, value):
    """Numbers, names, the usual operators, brackets and rounding up."""
    assert math.isclose(value, scale.evaluate(formula, {"a": 3}))


@pytest.mark.parametrize("formula", ["open('x')", "a.b", "'x'", "[1]"])
def test_nothing_else_is_a_formula(formula):
    """A page is text: what is no arithmetic is not run."""
    with pytest.raises(ValueError, match="not a formula"):
        scale.evaluate(formula, {"a": 3})


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1,234"), (99.94, "99.9"), (3.14159, "3.14"), (2.0, "2")]
)
def test_a_number_is_shown_with_three_digits(value, text):
    """As many digits as a reader can use."""
    assert text == scale.shown(value)
