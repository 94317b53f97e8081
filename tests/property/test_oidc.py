"""OpenID Connect: whatever strangers send is read in one way, or refused."""

from __future__ import annotations

import contextlib
import json
from urllib.parse import parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.login_state import MAX_TOTAL_BYTES, SLOTS, Attempt, choose_slot, slot_of, surplus
from proxy.core.mapping import compile_mapping
from proxy.core.oidc import CallbackInvalid, person_of, read_callback, read_metadata
from proxy.errors import ProviderInvalid, TokenInvalid

ISSUER = "https://id.example.com"
NAMES = st.sampled_from(["code", "state", "error", "iss", "session_state", "CODE", "code[]"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
READER = compile_mapping(subject="sub", email="email", name="name", roles="roles", scopes="scope")


@given(st.binary(max_size=200) | st.lists(st.tuples(NAMES, st.text(max_size=12)), max_size=6))
def test_a_callback_has_one_meaning(query):
    """What is read stands there once, as it is; everything else is refused, and nothing raises."""
    raw = query if isinstance(query, bytes) else urlencode(query).encode()
    with contextlib.suppress(CallbackInvalid):
        callback = read_callback(raw)
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True)
        for name in ("code", "state", "error", "iss"):
            said = [value for key, value in pairs if key == name]
            assert [getattr(callback, name)] == (said or [None])
        assert (callback.code is None) != (callback.error is None)


@given(st.dictionaries(st.sampled_from(["issuer", "token_endpoint", "authorization_endpoint",
                                        "end_session_endpoint"]),
                       st.sampled_from([ISSUER, f"{ISSUER}/x", "http://a/", "//a", "", "https://"])
                       | JSON))  # fmt: skip
def test_metadata_lead_over_tls_or_nowhere(members):
    """Whatever the document says."""
    with contextlib.suppress(ProviderInvalid):
        found = read_metadata(json.dumps(members).encode(), ISSUER)
        assert found.token_endpoint.startswith("https://")
        assert found.authorization_endpoint.startswith("https://")
        assert (found.end_session_endpoint or "https://").startswith("https://")


@given(st.dictionaries(st.sampled_from(["sub", "email", "email_verified", "name", "roles", "amr",
                                        "auth_time", "scope"]), JSON))  # fmt: skip
def test_k6_no_claims_make_an_unverified_address(claims):
    """Whatever shape they have, it is a person, or nobody."""
    with contextlib.suppress(TokenInvalid):
        person = person_of(claims, READER)
        assert person.subject.strip()
        assert person.email is None or claims["email_verified"] in (True, "true")
        assert all(isinstance(item, str) for item in (*person.amr, *person.roles))


@given(st.text(max_size=60), st.binary(max_size=120))
def test_no_state_and_no_record_is_an_odd_error(state, raw):
    """A place or none; an attempt or `ValueError`."""
    assert slot_of(state) in (None, *range(SLOTS))
    with contextlib.suppress(ValueError):
        Attempt.decode(raw, 0)


@given(
    st.dictionaries(st.integers(0, SLOTS - 1), st.floats(0, 1e9), max_size=SLOTS),
    st.integers(0, 1000),
    st.lists(st.integers(0, 4000), min_size=SLOTS, max_size=SLOTS),
)
def test_a_new_attempt_always_has_a_place(begun, chance, sizes):
    """It is one of five, it is not given up, and the rest fits."""
    attempts = {slot: Attempt(slot, "p", "s", at, "r", "/") for slot, at in begun.items()}
    slot = choose_slot(attempts, chance)
    used = {place: sizes[place] for place in {*attempts, slot}}
    given_up = surplus(attempts, used, slot)

    assert slot in range(SLOTS)
    assert slot not in given_up
    kept = sum(size for place, size in used.items() if place not in given_up)
    assert kept <= max(MAX_TOTAL_BYTES, used[slot])
