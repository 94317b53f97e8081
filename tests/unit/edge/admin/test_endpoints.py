"""What the admin API answers, on a real store."""

from __future__ import annotations

import json
import secrets

import pytest

from proxy.adapters.store import StoreAddress, open_store
from proxy.config.models import Config
from proxy.core.refresh import Family, Holder
from proxy.core.revocation import RevocationKeys, is_revoked
from proxy.edge.admin.endpoints import DEFAULT_LIMIT, AdminEndpoints, AdminServices
from proxy.edge.admin.request import AdminRequest
from proxy.edge.portal.reply import Refused
from proxy.services.administration import Actor, Administration, FamilyAdministration
from proxy.services.audit import Audit, AuditTrail
from proxy.services.family_records import FamilyRecords
from proxy.services.revocations import Revocations
from proxy.services.sessions import Login, Sessions
from proxy.services.token_revocation import TokenRevocation

NOW = 1_800_000_000.0
ACTOR = Actor("by the admin API", None, "unix")
CONFIG = Config.model_validate(
    {
        "upstreams": {},
        "routes": [],
        "schemes": {
            "api": {"type": "jwt", "keys": {"local": True}, "issuer": "i", "audience": ["a"]}
        },
    }
)


class Api:
    """The endpoints over an empty store."""

    def __init__(self, store):
        self.store = store
        self.sessions = Sessions(store, prefix="latchgate:", idle_timeout_s=1800, lifetime_s=43_200)
        self.audit = Audit(store, prefix="latchgate:")
        self.records = FamilyRecords(
            store,
            Revocations(store, RevocationKeys("latchgate:")),
            prefix="latchgate:",
            issuer="i",
            keep_s=900,
        )
        self._families = FamilyAdministration(self.records, self.audit)
        self._endpoints = AdminEndpoints(
            AdminServices(
                self._administration, self._families, TokenRevocation(CONFIG, store), self.audit
            )
        )

    def _administration(self, scheme):
        if scheme not in (None, "web"):
            raise ValueError("there is no native session scheme of that name")
        return Administration(self.sessions, self.audit, self.records)

    async def begin_family(self, subject, **members):
        """Write a refresh family as a login does; return its name."""
        name = secrets.token_hex(16)
        begun_at = int(NOW)
        family = Family(
            Holder(subject, roles=("r",)),
            "phone",
            begun_at,
            begun_at + 3600,
            current="0" * 64,
            **members,
        )
        await self.records.add(name, family, NOW)
        return name

    async def ask(self, method, target, content=None):
        """Return status and document of an answer, or the code of a refusal."""
        path, _, query = target.partition("?")
        body = b"" if content is None else json.dumps(content).encode()
        headers = {b"content-type": b"application/json"}
        request = AdminRequest(method, path, query.encode(), headers, body)
        try:
            reply = await self._endpoints.answer(request, ACTOR, NOW)
        except Refused as refused:
            return refused.code, refused.headers
        return reply.status, json.loads(reply.body)

    async def noted(self):
        """Return kind and subject of what was noted."""
        await self.audit.close(10)
        entries = await AuditTrail(self.store, prefix="latchgate:").last(99)
        return [(entry.event.kind, entry.event.subject, entry.event.detail) for entry in entries]


@pytest.fixture
async def api(valkey):
    """Give the API over an empty store."""
    store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=5)
    yield Api(store)
    await store.close()


async def test_sessions_are_listed_searched_and_paged(api):
    """A page has the documented members, and a place for the next one while there is more."""
    for number in range(DEFAULT_LIMIT + 5):
        await api.sessions.create(Login("ada", agent="curl" if number < 3 else "Firefox"), NOW)
    await api.sessions.create(Login("bob", address="192.0.2.1"), NOW)
    status, first = await api.ask("GET", "/sessions?subject=ada")
    _, second = await api.ask("GET", f"/sessions?subject=ada&after={first['next']}")
    _, curl = await api.ask("GET", "/sessions?agent=CURL&limit=500&scheme=web")
    _, bob = await api.ask("GET", "/sessions?address=192.0.2.0/24&limit=500")

    assert (200, DEFAULT_LIMIT, 5) == (status, len(first["sessions"]), len(second["sessions"]))
    assert second["next"] is None
    assert 3 == len(curl["sessions"])
    assert ["bob"] == [item["subject"] for item in bob["sessions"]]
    assert {"id", "subject", "created_at", "last_seen", "address", "agent"} == set(
        bob["sessions"][0]
    )


async def test_one_session_is_shown_and_ended(api):
    """By its id; what is gone is 404, and the end is noted with its owner."""
    made = await api.sessions.create(Login("ada", roles=["r"]), NOW)
    path = f"/sessions/{made.digest}"
    status, shown = await api.ask("GET", path)

    assert (200, ["r"]) == (status, shown["roles"])
    assert (200, {"revoked": 1}) == await api.ask("DELETE", path)
    assert ("session_not_found", ()) == await api.ask("GET", path)
    assert ("session_not_found", ()) == await api.ask("DELETE", path)
    assert [("session_ended", "ada", f"{made.digest[:8]}, by the admin API")] == await api.noted()


async def test_sessions_end_by_subject_or_all_together(api):
    """The number that ended is the answer."""
    for name in ("ada", "ada", "bob"):
        await api.sessions.create(Login(name), NOW)

    assert (200, {"revoked": 2}) == await api.ask("POST", "/sessions/revoke", {"subject": "ada"})
    assert (200, {"revoked": 0}) == await api.ask("POST", "/sessions/revoke", {"subject": "ada"})
    assert (200, {"revoked": 1}) == await api.ask("POST", "/sessions/revoke", {"all": True})


async def test_refresh_families_are_listed_shown_and_ended(api):
    """Beside the sessions, by person, place and program; the end is noted with its owner."""
    made = await api.begin_family("ada", address="192.0.2.1", agent="phone/1")
    await api.begin_family("bob")
    _, everybody = await api.ask("GET", "/families?limit=500")
    status, hers = await api.ask("GET", "/families?subject=ada&agent=PHONE&address=192.0.2.0/24")
    path = f"/families/{made}"

    assert (200, 2) == (status, len(everybody["families"]))
    assert [made] == [item["id"] for item in hers["families"]]
    assert {"id", "subject", "client", "created_at", "last_seen", "address", "agent"} == set(
        hers["families"][0]
    )
    assert ["r"] == (await api.ask("GET", path))[1]["roles"]
    assert (200, {"revoked": 1}) == await api.ask("DELETE", path)
    assert ("family_not_found", ()) == await api.ask("GET", path)
    assert ("family_not_found", ()) == await api.ask("DELETE", path)
    assert [
        ("token_revoked", "ada", f"refresh family {made[:8]} of client phone, by the admin API")
    ] == await api.noted()


async def test_who_is_ended_everywhere_loses_refresh_families_too(api):
    """By subject, or all there are; the answer says how many, where there were any."""
    for name in ("ada", "bob"):
        await api.sessions.create(Login(name), NOW)
    for name in ("ada", "ada", "bob", "eve"):
        await api.begin_family(name)

    assert (200, {"revoked": 1, "families": 2}) == await api.ask(
        "POST", "/sessions/revoke", {"subject": "ada"}
    )
    assert (200, {"revoked": 0, "families": 1}) == await api.ask(
        "POST", "/sessions/revoke", {"subject": "eve"}
    )
    assert (200, {"revoked": 1, "families": 1}) == await api.ask(
        "POST", "/sessions/revoke", {"all": True}
    )
    assert [] == (await api.ask("GET", "/families"))[1]["families"]
    assert ["all 1 and 2 refresh families", "all 1 refresh family"] == [
        detail.partition(",")[0] for _, _, detail in (await api.noted())[:2]
    ]


async def test_a_gate_without_tokens_has_no_refresh_families(api):
    """The list is empty, and nothing is there to be ended."""
    api._families = None
    api._endpoints = AdminEndpoints(
        AdminServices(api._administration, None, TokenRevocation(CONFIG, api.store), api.audit)
    )

    assert (200, {"families": [], "next": None}) == await api.ask("GET", "/families")
    for method in ("GET", "DELETE"):
        assert "family_not_found" == (await api.ask(method, f"/families/{'a' * 32}"))[0]


@pytest.mark.parametrize(
    ("asked", "marker"),
    [
        ({"jti": "j"}, "jti"),
        ({"subject": "ada", "scheme": "api"}, "sub"),
        ({"issuer": True}, "iss"),
        ({"all": True}, "all"),
    ],
)
async def test_tokens_are_revoked(api, asked, marker):
    """By name, by person, by issuer or all: the marker stands, and the trail has it."""
    status, said = await api.ask("POST", "/tokens/revoke", asked)
    keys = RevocationKeys("latchgate:").for_token("i", {"sub": "ada"}, "j")

    assert 200 == status
    assert marker == is_revoked(await api.store.fetch(keys), NOW - 1, 0)
    assert [
        ("token_revoked", asked.get("subject"), f"{said['revoked']}, by the admin API")
    ] == await api.noted()


@pytest.mark.parametrize(
    ("method", "target", "content"),
    [
        ("GET", "/sessions?subjekt=ada", None),
        ("GET", "/sessions?subject=a&subject=b", None),
        ("GET", "/sessions?limit=0", None),
        ("GET", "/sessions?limit=-1", None),
        ("GET", "/sessions?limit=%D9%A1", None),
        ("GET", "/sessions?address=nowhere", None),
        ("GET", "/sessions?after=%2A", None),
        ("GET", "/sessions?scheme=nobody", None),
        ("GET", "/families?subjekt=ada", None),
        ("GET", "/families?address=nowhere", None),
        ("GET", "/families?after=%2A", None),
        ("GET", f"/families/{'a' * 32}?x=1", None),
        ("DELETE", f"/families/{'a' * 32}?x=1", None),
        ("POST", "/sessions/revoke", {}),
        ("POST", "/sessions/revoke", {"subject": "ada", "all": True}),
        ("POST", "/sessions/revoke", {"all": False}),
        ("POST", "/sessions/revoke", {"all": "true"}),
        ("POST", "/sessions/revoke", {"subject": ""}),
        ("POST", "/sessions/revoke", {"subject": None}),
        ("POST", "/sessions/revoke", {"subject": ["ada"]}),
        ("POST", "/sessions/revoke", {"user": "ada"}),
        ("POST", "/tokens/revoke", {"jti": "j", "scheme": "nobody"}),
        ("POST", "/tokens/revoke", {"jti": "j", "all": True}),
        ("POST", "/tokens/revoke", {"issuer": "i"}),
    ],
)
async def test_a_mistake_ends_nothing(api, method, target, content):
    """A mistyped name is never taken for a wish to end everything."""
    made = await api.sessions.create(Login("ada"), NOW)

    assert "bad_request" == (await api.ask(method, target, content))[0]
    assert await api.sessions.show(made.digest, NOW) is not None
    assert [] == await api.noted()


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", "route_not_found"),
        ("GET", "/sessions/", "route_not_found"),
        ("GET", "/sessions/{id}", "route_not_found"),
        ("GET", "/families/{id}", "route_not_found"),
        ("GET", "/families/" + "a" * 64, "route_not_found"),
        ("GET", "/sessions/" + "a" * 32, "route_not_found"),
        ("POST", "/families/" + "a" * 32, "method_not_allowed"),
        ("GET", "/sessions/" + "A" * 64, "route_not_found"),
        ("GET", "/sessions/../sessions", "route_not_found"),
        ("DELETE", "/sessions", "method_not_allowed"),
        ("GET", "/sessions/revoke", "method_not_allowed"),
        ("PUT", "/sessions/" + "a" * 64, "method_not_allowed"),
    ],
)
async def test_only_the_documented_paths_and_methods_are_there(api, method, path, expected):
    """Everything else is 404, or 405 with what is allowed."""
    code, headers = await api.ask(method, path)

    assert expected == code
    assert (code == "method_not_allowed") == bool(headers)
