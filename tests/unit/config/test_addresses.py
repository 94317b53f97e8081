from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis.asyncio

from proxy.config.addresses import (
    Address,
    UpstreamServer,
    host_of,
    is_loopback,
    parse_address,
    parse_host_pattern,
    parse_http_url,
    parse_origin,
    parse_public_url,
    parse_server,
    parse_server_name,
    parse_store_url,
    parse_trusted,
    parse_upstream_host,
)
from proxy.config.secret import Secret
from proxy.config.store_url import StoreUrl
from proxy.config.values import BASE

INFO = SimpleNamespace(context={BASE: Path("/etc/gate")})


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("0.0.0.0:8080", Address("0.0.0.0", 8080), "0.0.0.0:8080"),
        ("[::]:8080", Address("::", 8080), "[::]:8080"),
        ("[0:0::1]:80", Address("::1", 80), "[::1]:80"),
        ("LocalHost:0", Address("localhost", 0), "localhost:0"),
        ("unix:/run/g.sock", Address("", 0, Path("/run/g.sock")), "unix:/run/g.sock"),
        ("unix:g.sock", Address("", 0, Path("/etc/gate/g.sock")), "unix:/etc/gate/g.sock"),
        ("unix:///run/g", Address("", 0, Path("/run/g")), "unix:/run/g"),
    ],
)
def test_listeners_are_read(text, address, shown):
    """host:port, [IPv6]:port or unix:path, and the way back."""
    found = parse_address(text, INFO)

    assert address == found
    assert shown == str(found)
    assert found.is_unix == text.startswith("unix:")
    assert parse_address(found, INFO) is found


@pytest.mark.parametrize(
    "value",
    [
        "8080", ":8080", "127.0.0.1", "::1:80", "[::1]", "[::1%eth0]:80", "[1.2.3.4]:80", "a b:80",
        "a:70000", "a:-1", "a:x", "unix:", "unix:/run/", "127.1:80", "0x7f.1:80", "1.2.3:80",
        "é.example:80", "-a:80", "a..b:80", "http://a:80", 8080, None, "a:80\n", "[::1]:80:80",
    ],
)  # fmt: skip
def test_what_is_no_listener_is_refused(value):
    """A listener has a host and a port, or a path; short forms that resolvers guess at are not."""
    with pytest.raises(ValueError, match=r"must|missing|malformed|has four|needs|write"):
        parse_address(value, INFO)


@pytest.mark.parametrize(
    ("text", "server", "shown"),
    [
        ("http://App:9001", UpstreamServer("http", "app", 9001), "http://app:9001"),
        ("HTTP://app", UpstreamServer("http", "app", 80), "http://app:80"),
        ("https://10.0.0.7", UpstreamServer("https", "10.0.0.7", 443), "https://10.0.0.7:443"),
        ("http://[::1]:81", UpstreamServer("http", "::1", 81), "http://[::1]:81"),
        ("http://app_1.:81", UpstreamServer("http", "app_1", 81), "http://app_1:81"),
        ("unix:a.sock", UpstreamServer("unix", "", 0, Path("/etc/gate/a.sock")), None),
    ],
)
def test_servers_are_read(text, server, shown):
    """A server is a scheme, a host and a port, or a socket."""
    found = parse_server(text, INFO)

    assert server == found
    assert (shown or "unix:/etc/gate/a.sock") == str(found)
    assert parse_server(found, INFO) is found


@pytest.mark.parametrize(
    "value",
    [
        "http://a/", "http://a/x", "http://a?x", "http://a#x", "http://u:hunter2@a", "http://",
        "ftp://a", "a:80", "//a", "http:/a", "http://a:0", "http://a:99999", "http://a b",
        "http://[::1", "http://a\\b", "http://1.2", "http://%61", 1, None, "http://a\t",
    ],
)  # fmt: skip
def test_what_is_no_server_is_refused(value):
    """A server has no path, no user and no guesswork; nothing of it is repeated."""
    with pytest.raises(ValueError, match=r"must|has no|missing|malformed|has four") as caught:
        parse_server(value, INFO)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("embedded:var/store", StoreUrl("embedded", path=Path("/etc/gate/var/store"))),
        ("embedded:/var/store", StoreUrl("embedded", path=Path("/var/store"))),
        ("redis://r", StoreUrl("redis", host="r", port=6379)),
        ("redis://r:1/2", StoreUrl("redis", host="r", port=1, db=2)),
        ("redis://r?db=2", StoreUrl("redis", host="r", port=6379, db=2)),
        (
            "rediss://u:p%40ss@r/0",
            StoreUrl("rediss", host="r", port=6379, username="u", password=Secret("p@ss")),
        ),
        ("redis://:p@[::1]", StoreUrl("redis", host="::1", port=6379, password=Secret("p"))),
        (
            "rediss://r?ssl_ca_certs=ca.pem",
            StoreUrl(
                "rediss",
                host="r",
                port=6379,
                tls_files=(("ssl_ca_certs", Path("/etc/gate/ca.pem")),),
            ),
        ),
        ("unix:///run/r.sock", StoreUrl("unix", path=Path("/run/r.sock"))),
        (
            "unix:///run/r.sock?db=3&password=p",
            StoreUrl("unix", path=Path("/run/r.sock"), db=3, password=Secret("p")),
        ),
        (
            "unix://u@/run/r.sock",
            StoreUrl("unix", path=Path("/run/r.sock"), username="u"),
        ),
        (
            "unix://u:p%40s:s@/run/r.sock?db=3",
            StoreUrl(
                "unix", path=Path("/run/r.sock"), db=3, username="u", password=Secret("p@s:s")
            ),
        ),
        (
            "unix://:p@/run/r@x.sock",
            StoreUrl("unix", path=Path("/run/r@x.sock"), password=Secret("p")),
        ),
        ("unix:r.sock", StoreUrl("unix", path=Path("/etc/gate/r.sock"))),
        (
            "redis+cluster://u:p@h1,h2:7",
            StoreUrl(
                "redis+cluster",
                username="u",
                password=Secret("p"),
                nodes=(("h1", 6379), ("h2", 7)),
            ),
        ),
        ("rediss+cluster://h1/0", StoreUrl("rediss+cluster", nodes=(("h1", 6379),))),
        (
            "redis+sentinel://h1,H2:7/name",
            StoreUrl("redis+sentinel", sentinels=(("h1", 26379), ("h2", 7)), master="name"),
        ),
        (
            (
                "rediss+sentinel://u:p%40@[::1]:7,h2/a.b-1/3?ssl_ca_certs=ca.pem"
                "&sentinel_username=s&sentinel_password=p%26q"
            ),
            StoreUrl(
                "rediss+sentinel",
                db=3,
                username="u",
                password=Secret("p@"),
                tls_files=(("ssl_ca_certs", Path("/etc/gate/ca.pem")),),
                sentinels=(("::1", 7), ("h2", 26379)),
                master="a.b-1",
                sentinel_username="s",
                sentinel_password=Secret("p&q"),
            ),
        ),
    ],
)
def test_stores_are_read(text, expected):
    """embedded:, redis://, rediss:// and unix://, with user, password and database."""
    found = parse_store_url(text, INFO)

    assert expected == found
    assert parse_store_url(found, INFO) is found


@pytest.mark.parametrize(
    "text",
    [
        "redis://user:p%40s:s@r:7/3",
        "rediss://:x@r:7/3?ssl_ca_certs=/etc/ca%20x.pem",
        "unix:///run/a%20b.sock?db=2&password=p%26q",
        "unix://me@/run/r.sock?db=2",
        "unix://me:p%40s:s@/run/r.sock?db=2",
        "redis://[::1]:7/0",
    ],
)
def test_redis_py_reads_the_same_place_out_of_a_revealed_url(text):
    """`reveal` says to redis-py what the file said to us."""
    url = parse_store_url(text, INFO)
    kwargs = redis.asyncio.ConnectionPool.from_url(url.reveal()).connection_kwargs

    assert url.db == kwargs.get("db", 0)
    assert url.username == kwargs.get("username")
    assert (url.password.reveal() if url.password else None) == kwargs.get("password")
    if url.path is not None:
        assert str(url.path) == kwargs["path"]
    else:
        assert (url.host, url.port) == (kwargs["host"].strip("[]"), kwargs["port"])
    for name, path in url.tls_files:
        assert str(path) == kwargs[name]


def test_a_store_shows_no_password():
    """`str` and `repr` of a store name the place alone."""
    for text in (
        "redis://u:hunter2@r",
        "unix:///r?password=hunter2",
        "unix://u:hunter2@/r",
        "rediss://:hunter2@r",
        "redis+sentinel://u:hunter2@a,b/name",
        "redis+sentinel://a,b/name?sentinel_password=hunter2",
    ):
        url = parse_store_url(text, INFO)

        assert "hunter2" not in f"{url} {url!r}"
        assert "hunter2" in url.reveal()
    assert str(parse_store_url("redis://u:x@r:1/2", INFO)) == "redis://r:1/2"
    assert parse_store_url("embedded:/x", INFO).reveal() == "embedded:/x"
    assert str(parse_store_url("embedded:/x", INFO)) == "embedded:/x"


def test_a_url_of_sentinels_is_revealed_as_it_was_written():
    """redis-py has no such URL; ours is read as the same again."""
    text = "rediss+sentinel://u:p@a:1,[::1]:2/name/3?ssl_keyfile=/k&sentinel_username=s"
    url = parse_store_url(text, INFO)

    assert parse_store_url(url.reveal(), INFO) == url
    assert str(url) == "rediss+sentinel://a:1,[::1]:2/name/3"
    cluster = parse_store_url("rediss+cluster://u:p@a,b:1?ssl_keyfile=/k", INFO)
    assert parse_store_url(cluster.reveal(), INFO) == cluster
    assert str(cluster) == "rediss+cluster://a:6379,b:1/0"
    assert cluster.is_same_database(parse_store_url("redis+cluster://b:1,c", INFO))
    assert not cluster.is_same_database(parse_store_url("redis+cluster://c", INFO))


def test_one_sentinel_in_common_is_the_same_database():
    """Whoever names some of the Sentinels, and the same master, means the same store."""
    one, two, three, four = (
        parse_store_url(f"redis+sentinel://{text}", INFO)
        for text in ("a,b/n", "u:p@b,c/n", "c/n", "a,b/m")
    )
    assert one.is_same_database(two)
    assert not one.is_same_database(three)
    assert not one.is_same_database(four)
    assert not one.is_same_database(parse_store_url("redis://a", INFO))


@pytest.mark.parametrize(
    "value",
    [
        "redis://u:hunter2@", "redis://u:hunter2@r:x", "redis://u:hunter2@r/x", "hunter2",
        "redis://u:hunter2@r/1?db=2", "redis://u:hunter2@r?x=1", "redis://r?ssl_ca_certs=hunter2",
        "rediss://u:hunter2@r?ssl_cert_reqs=none", "redis://u:%ff@r", "embedded:", "unix:",
        "redis+sentinel://u:hunter2@a,b", "redis+sentinel://u:hunter2@a,,b/name",
        "redis+sentinel://u:hunter2@a,a/name", "redis+sentinel://u:hunter2@a/name/1?db=1",
        "redis+sentinel://a/name?ssl_ca_certs=hunter2", "redis+sentinel://u:hunter2@a/na%20me",
        "redis+cluster://u:hunter2@a,", "rediss+cluster://u:hunter2@a,b/1",
        "redis+cluster://u:hunter2@a,b?db=1", "redis+cluster://u:hunter2@a,a", "valkey://hunter2", 1,
        "unix://u:hunter2@/r?password=hunter2", "unix://u:%ff@/r",
        "unix:///r?db=x", "unix:///r?db=1&db=2", "redis://r/-1", "redis://r/999999",
    ],
)  # fmt: skip
def test_what_is_no_store_is_refused_without_its_password(value):
    """TLS cannot be switched off in a query; what later versions know is said to be so."""
    with pytest.raises(
        ValueError, match=r"must|needs|its query|names|not available|host|not UTF"
    ) as caught:
        parse_store_url(value, INFO)

    assert "hunter2" not in str(caught.value)


def test_a_store_may_stand_in_a_file(tmp_path):
    """The URL has a password, so it may come from a secret's file."""
    (tmp_path / "url").write_text("redis://u:hunter2@r\n")
    info = SimpleNamespace(context={BASE: tmp_path})

    assert parse_store_url({"file": "url"}, info).reveal() == "redis://u:hunter2@r:6379/0"


def test_one_database_is_one_whoever_logs_in():
    """User and password make no other database; number, port and path do."""
    url = parse_store_url("redis://u:x@r:1/2", INFO)

    assert url.is_same_database(parse_store_url("rediss://r:1/2", INFO))
    for other in ("redis://r:1/3", "redis://r:2/2", "redis://s:1/2", "unix:///r?db=2"):
        assert not url.is_same_database(parse_store_url(other, INFO))


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://Shop.Example.com", "https://shop.example.com"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:8080", "http://a.example:8080"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_origins_are_written_as_browsers_do(text, origin):
    """Lower case, without a default port."""
    assert origin == parse_origin(text)


@pytest.mark.parametrize(
    "value",
    [
        "null",
        "*",
        "https://a/",
        "https://a/b",
        "https://u@a",
        "https://*.a",
        "a.example",
        1,
        "https://",
    ],
)
def test_what_is_no_origin_is_refused(value):
    """`null` and wildcards would be anybody's origin."""
    with pytest.raises(ValueError, match=r"must|missing"):
        parse_origin(value)


def test_the_public_url_is_a_web_origin():
    """People reach the gate by http or https."""
    assert parse_public_url("https://shop.example.com") == "https://shop.example.com"
    with pytest.raises(ValueError, match="https://"):
        parse_public_url("capacitor://localhost")


def test_key_urls_are_plain_web_addresses():
    """A URL of keys has no user, no fragment and nothing that parsers read differently."""
    assert parse_http_url("https://id.example/k?v=1") == "https://id.example/k?v=1"
    for value in (
        "ftp://a/k",
        "https://u:p@a/k",
        "https://a/k#x",
        "https://a/k k",
        "https://a\\b/k",
        "k",
    ):
        with pytest.raises(ValueError, match="must"):
            parse_http_url(value)


def test_trusted_networks_are_exact():
    """A network is written with its own address; `unix` is a word; an address is a network of one."""
    assert parse_trusted("10.0.0.0/8") == ip_network("10.0.0.0/8")
    assert parse_trusted("::1") == ip_network("::1/128")
    assert parse_trusted("unix") == "unix"
    assert parse_trusted(ip_network("10.0.0.0/8")) == ip_network("10.0.0.0/8")
    with pytest.raises(ValueError, match="bits set"):
        parse_trusted("10.0.0.1/8")
    for value in ("all", "10.0.0.0/33", "10", 10, "10.0.0.0/255.0.0.0/8"):
        with pytest.raises(ValueError, match="must be"):
            parse_trusted(value)


def test_host_patterns_have_no_port_and_one_wildcard():
    """A route's host is a name, `*.name` or an address, in lower case and without final dot."""
    assert parse_host_pattern("Shop.Example.com.") == "shop.example.com"
    assert parse_host_pattern("*.example.com") == "*.example.com"
    assert parse_host_pattern("[::1]") == "[::1]"
    for value in (
        "a:80",
        "*",
        "a.*",
        "*.*.a",
        "*.10.0.0.1",
        "*.[::1]",
        "a/b",
        "",
        "münchen.example",
    ):
        with pytest.raises(ValueError, match=r"must|port|once|missing|malformed|xn--"):
            parse_host_pattern(value)


def test_upstream_hosts_are_words_or_hosts():
    """`preserve` and `upstream` are words; anything else is the Host to send."""
    assert parse_upstream_host("preserve") == "preserve"
    assert parse_upstream_host("App.internal") == "app.internal"
    assert parse_upstream_host("app:81") == "app:81"
    assert parse_upstream_host("[::1]:81") == "[::1]:81"
    with pytest.raises(ValueError, match="must"):
        parse_upstream_host("a b")


def test_tls_names_have_no_port():
    """A certificate names a host."""
    assert parse_server_name("App.internal") == "app.internal"
    with pytest.raises(ValueError, match="without a port"):
        parse_server_name("app:443")


def test_loopback_is_known_by_address_and_by_its_one_name():
    """K3: only this machine itself is excepted from TLS."""
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert is_loopback(host)
    for host in ("10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "0.0.0.0"):
        assert not is_loopback(host)
    assert host_of("https://Id.example:8443/x") == "id.example"
    assert host_of("not a url") == ""
