"""P1, P2, P4, P5: no spelling of a path reaches another policy, whoever reads it.

A generated corpus: spellings of the separator, of the way up and of the guarded name, at every
position and in every layer of encoding. Each target that a route accepts is given to models of
other servers; what they would serve must be guarded as the gate guarded the request.
"""

from __future__ import annotations

import contextlib
import itertools
from time import process_time

import pytest

from proxy.core import paths
from proxy.core.paths import BadTarget, parse_target
from proxy.core.routing import Ambiguous, Found, Router
from tests.naive_router import make_spec, policies, split
from tests.path_readers import FOLDING_FILE_NAMES, READERS

SEPARATORS = (
    *("/", "//", "///", "/./", "/.//", "%2f", "%2F", "/%2f", "%2f/", "%2f%2F"),
    *("\\", "%5c", "%5C", "/\\", "\\\\", "%252f", "%252F", "%255c", "%25252f", "%25255c"),
    *("/;/", "/;x=1/", ";/", ";a=b/", "%3b/", "/%3b/", "%3bx%2f", "/%2e/", "/.%2f", "%2f.%5c"),
    *("/%252e/", "/.;/", "/. /", "/%20/", "/.%20/", "/ /", "/.../", "/%00/", "%00/", "/%0a/"),
    *("%c0%af", "%e0%80%af", "%f0%80%80%af", "%c1%9c", "%c0%2f", "%ef%bc%8f", "%u002f", "%25u002f"),
    *("?/", "%3f/", "#/", "%23/", "%253f/", "%2523/", "/%25%32%66", "%2%66", "%25%32f", "/%7f/"),
)

UPS = (
    *("..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", ".%252e", "%25252e%25252e", "%25%32%65."),
    *(
        "..;",
        "..;x=1",
        ";..",
        "..%3b",
        "%2e%2e;",
        "..%253b",
        "..%00",
        "..%09",
        "..%20",
        ".. ",
        "...",
    ),
    *("....", "..%20.", ". .", "%c0%ae%c0%ae", "%c0%2e%c0%2e", "%e0%80%ae.", "%u002e.", "..%c2%80"),
    *("%ef%bc%8e%ef%bc%8e", "..%25%30%30", "..\\", "..%5c", "..%2f", "%2f..", "\\.."),
)

NAMES = (
    *(
        "admin",
        "ADMIN",
        "Admin",
        "aDmIn",
        "%61dmin",
        "%41dmin",
        "%2561dmin",
        "%252561dmin",
        "ad%6Din",
    ),
    *(
        "admin.",
        "admin..",
        "admin. .",
        "admin%2e",
        "admin%20",
        "%20admin",
        "admin%20.",
        "admin%252e",
    ),
    *(
        "admin;",
        "admin;x",
        "admin%3b",
        "admin%3Bx",
        "admin%253b",
        ";admin",
        "x;/admin",
        "admin;/..",
    ),
    *(
        "admin/",
        "admin//",
        "admin/.",
        "admin/x/..",
        "admin%2f",
        "admin%5c",
        "admin\\",
        "admin%252f",
    ),
    *(
        "admin?",
        "admin#",
        "admin%3f",
        "admin%23",
        "admin%3fx",
        "admin%23x",
        "admin%253f",
        "admin%2523x",
    ),
    *("admin%00", "admin%00x", "admin%2500", "admin%0d%0a", "admin%09", "admin%7f", "admin%c2%85"),
    *("admin:$i30:$INDEX_ALLOCATION", "admin::$INDEX_ALLOCATION", "admin%3a%24i30", "admin~1"),
    *(
        "adm%C4%B1n",
        "%EF%BD%81dmin",
        "adm%EF%BD%89n",
        "adm%c4%b0n",
        "adm%ffin",
        "admin%ff",
        "%ffadmin",
    ),
    *(
        "adm%c0%a9n",
        "%c1%a1dmin",
        "%e0%81%a1dmin",
        "%u0061dmin",
        "%25u0061dmin",
        "%C1dmin",
        "ad%1min",
    ),
    *(
        "\u0430dmin",
        "admin%c2%a0",
        "%c2%a0admin",
        "admin%e3%80%80",
        "admin%E2%80%A8",
        "admin%e2%80%ae",
    ),
    *(
        "admin/secret",
        "ADMIN/secret",
        "admin/SECRET",
        "admin/%73ecret",
        "admin%2fsecret",
        "admin;/secret",
    ),
)

PREFIXES = (
    "",
    "/public",
    "/PUBLIC",
    "/public/a",
    "/api/v1",
    "/api",
    "/none",
    "/public;x",
    "/public/%2e",
)

HOSTS = ("shop.example", "public", "%2f", "x/\\y", "x;", "user@shop.example:80")

TABLES = {
    "guarded in public": (
        make_spec("/**", "public"),
        make_spec("/admin/**", "guarded"),
        make_spec("/public/**", "public"),
    ),
    "public in guarded": (
        make_spec("/**", "guarded"),
        make_spec("/admin/**", "admin"),
        make_spec("/public/**", "public"),
    ),
    "exact paths": (
        make_spec("/", "public"),
        make_spec("/public/{x}", "public"),
        make_spec("/public/a/{x}", "public"),
        make_spec("/admin", "guarded"),
        make_spec("/admin/secret", "admin"),
        make_spec("/{x}", "public"),
    ),
    "parameters": (
        make_spec("/{x}/**", "public"),
        make_spec("/{x}/admin/**", "guarded"),
        make_spec("/admin/**", "guarded"),
        make_spec("/public/{x}/{y}/**", "other"),
    ),
    "everything allowed by name": (
        make_spec("/**", "public", allow_paths=paths.FORMS),
        make_spec("/admin/**", "guarded", allow_paths=paths.FORMS),
        make_spec("/public/{x}/**", "public", allow_paths=paths.FORMS),
        make_spec("/Api/V1/**", "other", allow_paths=paths.FORMS),
    ),
    "nothing allowed, exact upstream": (
        make_spec("/**", "public", is_folded=False),
        make_spec("/admin/**", "guarded", is_folded=False),
        make_spec("/PUBLIC/**", "other", is_folded=False),
    ),
    "allowed, exact upstream": (
        make_spec("/**", "public", is_folded=False, allow_paths=paths.FORMS),
        make_spec("/admin/**", "guarded", is_folded=False, allow_paths=paths.FORMS),
        make_spec("/public/{x}/**", "public", is_folded=False, allow_paths=paths.FORMS),
    ),
}


def corpus():
    """Yield the hostile targets: every pair of spellings, in a few frames each."""
    seen = set()
    for frame in itertools.chain(
        (f"{prefix}{sep}{name}" for prefix in PREFIXES for sep in SEPARATORS for name in NAMES),
        (f"{sep}{host}/{name}" for sep in SEPARATORS for host in HOSTS for name in NAMES[::3]),
        (f"/public{sep}{up}{sep}admin" for sep in SEPARATORS for up in UPS),
        (
            f"/public/x{sep}{up}/{name}"
            for sep in SEPARATORS[::3]
            for up in UPS
            for name in NAMES[::5]
        ),
        (
            f"/public/{up}{sep}{name}"
            for up in UPS
            for sep in SEPARATORS[::2]
            for name in NAMES[::7]
        ),
        (f"/admin{sep}{up}{sep}public" for sep in SEPARATORS for up in UPS),
        (f"/api/v1{sep}{up}/{up}{sep}admin" for sep in SEPARATORS for up in UPS),
    ):
        target = (frame if frame.startswith("/") else f"/{frame}").encode()
        if target not in seen:
            seen.add(target)
            yield target


STRIPPING = (
    make_spec("/api/**", "public", strip_prefix="/api", allow_paths=paths.FORMS),
    make_spec("/api/v1/**", "guarded", strip_prefix="/api/v1"),
    make_spec("/admin/**", "guarded"),
    make_spec("/api/admin/**", "other", strip_prefix="/api"),
)


def part_of_corpus(part, parts):
    """Return every n-th target: each table sees another part, in reasonable time."""
    return list(itertools.islice(corpus(), part, None, parts))


def accepted(specs, targets):
    """Yield the targets that pass: target, path, the spec that decided, and the path sent."""
    router = Router(specs)
    by_payload = {spec.payload: spec for spec in specs}
    for target in targets:
        try:
            path = parse_target(target, "GET").path
        except BadTarget:
            continue
        outcome = router.match(None, path, "GET")
        if isinstance(outcome, Found):
            yield target, path, by_payload[outcome.payload], outcome.path


def violations(specs, targets):
    """Return the targets that pass although some reader serves them under another policy."""
    found = []
    for target, _, spec, sent in accepted(specs, targets):
        prefix = split(spec.strip_prefix or "")
        for name, reader in READERS.items():
            if not spec.is_folded and (reader.is_folding or name in FOLDING_FILE_NAMES):
                continue
            parts = prefix + split(reader.serves(sent.decode("latin-1")))
            key = str.lower if reader.is_folding else str
            if policies(specs, None, parts, "GET", key) != {spec.policy}:
                found.append((target, name, "/".join(parts)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_p2_p5_no_reader_reaches_another_policy(table):
    """P2, P5 (field.md §3 #4 #5 #12 #15 #34): what passes is guarded alike for every reader."""
    targets = part_of_corpus(list(TABLES).index(table), 13)

    assert [] == violations(TABLES[table], targets)


@pytest.mark.slow
def test_p1_a_stripped_path_stays_below_its_prefix():
    """P1 (field.md §3 #12): what is left behind `strip_prefix` is guarded for every reader too."""
    targets = [
        f"{prefix}{sep}{rest}".encode()
        for prefix in ("/api", "/%61pi/v1", "/API")
        for sep in SEPARATORS
        for rest in (
            *UPS,
            *NAMES[::5],
            *(f"{up}/admin" for up in UPS[::2]),
            "v1/x",
            "V1/x",
            "v1%2fx",
        )
    ]
    passed = list(accepted(STRIPPING, targets[::3]))

    assert [] == violations(STRIPPING, targets)
    assert len(passed) > 50
    assert [] == [sent for *_, sent in passed if sent[:1] != b"/" or sent[:2] == b"//"]
    assert [] == [sent for _, path, _, sent in passed if not path.endswith(sent[1:])]


@pytest.mark.slow
def test_p1_an_accepted_path_is_forwarded_byte_for_byte():
    """P1: matching decodes, forwarding does not."""
    passed = list(accepted(TABLES["everything allowed by name"], part_of_corpus(0, 40)))

    assert len(passed) > 100
    assert [] == [path for _, path, _, sent in passed if path != sent]


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(paths._STRUCTURAL)))
def test_the_corpus_notices_each_reading_that_is_left_out(index, monkeypatch):
    """The corpus has teeth: without any one of the readings some target gets through."""
    kept = paths._STRUCTURAL[:index] + paths._STRUCTURAL[index + 1 :]
    monkeypatch.setattr(paths, "_STRUCTURAL", kept)

    names = ("parameters", "everything allowed by name")
    assert any(violations(TABLES[name], part_of_corpus(1, 20)) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["_folded", "_other_charsets"])
def test_the_corpus_notices_foldings_and_charsets_that_are_left_out(function, monkeypatch):
    """The corpus has teeth: file names and other charsets matter."""
    monkeypatch.setattr(paths, function, lambda _: ())

    assert violations(TABLES["everything allowed by name"], part_of_corpus(1, 20))


@pytest.mark.parametrize("name", [name for name in NAMES if "/" not in name])
@pytest.mark.parametrize("table", TABLES)
def test_p2_a_spelling_of_the_guarded_name_is_guarded_or_refused(table, name):
    """P1, P2, P5: directly below the root, each spelling is `/admin`, another thing, or 400."""
    assert [] == violations(TABLES[table], [f"/{name}".encode(), f"/{name}/x".encode()])


ALWAYS_REFUSED = (
    *(b"/public/a#b", b"/public/#", b"/a#/../admin", b"/public/%00", b"/public/a%00.png"),
    *(b"/public/%2500", b"/public/%252500", b"/public/%0d%0aX:y", b"/public/%7f", b"/public/%1F"),
    *(
        b"/public/%c2%80",
        b"/public/%C2%9f",
        b"/public/\xc2\x85",
        b"/public/%250a",
        b"/public/%25c2%2585",
    ),
    *(b"/public/%c0%af", b"/public/%c0%ae", b"/public/%e0%80%af", b"/public/%f0%80%80%af"),
    *(b"/public/%f8%80%80%80%af", b"/public/%fc%80%80%80%80%af", b"/public/%25c0%25af"),
    *(b"/public/%c1%81", b"/public/\xc0\xaf", b"/public/%c0\xaf", b"/public/%", b"/public/%4"),
    *(b"/public/%zz", b"/public/%u0041", b"/public/%%41", b"/public/% 41", b"/public/a b"),
    *(b"/public/a\tb", b"/public/a\x00b", b"/public/a\x7f", b"/public/a\rb", b"/public/a\nb"),
    b"/public/" + b"%25" * 1 + b"25" * 20 + b"41",
)


@pytest.mark.parametrize("target", ALWAYS_REFUSED)
def test_p2_what_is_refused_whatever_the_routes_are(target):
    """P2 (field.md §3 #4 #15): raw `#`, NUL, controls, overlong UTF-8, in any layer: always 400."""
    with pytest.raises(BadTarget) as caught:
        parse_target(target, "GET")

    assert caught.value.code == "path_ambiguous"
    everything = Router([make_spec("/**", allow_paths=paths.FORMS, is_folded=False)])
    assert isinstance(everything.match(None, target, "GET"), Ambiguous)


HARMLESS = (
    *("/", "/index.html", "/assets/app.3f2a.min.js", "/a.b.c/d..e/...f", "/.well-known/acme"),
    *(
        "/~user/",
        "/a+b",
        "/a,b",
        "/a=b&c=d",
        "/a@b",
        "/v1/users:batch",
        "/$metadata",
        "/(x)",
        "/a!b*c",
    ),
    *("/caf%C3%A9", "/caf\u00e9", "/%E6%97%A5%E6%9C%AC", "/a%20b", "/100%25", "/a%26b", "/a%3Ab"),
    *("/a%2Bb", "/%7Euser", "/%61bc", "/compare/v1...v2", "/Users/ABC", "/UPPER/lower/", "/-/x_y"),
    *(
        "/a;v=1/b",
        "/a%3Bb",
        "/a//b",
        "/x/https://example.com/y",
        "/proj%2Fname/files",
        "/a%23b",
        "/a%3Fb",
    ),
    *("/\U0001f600", "/%F0%9F%98%80", "/a|b", "/{x}", "/[1]", "/a^b", "/a%25b", "/%25zz"),
)


@pytest.mark.parametrize("path", HARMLESS)
def test_what_applications_use_passes_where_one_policy_holds(path):
    """P2: a site under one policy keeps its paths: letters of any kind, `;`, `//` and `%2F`."""
    router = Router([make_spec("/**"), make_spec("/other/**", "other")])
    raw = parse_target(path.encode(), "GET").path

    assert router.match("shop.example", raw, "GET") == Found("/**", path.encode())


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/a%2eb", "encoded_dot"),
        ("/a/./b", "dot_segments"),
        ("/a/../b", "dot_segments"),
        ("/a/..;x/b", "dot_segments"),
        ("/a\\b", "backslash"),
        ("/a%5Cb", "backslash"),
        ("/a%252Fb", "double_encoding"),
        ("/a%252eb", "double_encoding"),
        ("/a%255cb", "double_encoding"),
        ("/a%253bb", "double_encoding"),
        ("/a%FFb", "non_utf8"),
    ],
)
def test_p2_odd_forms_need_to_be_allowed_by_name(path, form):
    """P2: under one policy the other forms pass only where the route names every one of them."""
    raw = path.encode()
    others = paths.FORMS - {form}

    assert isinstance(Router([make_spec("/**")]).match(None, raw, "GET"), Ambiguous)
    assert isinstance(
        Router([make_spec("/**", allow_paths=others)]).match(None, raw, "GET"), Ambiguous
    )
    allowed = Router([make_spec("/**", allow_paths=paths.FORMS)])
    assert allowed.match(None, raw, "GET") == Found("/**", raw)


@pytest.mark.parametrize("upstream", [True, False])
def test_p5_folding_matters_unless_the_upstream_is_exact(upstream):
    """P5: case, final dots and spaces are 400 for upstreams that fold, and harmless for others."""
    router = Router([make_spec("/**", "public", is_folded=upstream), make_spec("/admin/**")])
    spellings = [b"/ADMIN", b"/Admin/x", b"/admin.", b"/admin./x", b"/admin%20/x", b"/%20admin"]
    outcomes = [router.match(None, path, "GET") for path in spellings]

    if upstream:
        assert [] == [outcome for outcome in outcomes if not isinstance(outcome, Ambiguous)]
    else:
        assert [Found("/**", path) for path in spellings] == outcomes


HOSTILE_COSTS = (
    b"/" + b";x/..//" * 1100,
    b"/" + b"%25" * 2600 + b"41",
    b"/" + b"%252e%252e%252f" * 500,
    b"/" + b"\xc3\xa9%20;/" * 800,
    b"/" + b"%EF%BC%8F.%20/" * 550,
    b"/" + b"a/" * 4000,
    b"/" + b"%ff;" * 1900,
    b"/" * 8000,
    b"/" + b"\\" * 8000,
    b"/" + b"%e0%a4%b9" * 880,
)


@pytest.mark.parametrize("target", HOSTILE_COSTS, ids=lambda target: repr(target[:12]))
def test_hostile_paths_cost_little(target):
    """A path of 8 KiB made to have many readings costs bounded work, and an answer."""
    router = Router([make_spec("/**", "public", allow_paths=paths.FORMS), make_spec("/admin/**")])
    started = process_time()
    with contextlib.suppress(BadTarget):
        router.match(None, parse_target(target, "GET").path, "GET")

    assert process_time() - started < 0.25
