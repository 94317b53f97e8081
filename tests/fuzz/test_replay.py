"""Every seed and a few mutations of each run: what fuzzing found once is not found again."""

from __future__ import annotations

import importlib

import pytest

from tests.fuzz import engine
from tests.fuzz.run import HERE, TARGETS, corpora_of, seeds_of

SEEDS = [
    pytest.param(target, path, id=f"{target}/{path.parent.name}/{path.name}")
    for target in TARGETS
    for corpus in corpora_of(target)
    for path in sorted(corpus.iterdir())
]
MUTATIONS = 300


def harness(target):
    """Return a target's module."""
    return importlib.import_module(f"tests.fuzz.targets.{target}")


@pytest.mark.parametrize(("target", "path"), SEEDS)
def test_a_seed_is_understood_or_refused(target, path):
    """Payloads of advisories and of findings: nothing but the documented outcomes."""
    engine.with_alarm(harness(target).one_input)(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_mutations_of_the_seeds_are_understood_or_refused(target, request):
    """Some hundred inputs of each target, others with every order of the tests."""
    seed = request.config.getoption("randomly_seed")
    module = harness(target)
    account = engine.run(
        module.one_input, seeds_of(target), words=module.WORDS, inputs=MUTATIONS, seed=seed
    )

    assert {} == account.crashes
    assert MUTATIONS == account.inputs


def test_the_bytes_behind_a_foreign_upgrade_are_answered():
    """A finding: a request behind `Upgrade: h2c` got lost in aiohttp's parser."""
    module = harness("heads")
    module.one_input((HERE / "corpus" / "heads" / "found_foreign_upgrade").read_bytes())

    assert [200, 200] == [record.status for record in module._GATES[0].records]


def test_every_target_has_seeds_of_its_advisories():
    """An input that broke another product is the best seed there is."""
    without = {
        target
        for target in TARGETS
        if not any(list(corpus.glob("advisory_*")) for corpus in corpora_of(target))
    }

    assert set() == without
