"""A provider's keys from a real server that behaves well, badly, or not at all (K3)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gzip
import ipaddress
import json
import logging
import ssl

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from proxy.adapters.jwks import FetchFailed, Provider, fetch_jwks
from proxy.adapters.keys import KeyTiming, RelayedKeys, RemoteKeys
from proxy.core.jose import KeyUnknown, TokenVerifier
from proxy.errors import KeysUnavailable, TokenInvalid
from tests.token_workshop import AUDIENCE, ISSUER, NOW, jwk, private_key, token

TIMING = KeyTiming(refresh_s=1000, retry_s=0.02, max_retry_s=0.05, refetch_s=10, timeout_s=2)
DISCOVERY = "/.well-known/openid-configuration"
METADATA = "/.well-known/oauth-authorization-server"


def published(*kids):
    """Return a JWK Set with one key of the workshop under each name."""
    kinds = ["RSA", "RSA-other", "Ed25519"]
    members = [jwk(kind, kid=kid) for kind, kid in zip(kinds, kids, strict=False)]
    return json.dumps({"keys": members}).encode()


class KeyServer:
    """An HTTP server whose every path answers as `answers` says; counts what it was asked."""

    def __init__(self, ssl_context=None):
        self.answers = {}
        self.asked = []
        self.ssl_context = ssl_context
        self.port = 0
        self._runner = None

    @property
    def url(self):
        """Return the origin."""
        return f"{'https' if self.ssl_context else 'http'}://127.0.0.1:{self.port}"

    async def start(self):
        """Listen on a free port, or on the one of before."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.ssl_context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self):
        """Stop listening, and close what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request):
        self.asked.append(request.path)
        answer = self.answers.get(request.path, 404)
        if callable(answer):
            return await answer(request)
        if isinstance(answer, int):
            return web.Response(status=answer, body=published("a"))
        if isinstance(answer, dict):
            return web.json_response(answer)
        return web.Response(body=answer, content_type="text/plain")


@pytest.fixture
async def server():
    """Run a key server in plain http on this machine."""
    running = KeyServer()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """Make a certificate for 127.0.0.1; give the server's and a client's TLS contexts."""
    key = private_key("P-256")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 - OpenSSL compares with the real clock
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    of_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain = tmp_path_factory.mktemp("tls") / "chain.pem"
    chain.write_bytes(pem + private)
    of_server.load_cert_chain(chain)
    return of_server, ssl.create_default_context(cadata=pem.decode())


@pytest.fixture
async def tls_server(contexts):
    """Run a key server in https."""
    running = KeyServer(contexts[0])
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def opened():
    """Give a function that starts `RemoteKeys`; closes them at the end."""
    running = []

    def start(provider, **options):
        keys = RemoteKeys(provider, ["RS256", "EdDSA"], **({"timing": TIMING} | options))
        keys.start()
        running.append(keys)
        return keys

    yield start
    await asyncio.gather(*(keys.close() for keys in running))


async def fetch(server, path="/jwks.json", *, timeout_s=2.0, **options):
    """Fetch once."""
    provider = Provider(ISSUER, jwks_url=server.url + path)
    return await fetch_jwks(provider, timeout_s=timeout_s, **options)


async def failure(server, path="/jwks.json", **options):
    """Return why a fetch fails."""
    with pytest.raises(FetchFailed) as caught:
        await fetch(server, path, **options)
    return str(caught.value)


async def eventually(condition):
    """Wait until `condition` holds; each look lets the fetches go on."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another task
            await asyncio.sleep(0.005)


async def test_keys_are_fetched_and_verify(server, opened):
    """The usual case, with a token that its issuer signed."""
    server.answers["/jwks.json"] = published("a", "b")
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"))
    check = TokenVerifier(issuer=ISSUER, audiences=frozenset({AUDIENCE}), algorithms=["RS256"])

    assert await keys.ready()
    assert check.verify(token(header={"kid": "a"}), keys.current(), NOW)
    assert ["/jwks.json"] == server.asked


async def test_k3_a_provider_that_is_down_at_the_start_is_unavailable(server, opened):
    """No keys is *unavailable*; the provider is asked again until it is there."""
    server.answers["/jwks.json"] = published("a")
    await server.stop()
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"))

    assert not await keys.ready()
    with pytest.raises(KeysUnavailable):
        keys.current()
    with pytest.raises(KeysUnavailable):
        await keys.refreshed("a")
    await server.start()
    await eventually(lambda: keys.document()["jwks"])
    assert keys.current().has_kid("a")


async def test_k3_stale_keys_live_max_stale(server, opened):
    """A provider that goes down costs nothing until `max_stale`, then it is unavailable."""
    server.answers["/jwks.json"] = published("a")
    time = [1000.0]
    keys = opened(
        Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"),
        max_stale_s=3600.0,
        clock=lambda: time[0],
    )
    assert await keys.ready()
    await server.stop()
    time[0] += 3600
    assert keys.current().has_kid("a")
    with pytest.raises(KeysUnavailable):
        await keys.refreshed("b")
    time[0] += 1

    with pytest.raises(KeysUnavailable):
        keys.current()


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 404, 410, 429, 500, 503])
async def test_k3_only_200_is_an_answer(server, status):
    """An error page with keys in it is no key document."""
    server.answers["/jwks.json"] = status

    assert f"127.0.0.1 answered {status}" == await failure(server)


async def test_k3_a_slow_provider_is_given_up(server):
    """Neither a silent server nor one that drips outlasts the bound of one fetch."""

    async def silent(_request):
        await asyncio.sleep(30)

    async def dripping(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response

    server.answers |= {"/silent": silent, "/dripping": dripping}
    for path in ("/silent", "/dripping"):
        assert "no answer within 0.1 s" == await failure(server, path, timeout_s=0.1)


async def test_k3_at_most_one_mebibyte_is_read(server):
    """With and without a Content-Length, and not a byte more is kept."""

    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b" " * 65_536)
        return response

    fits = b" " * (1024 * 1024 - len(published("a"))) + published("a")
    server.answers |= {"/fits": fits, "/long": fits + b" ", "/endless": endless}

    assert fits == await fetch(server, "/fits")
    for path in ("/long", "/endless"):
        assert "the document is longer than 1 MiB" == await failure(server, path)


async def test_k3_compressed_documents_are_refused(server):
    """What could unfold to any size was not asked for, field.md §3 #31."""

    async def compressed(request):
        assert "identity" == request.headers["Accept-Encoding"]
        bomb = gzip.compress(b" " * 10_000_000)
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    server.answers["/jwks.json"] = compressed

    assert "compressed" in await failure(server)


async def test_a_server_that_breaks_off_is_a_failure(server):
    """A document cut short is not used, and garbage instead of HTTP is no crash."""

    async def cut(request):
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}")
        request.transport.close()
        return web.Response()

    async def noise(request):
        request.transport.write(b"\x00\x01\x02 what?\r\n\r\n")
        request.transport.close()
        return web.Response()

    server.answers |= {"/cut": cut, "/noise": noise}
    for path in ("/cut", "/noise"):
        assert (await failure(server, path)).startswith("the request failed: ")


def redirect(location, status=302):
    """Return an answer that points somewhere else."""

    async def answer(_request):
        return web.Response(status=status, headers={"Location": location} if location else {})

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_k3_no_redirect_leads_to_http(tls_server, server, contexts, status):
    """Https that points to plain http is refused, also to this machine; nothing is asked there."""
    server.answers["/jwks.json"] = published("a")
    for target in (
        f"{server.url}/jwks.json",
        f"http://127.0.0.1:{tls_server.port}/jwks.json",
        f"//127.0.0.1:{server.port}/jwks.json".replace("//", "http://"),
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "data:,x",
    ):
        tls_server.answers["/jwks.json"] = redirect(target, status)
        assert "not https" in await failure(tls_server, ssl_context=contexts[1])
    assert [] == server.asked


async def test_k3_no_redirect_leads_to_http_where_http_is_accepted(server):
    """`http: accept` and loopback are about the address that is configured."""
    server.answers |= {"/jwks.json": redirect("/other"), "/other": published("a")}
    provider = Provider(ISSUER, jwks_url=f"{server.url}/jwks.json", accepts_http=True)

    with pytest.raises(FetchFailed, match="not https"):
        await fetch_jwks(provider, timeout_s=2)
    assert ["/jwks.json"] == server.asked


async def test_k3_redirects_within_https_are_followed_a_few_times(tls_server, contexts):
    """Relative and absolute ones; a circle ends."""
    tls_server.answers |= {
        "/jwks.json": redirect("two"),
        "/two": redirect(f"{tls_server.url}/three"),
        "/three": published("a"),
        "/circle": redirect("/circle"),
        "/nowhere": redirect(None),
    }

    assert published("a") == await fetch(tls_server, ssl_context=contexts[1])
    assert "more than 3" in await failure(tls_server, "/circle", ssl_context=contexts[1])
    assert "more than 3" in await failure(tls_server, "/nowhere", ssl_context=contexts[1])


async def test_k3_an_unknown_certificate_is_refused(tls_server):
    """Whoever is in between has no certificate that is trusted."""
    tls_server.answers["/jwks.json"] = published("a")

    assert "Certificate" in await failure(tls_server)
    assert [] == tls_server.asked


@pytest.mark.parametrize(
    "garbage",
    [b"", b"<html>no</html>", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [], "keys": []}', b"\xff"],
)
async def test_garbage_does_not_replace_good_keys(server, opened, garbage, caplog):
    """A document that is none is a failed attempt: the old keys stay, and it is logged once."""
    caplog.set_level(logging.INFO)
    server.answers["/jwks.json"] = published("a")
    keys = opened(
        Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), timing=KeyTiming(refetch_s=0)
    )
    assert await keys.ready()
    server.answers["/jwks.json"] = garbage
    with pytest.raises(KeysUnavailable):
        await keys.refreshed("b")

    assert keys.current().has_kid("a")
    with pytest.raises(KeysUnavailable):
        await keys.refreshed("b")
    assert 1 == len([r for r in caplog.records if r.levelno == logging.WARNING])
    assert "<html>" not in caplog.text


async def test_k3_a_removed_key_dies_with_the_next_document(server, opened):
    """An explicitly empty set is believed too: then nothing opens."""
    server.answers["/jwks.json"] = published("a", "b")
    keys = opened(
        Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), timing=KeyTiming(refetch_s=0)
    )
    assert await keys.ready()
    (old, stays) = keys.current().keys
    server.answers["/jwks.json"] = json.dumps({"keys": [jwk("RSA-other", kid="b")]}).encode()
    await keys.refreshed("x")

    assert (False, True) == (old.thumbprint in keys.current(), stays.thumbprint in keys.current())
    server.answers["/jwks.json"] = b'{"keys": []}'
    await keys.refreshed("x")
    assert 0 == len(keys.current())


async def test_k3_a_rotated_key_is_found_by_one_refetch(server, opened):
    """The first token of a new key costs one request to the provider, and opens."""
    server.answers["/jwks.json"] = published("a")
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"))
    check = TokenVerifier(issuer=ISSUER, audiences=frozenset({AUDIENCE}), algorithms=["RS256"])
    raw = token(kind="RSA-other", header={"kid": "b"})
    assert await keys.ready()
    with pytest.raises(KeyUnknown) as caught:
        check.verify(raw, keys.current(), NOW)
    server.answers["/jwks.json"] = published("a", "b")
    fresh = await asyncio.gather(*[keys.refreshed(caught.value.kid) for _ in range(20)])

    assert all(check.verify(raw, found, NOW) for found in fresh)
    assert 2 == len(server.asked)


async def test_k3_a_flood_of_unknown_kids_is_one_refetch(server, opened):
    """Field.md §3 #29: a thousand forged names, at once and later, cost the provider one request."""
    server.answers["/jwks.json"] = published("a")
    time = [1000.0]
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), clock=lambda: time[0])
    assert await keys.ready()
    first = await asyncio.gather(*[keys.refreshed(f"at-once-{n}") for n in range(500)])
    later = [await keys.refreshed(f"later-{n}") for n in range(500)]

    assert {None} == {*first, *later}
    assert 2 == len(server.asked)
    time[0] += 10
    assert await keys.refreshed("much later") is None
    assert 3 == len(server.asked)


async def test_k3_a_flood_while_the_provider_is_down_is_one_refetch(server, opened):
    """The throttle fails closed: *unavailable*, and no request for each token."""
    server.answers["/jwks.json"] = published("a")
    timing = KeyTiming(refresh_s=1000, retry_s=1000, max_retry_s=1000, refetch_s=10)
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), timing=timing)
    assert await keys.ready()
    server.answers["/jwks.json"] = 503
    answers = await asyncio.gather(
        *[keys.refreshed(f"flood-{n}") for n in range(200)], return_exceptions=True
    )

    assert {KeysUnavailable} == {type(answer) for answer in answers}
    assert 2 == len(server.asked)
    assert keys.current().has_kid("a")


async def test_who_gives_up_does_not_stop_the_refetch(server, opened):
    """A client that leaves does not cost the others their answer."""
    gate = asyncio.Event()

    async def waiting(_request):
        await gate.wait()
        return web.Response(body=published("a", "b"))

    server.answers["/jwks.json"] = published("a")
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"))
    assert await keys.ready()
    server.answers["/jwks.json"] = waiting
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(keys.refreshed("b"))
        staying = group.create_task(keys.refreshed("b"))
        await eventually(lambda: len(server.asked) == 2)
        leaving.cancel()
        await asyncio.sleep(0)
        gate.set()

    assert staying.result().has_kid("b")
    assert 2 == len(server.asked)


async def test_keys_are_refreshed_in_the_background(server, opened):
    """A key that is withdrawn leaves without anybody asking."""
    server.answers["/jwks.json"] = published("a")
    timing = KeyTiming(refresh_s=0.02)
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), timing=timing)
    assert await keys.ready()
    server.answers["/jwks.json"] = published("c")

    await eventually(lambda: keys.current().has_kid("c"))
    assert not keys.current().has_kid("a")


async def test_fetches_failures_and_age_are_told(server, opened):
    """For the metrics: no age before the first document, and then that of the last good one."""
    time = [1000.0]
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), clock=lambda: time[0])
    server.answers["/jwks.json"] = 500
    assert not await keys.ready()
    assert keys.age_s() is None
    assert keys.fetches >= keys.fetch_failures >= 1
    server.answers["/jwks.json"] = published("a")
    await eventually(lambda: keys.age_s() is not None)
    time[0] += 90.0
    assert 90.0 == keys.age_s()
    assert keys.fetches > keys.fetch_failures


async def test_closing_ends_what_is_under_way(server):
    """Nothing is asked after the end; who still waits is told that there are no keys."""

    async def silent(_request):
        await asyncio.sleep(30)

    server.answers["/jwks.json"] = silent
    keys = RemoteKeys(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), ["RS256"])
    keys.start()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_unavailable(keys))
        await eventually(lambda: server.asked)
        await keys.close()

    assert waiting.result()
    assert 1 == len(server.asked)


async def _unavailable(keys):
    with pytest.raises(KeysUnavailable):
        await keys.refreshed("a")
    return True


async def test_discovery_finds_the_keys(server, opened):
    """The issuer's own document says where they are."""
    issuer = f"{server.url}/realms/a"
    server.answers["/realms/a" + DISCOVERY] = {"issuer": issuer, "jwks_uri": f"{server.url}/k"}
    server.answers["/k"] = published("a")
    keys = opened(Provider(issuer))

    assert await keys.ready()
    assert ["/realms/a" + DISCOVERY, "/k"] == server.asked


async def test_discovery_falls_back_to_oauth_metadata(server):
    """A server without OpenID has RFC 8414 metadata."""
    issuer = f"{server.url}/tenant"
    server.answers[METADATA + "/tenant"] = {"issuer": issuer, "jwks_uri": f"{server.url}/k"}
    server.answers["/k"] = published("a")

    assert published("a") == await fetch_jwks(Provider(issuer), timeout_s=2)


@pytest.mark.parametrize("other", ["", "/", "/x", None, 1, "evil"])
async def test_k3_the_discovery_documents_issuer_must_be_ours(server, other):
    """A document of another issuer, also one that merely lacks a slash, brings no keys."""
    issuer = f"{server.url}/id"
    said = f"{server.url}{other}" if isinstance(other, str) else other
    server.answers["/id" + DISCOVERY] = {"issuer": said, "jwks_uri": f"{server.url}/k"}
    server.answers["/k"] = published("a")

    with pytest.raises(FetchFailed, match="another issuer"):
        await fetch_jwks(Provider(issuer), timeout_s=2)
    assert ["/id" + DISCOVERY] == server.asked


@pytest.mark.parametrize(
    "uri", ["http://keys.example.com/k", "file:///etc/passwd", "/k", "", None, 1, ["x"]]
)
async def test_k3_discovered_addresses_follow_the_same_rules(server, uri):
    """Plain http elsewhere, other schemes and no address at all."""
    server.answers[DISCOVERY] = {"issuer": server.url, "jwks_uri": uri}

    with pytest.raises(FetchFailed):
        await fetch_jwks(Provider(server.url), timeout_s=2)
    assert [DISCOVERY] == server.asked


@pytest.mark.parametrize("garbage", [b"", b"[]", b"<html>", b'{"issuer": 1, "issuer": 2}', b"\xff"])
async def test_a_discovery_document_that_is_none_is_a_failure(server, garbage):
    """Garbage is told as such, and quoted nowhere."""
    server.answers[DISCOVERY] = garbage

    with pytest.raises(FetchFailed, match="not a JSON object"):
        await fetch_jwks(Provider(server.url), timeout_s=2)


async def test_workers_share_one_fetch(server, opened):
    """The supervisor pushes what it has, answers each question, and asks the provider once."""
    workers = []

    def push(document):
        for worker in workers:
            worker.accept(json.loads(json.dumps(document)))

    server.answers["/jwks.json"] = published("a")
    keys = opened(Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), on_document=push)

    def worker():
        """Wire a worker's question to the supervisor's answer, as the control channel does."""

        def ask(kid):
            async def answer():
                with contextlib.suppress(KeysUnavailable):
                    await keys.refreshed(kid)
                own.accept(json.loads(json.dumps(keys.document())))

            questions.append(asyncio.get_running_loop().create_task(answer()))

        own = RelayedKeys(["RS256", "EdDSA"], ask)
        own.accept(keys.document())
        return own

    questions = []
    assert await keys.ready()
    workers += [worker() for _ in range(4)]
    server.answers["/jwks.json"] = published("a", "b")
    found = await asyncio.gather(*[own.refreshed("b") for own in workers for _ in range(25)])
    unknown = await asyncio.gather(*[own.refreshed("no") for own in workers])
    await asyncio.gather(*questions)

    assert all(current.has_kid("b") for current in found)
    assert {None} == {*unknown}
    assert 2 == len(server.asked)


async def test_a_token_under_a_removed_key_is_refused(server, opened):
    """A stolen signing key is worthless as soon as the provider withdraws it."""
    server.answers["/jwks.json"] = published("a")
    keys = opened(
        Provider(ISSUER, jwks_url=f"{server.url}/jwks.json"), timing=KeyTiming(refetch_s=0)
    )
    check = TokenVerifier(issuer=ISSUER, audiences=frozenset({AUDIENCE}), algorithms=["RS256"])
    raw = token(header={"kid": "a"})
    assert await keys.ready()
    assert check.verify(raw, keys.current(), NOW)
    server.answers["/jwks.json"] = json.dumps({"keys": [jwk("RSA-other", kid="b")]}).encode()
    await keys.refreshed("b")

    with pytest.raises(TokenInvalid):
        check.verify(raw, keys.current(), NOW)
