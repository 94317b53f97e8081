"""Client certificates as keys, on real TLS connections and in every lane."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import socket
import ssl

import pytest
from cryptography.x509 import UniformResourceIdentifier

from proxy.config.models import Config
from proxy.edge.tls import listener_context
from proxy.errors import ConfigErrors
from proxy.services.runtime import Runtime, load
from tests.certificates import BEGIN, Authority, careless
from tests.live.test_one_behaviour import SECRET, token
from tests.trio import Client, trio

CONFIG = """
server:
  id: here
  trusted_proxies: [127.0.0.2]
  tls: {cert: gate.pem, key: gate.key, client_ca: ca.ca.pem, client_certificate: @asks@}
upstreams:
  app: {servers: ["@app@"]}
schemes:
  machine:
    type: mtls
    subject: uri
    roles: {"spiffe://shop.test/ann": [admin]}
    revoked: {fingerprints: [@revoked@]}
  api:
    type: jwt
    issuer: https://id.test
    audience: [app]
    algorithms: [HS256]
    keys: {secret: @secret@}
    revocation: none
    max_lifetime: 15m
routes:
  - {match: {path: /open}, auth: none, upstream: app}
  - {match: {path: /m/**}, auth: machine, upstream: app}
  - {match: {path: /admin}, auth: machine, require: {roles: [admin]}, upstream: app}
  - {match: {path: /either}, auth: [machine, api], upstream: app, same_subjects: true}
  - {match: {path: /other}, auth: [api, machine], upstream: app, same_subjects: true}
"""


@pytest.fixture
def people(tmp_path):
    """Return the contexts of clients with certificates, and the fingerprint of a withdrawn one."""
    authority, stranger = Authority(tmp_path, "ca"), Authority(tmp_path, "stranger")
    authority.issue("gate", "gate")
    names = {
        who: UniformResourceIdentifier(f"spiffe://shop.test/{who}") for who in ("ann", "bob", "eve")
    }
    made = {who: careless(authority.issue(who, who, name)) for who, name in names.items()}
    made["nobody"] = careless()
    made["nameless"] = careless(authority.issue("nameless", "ann"))
    made["stranger"] = careless(stranger.issue("stranger", "ann", names["ann"]))
    over = BEGIN + dt.timedelta(days=1)
    made["over"] = careless(authority.issue("over", "ann", names["ann"], end=over))
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "eve.pem").read_text())
    return made, hashlib.sha256(der).hexdigest()


@contextlib.asynccontextmanager
async def gates_of(tmp_path, people, asks="optional", **options):
    """Start a gate of each lane, with TLS."""
    pems = {"cert": "gate.pem", "key": "gate.key", "client_ca": "ca.ca.pem"}
    tls = {name: str(tmp_path / file) for name, file in pems.items()} | {"client_certificate": asks}
    settings = Config.model_validate({"server": {"tls": tls}}).server.tls

    async def listen(server):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(16)
        await server.start([sock], listener_context(settings))
        return {"tls": sock.getsockname()[1]}

    values = {"asks": asks, "revoked": people[1], "secret": SECRET}
    async with trio(tmp_path, CONFIG, {}, listen=listen, **options, **values) as gates:
        yield gates


def asking(people, *who, path=b"/m/a", lines=b"", method=b"GET", times=3, address=None):
    """Return a conversation of some clients at once, each on a connection, by turns; and its answers."""

    async def talk(gate):
        heard, clients = [], []
        options = {"local_addr": (address, 0)} if address else {}
        for one in who:
            opened = await asyncio.open_connection(
                "127.0.0.1", gate.more["tls"], ssl=people[0][one], server_hostname="", **options
            )
            clients.append(Client(*opened))
        for _ in range(times):
            for client in clients:
                await client.say(b"%b %b HTTP/1.1\r\nHost: gate\r\n%b\r\n" % (method, path, lines))
                heard.append(await client.hear(method))
        for client in clients:
            await client.close()
        return heard

    return talk


def seen(gates, mode="off"):
    """Return who the application was told of, in order."""
    return [
        line.partition(b": ")[2].decode().removeprefix("spiffe://shop.test/")
        for raw in gates[mode].mirror.received
        for line in raw.split(b"\r\n")
        if line.startswith(b"X-Auth-Subject: ")
    ]


def statuses(heard):
    """Return the statuses of answers."""
    return [int(one[9:12]) for one in heard]


async def test_r1_everybody_is_who_their_own_connection_says(tmp_path, people):
    """The same bytes on two connections are two people's, and nobody's on a third: in every lane."""
    async with gates_of(tmp_path, people) as gates:
        heard = await gates.same(asking(people, "ann", "bob", "nobody", "ann"))
        assert statuses(heard) == [200, 200, 401, 200] * 3
        for mode in gates.gates:
            assert seen(gates, mode) == ["ann", "bob", "ann"] * 3
        assert b'\r\nWWW-Authenticate: Certificate realm="machine"\r\n' in heard[2]
        heard = await gates.same(asking(people, "ann", "bob", path=b"/admin"))
        assert statuses(heard) == [200, 403] * 3


async def test_h2_no_header_is_a_certificate(tmp_path, people):
    """Whoever says that they have one, a trusted proxy too, has none; and its own is not its clients'."""
    lines = (
        b"X-Forwarded-Client-Cert: URI=spiffe://shop.test/ann\r\nClient-Cert: :MIIB:\r\n"
        b"client_cert: :MIIB:\r\nClient-Cert-Chain: :MIIB:\r\n"
        b"Ssl-Client-Verify: SUCCESS\r\nSsl-Client-S-Dn: CN=ann\r\nX-SSL-Client-Cert: MIIB\r\n"
    )
    async with gates_of(tmp_path, people) as gates:
        for who, address in (("nobody", None), ("nobody", "127.0.0.2"), ("ann", "127.0.0.2")):
            heard = await gates.same(asking(people, who, lines=lines, address=address))
            assert statuses(heard) == [401] * 3, (who, address)
            assert seen(gates) == []
        heard = await gates.same(asking(people, "bob", lines=lines))
        assert statuses(heard) == [200] * 3
        assert seen(gates) == ["bob"] * 3
        told = b"".join(raw for gate in gates for raw in gate.mirror.received).lower()
        assert b"\nclient-cert" not in told.replace(b"_", b"-")


async def test_who_is_withdrawn_or_has_no_name_is_refused(tmp_path, people):
    """Though TLS lets them in; an open route is open to them as to anybody."""
    async with gates_of(tmp_path, people) as gates:
        for who in ("eve", "nameless"):
            heard = await gates.same(asking(people, who))
            assert statuses(heard) == [401] * 3
            assert b"certificate_invalid" in heard[0]
            assert statuses(await gates.same(asking(people, who, path=b"/open"))) == [200] * 3


@pytest.mark.parametrize("who", ["stranger", "over"])
async def test_another_authoritys_certificate_is_refused_by_tls(tmp_path, people, who):
    """`optional` does not mean that anything goes: what is shown must be good."""
    async with gates_of(tmp_path, people) as gates:
        with pytest.raises((ConnectionError, ssl.SSLError, IndexError, ValueError, AssertionError)):
            assert statuses(await asking(people, who, path=b"/open", times=1)(gates["off"])) == [
                200
            ]
        assert gates["off"].mirror.received == []


async def test_a_certificate_is_required_unless_it_is_optional(tmp_path, people):
    """Whoever has none does not come as far as a request."""
    async with gates_of(tmp_path, people, asks="required") as gates:
        with pytest.raises((ConnectionError, ssl.SSLError, ValueError)):
            statuses(await asking(people, "nobody", path=b"/open", times=1)(gates["off"]))
        assert statuses(await gates.same(asking(people, "ann"))) == [200] * 3


async def test_s3_another_site_does_not_use_it(tmp_path, people):
    """S3: a browser adds its certificate by itself, so an unsafe method comes from the own origin only."""
    async with gates_of(tmp_path, people) as gates:
        length = b"Content-Length: 0\r\n"
        for lines, status in (
            (b"Sec-Fetch-Site: cross-site\r\n", 403),
            (b"Origin: https://evil.test\r\n", 403),
            (b"Origin: https://gate\r\n", 200),
            (b"", 200),
        ):
            talk = asking(people, "ann", lines=lines + length, method=b"POST", times=2)
            assert statuses(await gates.same(talk)) == [status] * 2, lines


async def test_either_key_opens_and_none_is_taken_for_the_other(tmp_path, people):
    """With a token as well, in either order: the one that counts is the connection's own each time."""
    bearer = b"Authorization: Bearer %b\r\n" % token().encode()
    async with gates_of(tmp_path, people) as gates:
        for path, told in ((b"/either", ["bob", "ann"]), (b"/other", ["ann", "ann"])):
            heard = await gates.same(asking(people, "bob", "nobody", path=path, lines=bearer))
            assert statuses(heard) == [200] * 6
            for mode in gates.gates:
                assert seen(gates, mode) == told * 3, (path, mode)
        heard = await gates.same(asking(people, "bob", "nobody", path=b"/other"))
        assert statuses(heard) == [200, 401] * 3


def test_certificates_that_nobody_asks_for_are_a_mistake(tmp_path):
    """A scheme of certificates wants `client_ca`, and so does the word whether one is required."""
    Authority(tmp_path, "ca").issue("gate", "gate")
    path = tmp_path / "gate.yaml"
    text = """
server: {{tls: {{cert: gate.pem, key: gate.key{more}}}}}
upstreams: {{app: {{servers: ["http://127.0.0.1:9"]}}}}
schemes: {{machine: {{type: mtls, subject: uri}}}}
routes: [{{match: {{path: /**}}, auth: machine, upstream: app{route}}}]
"""
    for more, route, message in (
        ("", "", "client_ca says whose"),
        (", client_certificate: optional", "", "`client_ca` is missing"),
        (", client_ca: ca.ca.pem", ", require: {roles: [a]}", "yields no roles"),
        (", client_ca: ca.ca.pem", ", require: {mfa_within: 5m}", "prove no factor"),
        (", client_ca: ca.ca.pem", ", dpop: required", "need no proof"),
    ):
        path.write_text(text.format(more=more, route=route))
        with pytest.raises(ConfigErrors, match=message):
            load(path)
    path.write_text(text.format(more=", client_ca: ca.ca.pem", route=""))
    assert load(path).config.schemes["machine"].subject == "uri"


WEBSOCKET = (
    b"GET /m/ws HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def test_r7_a_tunnel_ends_with_the_certificate_that_opened_it(tmp_path, people):
    """Somebody who is withdrawn by the next configuration is told so at once; others stay."""
    async with gates_of(tmp_path, people, modes=("warm",)) as gates:
        gate = gates["warm"]
        gate.mirror.answers = {b"/m/ws": [SWITCHED, 30.0]}
        tunnels = {}
        for who in ("ann", "bob"):
            options = {"ssl": people[0][who], "server_hostname": ""}
            tunnels[who] = Client(
                *await asyncio.open_connection("127.0.0.1", gate.more["tls"], **options)
            )
            await tunnels[who].say(WEBSOCKET)
            assert (await tunnels[who].reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        text = (tmp_path / "warm.yaml").read_text()
        (tmp_path / "next.yaml").write_text(
            text.replace("revoked: {", "revoked: {subjects: [spiffe://shop.test/ann], ")
        )
        after = await Runtime.start(load(tmp_path / "next.yaml"), gate_id="here")
        gate.server.adopt(after)
        async with asyncio.timeout(5):
            assert (await tunnels["ann"].reader.readexactly(4))[2:] == (1008).to_bytes(2, "big")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await tunnels["bob"].reader.readexactly(1)
        for tunnel in tunnels.values():
            await tunnel.close()
        await gate.server.drain(0.0)
        await after.close()


async def test_r7_who_was_let_in_by_another_authority_is_not_any_more(tmp_path, people):
    """An authority's file that says something else ends connections that the old one let in."""
    async with gates_of(tmp_path, people, modes=("warm",)) as gates:
        gate = gates["warm"]
        options = {"ssl": people[0]["ann"], "server_hostname": ""}
        client = Client(*await asyncio.open_connection("127.0.0.1", gate.more["tls"], **options))
        asked = b"GET /m/a HTTP/1.1\r\nHost: gate\r\n\r\n"
        await client.say(asked)
        assert (await client.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
        runtimes = []
        for is_new in (False, True):
            if is_new:
                (tmp_path / "ca.ca.pem").write_bytes((tmp_path / "stranger.ca.pem").read_bytes())
            loaded = load(tmp_path / "warm.yaml")
            runtimes.append(await Runtime.start(loaded, gate_id="here"))
            gate.server.adopt(runtimes[-1], listener_context(loaded.config.server.tls))
            if not is_new:
                await client.say(asked)
                assert (await client.hear(b"GET")).startswith(b"HTTP/1.1 200 ")
        assert await client.hear(b"GET") in (b"<end>", b"<reset>")
        await client.close()
        await gate.server.drain(0.0)
        for runtime in runtimes:
            await runtime.close()


def resume(port, context, session=None, name=None):
    """Ask on a connection that resumes a TLS session; return its status, whether it did, and its session."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        tls = context.wrap_socket(plain, server_hostname=name, session=session)
        tls.sendall(b"GET /m/a HTTP/1.1\r\nHost: gate\r\n\r\n")
        heard = tls.recv(65536)
        told = int(heard[9:12] or 0), tls.session_reused, tls.session
        tls.close()
    return told


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_resumed_session_is_no_way_around_its_certificate(tmp_path, people, version):
    """Its holder is who they were, under whatever name they ask; withdrawn or of another authority: nobody."""
    context = people[0]["ann"]
    context.minimum_version = context.maximum_version = version
    async with gates_of(tmp_path, people, modes=("warm",)) as gates:
        gate, runtimes = gates["warm"], []
        port = gate.more["tls"]
        status, is_resumed, session = await asyncio.to_thread(resume, port, context)
        assert (200, False) == (status, is_resumed)
        for name in (None, "other.test"):
            told = await asyncio.to_thread(resume, port, context, session, name)
            assert told[:2] == (200, True)
        assert seen(gates, "warm") == ["ann"] * 3
        text = (tmp_path / "warm.yaml").read_text()
        withdrawn = text.replace("revoked: {", "revoked: {subjects: [spiffe://shop.test/ann], ")
        (tmp_path / "warm.yaml").write_text(withdrawn)
        for is_other in (False, True):
            if is_other:
                (tmp_path / "warm.yaml").write_text(text)
                (tmp_path / "ca.ca.pem").write_bytes((tmp_path / "stranger.ca.pem").read_bytes())
            loaded = load(tmp_path / "warm.yaml")
            runtimes.append(await Runtime.start(loaded, gate_id="here"))
            renewed = listener_context(loaded.config.server.tls) if is_other else None
            gate.server.adopt(runtimes[-1], renewed)
            with contextlib.suppress(OSError):
                told = await asyncio.to_thread(resume, port, context, session)
                assert told[:2] == ((0, False) if is_other else (401, True))
        assert len(seen(gates, "warm")) == 3
        await gate.server.drain(0.0)
        for runtime in runtimes:
            await runtime.close()
