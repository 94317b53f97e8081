"""`tests:` of a configuration, run: each request goes through the gate itself.

Neither store nor network is needed: who makes a request is said by a stand-in for the scheme.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from proxy.codes import CODES
from proxy.config.models import Config, PolicyTest
from proxy.config.policy_models import FORWARD
from proxy.config.request_line import parse_request_line
from proxy.errors import Problem
from proxy.services.assembly import Assembly
from proxy.services.decision import Answer, Decision, Forward, Own
from proxy.services.proofs import Believing
from proxy.services.rehearsal import assemble_rehearsal, request_view
from proxy.services.schemes.stand_in import NOW, stand_ins

T = TypeVar("T")


def policy_problems(config: Config) -> Iterator[Problem]:
    """Yield every test that does not come out as expected: a check of `load`, the last of all.

    `config` has no other mistakes: on a configuration with gaps a test would tell of the gaps.
    """
    gates: dict[str, Assembly] = {}
    for index, test in enumerate(config.tests):
        actor = "" if test.as_ is None else test.as_.model_dump_json()
        if actor not in gates:
            gates[actor] = assemble_rehearsal(config, stand_ins(config, test.as_), Believing())
        decision = _decide(config, gates[actor], test)
        if not is_expected(test.expect, decision):
            message = f"expected {_expectation(test.expect)}, but {describe_decision(decision)}"
            yield Problem(("tests", index, "expect"), message)


def is_expected(expected: str | int, decision: Decision) -> bool:
    """Tell whether a decision is what a test expects."""
    if isinstance(decision, Forward):
        if (
            decision.reported is not None
        ):  # the file says what is to be, not what is let go just now
            return expected in (decision.reported.code, CODES[decision.reported.code].status)
        return expected in (FORWARD, 200)
    if isinstance(decision, Answer):
        return expected == decision.status
    if isinstance(decision, Own):
        return False  # what it answers hangs on more than a test says
    code = decision.refusal.code
    return expected in (code, CODES[code].status)


def describe_decision(decision: Decision) -> str:
    """Return what became of a request, in a few words."""
    if isinstance(decision, Forward):
        if decision.reported is not None:
            code = decision.reported.code
            return f"the answer would be {CODES[code].status} {code} ({decision.route.name}: report mode)"
        return f"the request is let through ({decision.route.name})"
    if isinstance(decision, Answer):
        return f"the gate answers {decision.status} itself"
    if isinstance(decision, Own):
        return f"the gate's own endpoint {decision.endpoint.name} answers"
    code = decision.refusal.code
    at = f" ({decision.route.name})" if decision.route is not None else ""
    why = f": {decision.refusal.detail}" if decision.refusal.detail else ""
    return f"the answer is {CODES[code].status} {code}{at}{why}"


def _expectation(expected: str | int) -> str:
    return "it to be let through" if expected in (FORWARD, 200) else str(expected)


def _decide(config: Config, gate: Assembly, test: PolicyTest) -> Decision:
    view = request_view(config, parse_request_line(test.request))
    return _at_once(gate.gate.decide(view, NOW))


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what never waits; so that tests can be run with and without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise AssertionError("a stand-in waits for nothing")
