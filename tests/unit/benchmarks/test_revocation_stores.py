"""The pure parts of benchmarks/revocation_stores.py, and the results that were kept of it."""

from __future__ import annotations

import copy
import json

import pytest

pytest.importorskip("psutil")

from benchmarks import revocation_stores as stores
from benchmarks.rig import lag, report

KEPT = json.loads((report.RESULTS / "revocation_stores.json").read_text())


def test_the_page_is_made_of_the_figures():
    """Nothing on the page of results was written by hand."""
    assert stores.page(KEPT) == (report.RESULTS / "revocation_stores.md").read_text()


@pytest.mark.parametrize("name", stores.KINDS)
def test_what_was_measured_keeps_what_is_promised(name):
    """Both kinds of store, 100 revocations of each kind before and after each thing that befalls it."""
    found = KEPT[name]

    assert ([], []) == (stores.broken(found), stores.too_few(found))
    assert len(found["befell"]) == 2
    assert ["at the start", *(f"then: {what}" for what in found["befell"])] == [*found["lag"]]
    for schemes in found["lag"].values():
        assert {*lag.SCHEMES} == {*schemes}
        assert all(one["since_answer"][1] < lag.LIMIT_S for one in schemes.values())
        assert all(one["wanted"] >= 100 for one in schemes.values())
    for befell in found["befell"].values():
        assert ([0, 0], 0) == (befell["lost"], befell["after"])
        assert min(befell["confirmed"]) >= 20


def test_a_broken_promise_is_named():
    """One that is too slow, one of which too few were measured, and one that is let through late."""
    found = copy.deepcopy(KEPT["Cluster"])
    slow, few, *_ = found["lag"]["at the start"].values()
    slow["is_kept"] = False
    few["count"] = 3
    next(iter(found["befell"].values()))["broken"].append("let through")

    assert [
        "at the start: session, deleted: too slow",
        "40 slots and more are moved: let through",
    ] == (stores.broken(found))
    assert ["at the start: token, by `jti`: 3 of 100 revocations were measured"] == (
        stores.too_few(found)
    )
