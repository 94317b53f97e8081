"""Request targets and routing: refused, or guarded alike for every server that reads the path.

Input: a byte that picks the method, the routes and some of the readers, then the request-target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.core.paths import FORMS, BadTarget, parse_target, readings
from proxy.core.routing import Ambiguous, Found, MethodNotAllowed, NotFound, Router
from tests.naive_router import make_spec, policies, split
from tests.path_readers import FOLDING_FILE_NAMES, READERS

METHODS = ("GET", "POST", "OPTIONS", "HEAD")

TABLES = (
    (
        make_spec("/**", "public", allow_paths=FORMS),
        make_spec("/admin/**", "admin"),
        make_spec("/api/{id}/secret", "guarded"),
    ),
    (
        make_spec("/**", "public", allow_paths=FORMS, is_folded=False),
        make_spec("/Admin/**", "admin", is_folded=False),
        make_spec("/api/{id}/secret", "guarded", is_folded=False),
    ),
    (
        make_spec("/**", "guarded"),
        make_spec("/public/**", "public", allow_paths=FORMS),
        make_spec("/login", "public", methods=("GET", "HEAD")),
        make_spec("/login", "guarded", name="post", methods=("POST",)),
    ),
    (
        make_spec("/static/**", "public"),
        make_spec("/{tenant}/admin", "admin", allow_paths=FORMS),
        make_spec("/a.b/c", "guarded", is_folded=False),
    ),
)
ROUTERS = tuple(Router(specs) for specs in TABLES)
Read = tuple[Callable[[str], str], bool, bool]
READ: tuple[Read, ...] = tuple(
    (reader.serves, reader.is_folding, reader.is_folding or name in FOLDING_FILE_NAMES)
    for name, reader in READERS.items()
)

WORDS = (
    *(b"/", b"//", b"/./", b"/../", b"..", b"%2e", b"%2E%2e", b"%2f", b"%2F", b"%5c", b"\\"),
    *(b";", b";x=1", b"%3b", b"%25", b"%252f", b"%252e%252e", b"%00", b"%0a", b"%20", b"#", b"?"),
    *(b"%23", b"%3f", b"%c0%af", b"%e0%80%af", b"%ff", b"%ef%bc%8f", b"%u002f", b"\xc3\xa9"),
    *(b"admin", b"ADMIN", b"Admin", b"%61dmin", b"public", b"login", b"api", b"secret", b"static"),
    *(b"http://", b"https://a.example", b"*", b":$I", b".", b" ", b"@", b"%e2%84%aa", b"\xff"),
)


def one_input(data: bytes) -> None:
    """Parse and route one target."""
    choice = data[0] if data else 0
    raw, method, table = data[1:], METHODS[choice & 3], choice >> 2 & 3
    try:
        target = parse_target(raw, method)
    except BadTarget:
        return
    if target.form == "asterisk":
        assert method == "OPTIONS"
        return
    written = target.path + (b"" if target.query is None else b"?" + target.query)
    assert raw == written or target.form == "absolute"
    assert target.path[:1] == b"/"
    assert parse_target(written, method).path == target.path
    _check_readings(target.path)
    _check_route(target.path, method, table, READ[choice >> 4 & 3 :: 4])


def _check_readings(path: bytes) -> None:
    try:
        found = readings(path, is_folded=True)
    except BadTarget:
        return
    assert found.forms <= FORMS
    assert {b"/"} == {text[:1] for text in found.paths}


def _check_route(path: bytes, method: str, table: int, read: Sequence[Read]) -> None:
    outcome = ROUTERS[table].match(None, path, method)
    if not isinstance(outcome, Found):
        assert isinstance(outcome, Ambiguous | MethodNotAllowed | NotFound)
        return
    assert outcome.path == path
    specs = TABLES[table]
    chosen = next(spec for spec in specs if spec.payload == outcome.payload)
    text = path.decode("latin-1")
    for serves, is_folding, needs_folding in read:
        if chosen.is_folded or not needs_folding:
            key = str.lower if is_folding else str
            seen = policies(specs, None, split(serves(text)), method, key)
            assert seen == {chosen.policy}, (serves.__name__, seen, chosen.policy)
