"""Which proofs were used: one memory for every gate on a store (RFC 9449 §11.1)."""

from __future__ import annotations

import asyncio

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.core.dpop import Proof, ProofRequest, ProofVerifier
from proxy.core.nonces import WINDOW_S, Nonces
from proxy.errors import ProofInvalid
from proxy.model import ClientInfo
from proxy.services.proofs import (
    Believing,
    NonceMissing,
    Proofs,
    SeenProofs,
    UsedProofs,
    WrongKey,
    nonce_headers,
)
from tests import proof_maker
from tests.token_workshop import NOW

TOKEN = b"a.b.c"
JKT = proof_maker.thumbprint("P-256")


@pytest.fixture
async def store(valkey):
    opened = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield opened
    await opened.close()


def request(**said):
    proof = proof_maker.proof("GET", "https://a.example/x", TOKEN, **({"iat": int(NOW)} | said))
    client = ClientInfo(None, "https", "a.example", 443, is_trusted_peer=False)
    return ProofRequest([proof.encode()], "GET", b"/x", client)


def proofs(memory):
    return Proofs(ProofVerifier(), memory)


async def test_a_proof_counts_once(store):
    """Of any number of uses, one after the other or at once, in any process, the first one counts."""
    memories = [UsedProofs(store, "a:"), UsedProofs(store, "a:")]
    uses = [memory.take(Proof(JKT, "one")) for memory in memories * 8]

    assert sorted(await asyncio.gather(*uses)) == [False] * 15 + [True]
    assert await memories[0].take(Proof(JKT, "two"))
    assert await memories[0].take(Proof("another key", "one"))
    assert not await memories[1].take(Proof(JKT, "two"))


async def test_two_values_are_not_one(store):
    """What stands where two values meet cannot be moved from one to the other."""
    memory = UsedProofs(store, "a:")

    assert await memory.take(Proof("ab", "c"))
    assert await memory.take(Proof("a", "bc"))


async def test_whoever_looks_on_uses_nothing_up(store):
    """`explain` says what would become of a proof, which is good afterwards."""
    used = UsedProofs(store, "a:")
    looking = proofs(SeenProofs(used))
    read = looking.read(request(), NOW, TOKEN, JKT).proof

    assert read.jkt == JKT
    await looking.use(read)
    await looking.use(read)
    await proofs(used).use(read)
    with pytest.raises(ProofInvalid, match="before"):
        await looking.use(read)


async def test_what_is_only_read_is_not_remembered(store, valkey):
    """Whoever reads a proof decides afterwards whether it was worth anything, and a bad one never is."""
    checking = proofs(UsedProofs(store, "a:"))
    for asked, jkt, error in (
        (request(htm="POST"), JKT, ProofInvalid),
        (request(), "another key", WrongKey),
    ):
        with pytest.raises(error):
            checking.read(asked, NOW, TOKEN, jkt)
    checking.read(request(), NOW, TOKEN, JKT)

    with valkey.client() as client:
        assert client.keys("*") == []


NONCES = Nonces([b"a" * 32])


def test_a_nonce_is_asked_of_a_proof_that_is_good_otherwise():
    """Whoever proves nothing is told what is wrong with the proof, and gets no nonce for it."""
    checking = Proofs(ProofVerifier(), UsedProofs(None, "a:"), NONCES)
    for asked, jkt in ((request(htm="POST"), JKT), (request(), "another key")):
        with pytest.raises(ProofInvalid) as refused:
            checking.read(asked, NOW, TOKEN, jkt, wants_nonce=True)
        assert not isinstance(refused.value, NonceMissing)
    for nonce in (..., "", "x", NONCES.newest(NOW - 3 * WINDOW_S)):
        with pytest.raises(NonceMissing) as refused:
            checking.read(request(nonce=nonce), NOW, TOKEN, JKT, wants_nonce=True)
        assert refused.value.nonce == NONCES.newest(NOW)
        assert checking.read(request(nonce=nonce), NOW, TOKEN, JKT).proof.jkt == JKT


@pytest.mark.parametrize("windows", [0, 1])
def test_the_next_nonce_comes_when_it_is_time(windows):
    """A client with the newest nonce hears nothing, one with the older is told the newer."""
    checking = Proofs(ProofVerifier(), UsedProofs(None, "a:"), NONCES)
    asked = request(nonce=NONCES.newest(NOW - windows * WINDOW_S))
    shown = checking.read(asked, NOW, TOKEN, JKT, wants_nonce=True)

    assert shown.next_nonce == (NONCES.newest(NOW) if windows else None)


def test_where_there_are_no_nonces_none_is_good():
    """A gate that could not tell a good nonce from a bad one takes none, and offers none."""
    checking = Proofs(ProofVerifier(), UsedProofs(None, "a:"))
    with pytest.raises(NonceMissing) as refused:
        checking.read(request(nonce="x"), NOW, TOKEN, JKT, wants_nonce=True)

    assert refused.value.nonce is None
    assert nonce_headers(None) == ()


async def test_a_rehearsal_believes():
    """A policy test says that the credential is good; its proof belongs to it."""
    read = Believing().read(request(htm="POST"), NOW, TOKEN, JKT, wants_nonce=True).proof

    assert read.jkt == JKT
    await Believing().use(read)
    await Believing().use(read)
