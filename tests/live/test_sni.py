"""Several certificates on one listener: the name that a client asks for chooses one, and no more."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl

import pytest
from cryptography import x509
from cryptography.x509 import DNSName

from proxy.config.models import Config
from proxy.edge.server import GateServer
from proxy.edge.tls import contexts_of, listener_context
from proxy.errors import ConfigErrors
from proxy.services.runtime import Runtime, load
from tests.byte_server import REQUEST, ByteServer
from tests.certificates import Authority, careless
from tests.live.conftest import bind

ONE_LANE = "handshakes come before any lane"
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
CONFIG = """
server:
  tls:
    cert: gate.pem
    key: gate.key
    certificates: [{{cert: a.pem, key: a.key}}, {{cert: b.pem, key: b.key}}]
upstreams: {{app: {{servers: ["{server}"]}}}}
routes:
  - {{match: {{path: /**}}, auth: none, upstream: app}}
  - {{match: {{host: closed.test, path: /open}}, auth: none, upstream: app}}
"""


@pytest.fixture
async def gate(tmp_path):
    """Return the port of a gate with three certificates, and who signed them."""
    authority = Authority(tmp_path)
    authority.issue("gate", "gate", DNSName("gate.test"))
    authority.issue("a", "a", DNSName("a.test"), DNSName("*.wild.test"))
    authority.issue("b", "b", DNSName("b.test"), DNSName("one.wild.test"), DNSName("a.test"))
    upstream = ByteServer([[REQUEST, OK]] * 9)
    await upstream.start()
    path = tmp_path / "gate.yaml"
    path.write_text(CONFIG.format(server=upstream.address))
    loaded = load(path)
    runtime = await Runtime.start(loaded)
    server, sock = GateServer(runtime), bind()
    await server.start([sock], listener_context(loaded.config.server.tls))
    authority.server = server  # type: ignore[attr-defined] # for the test of what is counted
    yield sock.getsockname()[1], authority
    await server.drain(1)
    await server.runtime.close()
    await upstream.stop()


async def ask(port, name, host="gate.test", target="/", context=None):
    """Return whose certificate is shown to who asks for `name`, and the answer."""
    options = {"server_hostname": name} if name else {"server_hostname": ""}
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context or careless(), **options
    )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    shown = x509.load_der_x509_certificate(der).subject.rfc4514_string().removeprefix("CN=")
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return shown, answer


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a.test", "a"),
        ("A.Test", "a"),
        ("b.test", "b"),
        ("x.wild.test", "a"),
        ("one.wild.test", "b"),
        ("two.x.wild.test", "gate"),
        ("wild.test", "gate"),
        ("gate.test", "gate"),
        ("unknown.test", "gate"),
        ("", "gate"),
    ],
)
async def test_the_name_chooses_the_certificate(gate, name, shown):
    """Exact names first, a wildcard for one label; whoever asks for another gets the default."""
    port, _ = gate
    found, answer = await ask(port, name)

    assert found == shown
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_careful_client_is_content(gate):
    """The certificate that is shown is good for the name that was asked for, over TLS 1.2 too."""
    port, authority = gate
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=authority.file)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.minimum_version = context.maximum_version = version
        for name in ("a.test", "deep.wild.test", "gate.test"):
            assert (await ask(port, name, context=context))[1].startswith(b"HTTP/1.1 200 ")


async def test_the_name_opens_nothing(gate):
    """Who may pass hangs on the Host alone: a handshake for another host leads to no other route."""
    port, _ = gate

    shown, answer = await ask(port, "a.test", host="closed.test", target="/shut")
    assert shown == "a"
    assert answer.startswith(b"HTTP/1.1 404 ")
    _, answer = await ask(port, "closed.test", host="a.test", target="/shut")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_every_certificate_asks_for_the_same(tmp_path):
    """A name that a client asks for does not spare it its own certificate."""
    authority = Authority(tmp_path, "ca")
    pairs = {n: authority.issue(n, n, DNSName(f"{n}.test")) for n in ("gate", "a")}
    config = Config.model_validate(
        {
            "server": {
                "tls": {
                    **dict(zip(("cert", "key"), map(str, pairs["gate"]), strict=True)),
                    "client_ca": str(authority.file),
                    "certificates": [dict(zip(("cert", "key"), map(str, pairs["a"]), strict=True))],
                }
            }
        },
        context={"base": tmp_path},
    )
    context = listener_context(config.server.tls)
    for name in ("a.test", "gate.test"):
        with pytest.raises(ssl.SSLError):
            shake(context, careless(), name)
        shake(context, careless(pairs["a"]), name)

    assert len(contexts_of(context)) == 2  # with whom a handshake may be under way at a reload


def shake(context, client_context, name):
    """Shake hands in memory; raise what the server has against it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                if side is server:
                    raise


def test_a_certificate_that_nobody_can_ask_for_is_a_mistake(tmp_path):
    """One that names no host; and one whose names others have is a warning."""
    authority = Authority(tmp_path)
    authority.issue("gate", "gate")
    authority.issue("a", "a", DNSName("a.test"))
    authority.issue("b", "b", DNSName("a.test"))
    path = tmp_path / "gate.yaml"
    path.write_text(CONFIG.format(server="http://127.0.0.1:9"))

    assert [
        str(w.path) for w in load(path).warnings if "never shown" in w.message
    ] == ["server.tls.certificates[1].cert"]  # fmt: skip
    authority.issue("b", "b.test")
    with pytest.raises(ConfigErrors, match="names no host in its SAN"):
        load(path)


async def test_the_metrics_tell_when_what_is_served_ends(gate, tmp_path):
    """By the keys of the configuration; a file that was renewed counts once it is served."""
    _, authority = gate
    server = authority.server
    before = dict(server.counters.certificates)
    end = dt.datetime(2040, 1, 1)  # noqa: DTZ001 - x509 takes naive UTC
    authority.issue("a", "a", DNSName("a.test"), end=end)
    assert before == server.counters.certificates
    runtime = await Runtime.start(load(tmp_path / "gate.yaml"), before=server.runtime)
    old = server.runtime
    await server.adopt(runtime, listener_context(runtime.config.server.tls)).ended()
    await old.close(None, after=runtime)
    after = server.counters.certificates

    assert {"cert", "certificates[0]", "certificates[1]"} == {*before} == {*after}
    assert end.replace(tzinfo=dt.UTC).timestamp() == after["certificates[0]"]
    assert (before["cert"], before["certificates[1]"]) == (after["cert"], after["certificates[1]"])
