"""Refresh families under every order of uses, lost answers and thefts (S9), on a real store."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.refresh import Holder, read_token
from proxy.core.revocation import RevocationKeys
from proxy.services.refresh import GrantRefused, RefreshFamilies
from proxy.services.revocations import Revocations
from proxy.services.tokens import TokenIssuer

GRACE_S = 10.0
LIFE_S = 300
REVOKED = RevocationKeys("latchgate:")


class Numbered:
    """Signs by counting: every access token is another one."""

    def __init__(self):
        self.numbers = itertools.count()

    def sign(self, claims, typ, _now):
        return f"{typ} {claims['sid']} {next(self.numbers)}"


@dataclass
class Told:
    """What clients have been told of one family."""

    successors: dict[str, str] = field(default_factory=dict)
    """From a spent token to the one that it was exchanged for."""
    is_over: bool = False


class Families(RuleBasedStateMachine):
    """Clients, lost answers and thieves that present any token that was ever told, at any time."""

    valkey = None
    tokens = Bundle("tokens")

    def __init__(self):
        super().__init__()
        self.valkey.flush()
        self.loop = asyncio.new_event_loop()
        self.now = 1_800_000_000.0
        self.told: dict[str, Told] = {}
        self.store = self.loop.run_until_complete(self.open())

    async def open(self):
        store = open_store(StoreAddress(socket_path=str(self.valkey.socket_path)), timeout_s=5.0)
        issuer = TokenIssuer(
            issuer="i",
            audience="a",
            lifetime_s=60,
            max_lifetime_s=60,
            signer=Numbered(),
            store=store,
            revoked=REVOKED,
        )
        self.revocations = Revocations(store, REVOKED)
        self.families = RefreshFamilies(
            store,
            issuer,
            self.revocations,
            prefix="latchgate:",
            lifetime_s=LIFE_S,
            grace_s=GRACE_S,
            keep_s=120,
        )
        return store

    def teardown(self):
        self.loop.run_until_complete(self.store.close())
        self.loop.close()

    def use(self, *tokens, client="spa"):
        """Present tokens at one moment; return what became of each."""

        async def one(token):
            try:
                return await self.families.use(token, client, self.now)
            except GrantRefused as refused:
                return refused

        async def all_of_them():
            return await asyncio.gather(*map(one, tokens))

        return self.loop.run_until_complete(all_of_them())

    def note(self, token, outcome):
        told = self.told[read_token(token).family]
        if isinstance(outcome, GrantRefused):
            told.is_over = True
            return []
        assert not told.is_over, "a family that was over gave tokens"
        known = told.successors.setdefault(token, outcome.refresh_token)
        assert known == outcome.refresh_token, "one token has two successors"
        return [outcome.refresh_token]

    @initialize(target=tokens)
    def log_in(self):
        """Begin a family."""
        answer = self.loop.run_until_complete(
            self.families.begin(Holder("ann"), "spa", self.now, since=self.now)
        )
        self.told[read_token(answer.refresh_token).family] = Told()
        return answer.refresh_token

    @rule(target=tokens)
    def log_in_again(self):
        """Begin another family."""
        return self.log_in()

    @rule(target=tokens, token=tokens)
    def present(self, token):
        """Present a token, good, spent or dead."""
        (outcome,) = self.use(token)
        return multiple(*self.note(token, outcome))

    @rule(target=tokens, token=tokens, times=st.integers(2, 5))
    def present_at_once(self, token, times):
        """Present a token several times at one moment, as the tabs of a browser do."""
        outcomes = self.use(*[token] * times)
        told = [new for outcome in outcomes for new in self.note_answers(token, outcomes, outcome)]
        return multiple(*dict.fromkeys(told))

    def note_answers(self, token, outcomes, outcome):
        """Note the answers first: at one moment the end of the family is the last of its uses."""
        if outcome is not outcomes[0]:
            return []
        answers = [each for each in outcomes if not isinstance(each, GrantRefused)]
        refused = [each for each in outcomes if isinstance(each, GrantRefused)]
        return [new for each in (*answers, *refused) for new in self.note(token, each)]

    @rule(token=tokens)
    def steal(self, token):
        """Present a token as another client does: it never gets anything, and ends the family."""
        (outcome,) = self.use(token, client="thief")
        assert isinstance(outcome, GrantRefused)
        self.told[read_token(token).family].is_over = True

    @rule(token=tokens)
    def log_out(self, token):
        """End the family by any of its tokens."""
        self.loop.run_until_complete(self.families.end(token, "spa", self.now))
        self.told[read_token(token).family].is_over = True

    @rule(seconds=st.sampled_from([0.5, 4.0, GRACE_S, 100.0]))
    def wait(self, seconds):
        """Let time pass."""
        self.now += seconds

    @invariant()
    def one_token_of_a_family_is_good(self):
        """S9: of all that was ever told of a family at most one token would be rotated."""
        if not hasattr(self, "store"):
            return
        every = {new for told in self.told.values() for new in told.successors.values()}
        every |= {old for told in self.told.values() for old in told.successors}
        for family, told in self.told.items():
            good = [token for token in every if read_token(token).family == family]
            found = [self.loop.run_until_complete(self.families.find(t, self.now)) for t in good]
            live = [token for token, each in zip(good, found, strict=True) if each is not None]
            assert len(live) <= 1
            assert not (told.is_over and live)


@pytest.mark.slow
def test_s9_no_sequence_of_uses_makes_two_live_successors(valkey):
    """S9: whatever is presented when, a family has one good token or none, and the end is the end."""
    machine = type("Bound", (Families,), {"valkey": valkey})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        ),
    )
