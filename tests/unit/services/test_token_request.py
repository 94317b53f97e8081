"""A request to the endpoints for clients: from where it comes, and which key it shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.core.dpop import Proof
from proxy.services.login import Whereabouts
from proxy.services.proofs import Shown
from proxy.services.token_request import TokenRequest

ASKED = TokenRequest(
    form={"password": "hunter2"},
    authorization=b"Basic c2VjcmV0",
    carried="Cookie: sid=secret",
    now=1_800_000_000.0,
    where=Whereabouts("192.0.2.7", b"agent"),
)


def test_it_shows_the_key_of_its_proof():
    """Without a proof it shows none, whatever else it carries."""
    shown = Shown(Proof("thumbprint", "one"))

    assert (ASKED.jkt, replace(ASKED, shown=shown).jkt) == (None, "thumbprint")


@pytest.mark.parametrize(
    ("where", "is_same"),
    [
        (Whereabouts("192.0.2.200", b"agent"), True),
        (Whereabouts("198.51.100.7", b"agent"), False),
        (Whereabouts("192.0.2.7", b"other"), False),
        (Whereabouts(None, b"agent"), False),
    ],
)
def test_a_place_is_a_network_and_an_agent(where, is_same):
    """`tokens.otp: new_client` asks for a code where either is another one."""
    assert (replace(ASKED, where=where).spot.place == ASKED.spot.place) is is_same


def test_nothing_secret_of_it_is_shown():
    """It may stand in a traceback: credentials do not."""
    shown = repr(ASKED)

    assert not any(secret in shown for secret in ("hunter2", "c2VjcmV0", "sid=secret"))
