from __future__ import annotations

import json
import time

import pytest

from tests.token_workshop import SECRET, claims, token


def mint(gate, *options: str) -> dict:
    """Mint a token and return what is printed."""
    return gate.json("token", "mint", "--subject", "alice", *options)


def inspect(gate, text: str, *, status: int = 0) -> dict:
    """Return what `token inspect` prints about a token on standard input."""
    return gate.json("token", "inspect", "-", stdin=text.encode(), status=status)


def test_mint_prints_the_documented_object(gate):
    """reference.md §3: token, jti and expires_at, and nothing else."""
    made = mint(gate)
    assert {"token", "jti", "expires_at"} == set(made)
    assert 500 < made["expires_at"] - time.time() <= 600


def test_inspect_shows_what_a_token_says_and_that_it_is_good(gate):
    """Everything that was given stands in the claims, and the gate's own scheme accepts it."""
    made = mint(gate, "--role", "admin", "--scope", "a:b", "--claim", "tenant=acme")
    found = inspect(gate, made["token"] + "\n")
    assert ("api", True, None) == (found["scheme"], found["valid"], found["code"])
    assert "at+jwt" == found["header"]["typ"]
    said = found["claims"]
    assert ("alice", ["admin"], "a:b", "acme") == (
        said["sub"],
        said["roles"],
        said["scope"],
        said["tenant"],
    )
    file = gate.directory / "token"
    file.write_text(made["token"])
    assert "scheme api: valid" in gate.run("token", "inspect", f"@{file}").stdout


def test_a_lifetime_may_be_asked_for_within_bounds(gate):
    """As long as the local scheme accepts, not longer."""
    made = mint(gate, "--lifetime", "1h")
    assert 3500 < made["expires_at"] - time.time() <= 3600
    result = gate.run("token", "mint", "--subject", "alice", "--lifetime", "30d")
    assert (2, "latchgate: a token lives between 1 and 86400 seconds\n") == (
        result.exit_code,
        result.stderr,
    )


@pytest.mark.parametrize("how", ["token", "jti", "subject", "issuer", "all"])
def test_r3_a_revoked_token_is_refused(gate, how):
    """R3: by itself, by its name, with its subject's, its issuer's, or all."""
    made = mint(gate)
    options = {
        "token": ["-"],
        "jti": ["--jti", made["jti"]],
        "subject": ["--subject", "alice"],
        "issuer": ["--issuer"],
        "all": ["--all"],
    }[how]
    result = gate.run("token", "revoke", *options, stdin=made["token"].encode())
    assert 0 == result.exit_code, result.output
    assert made["token"] not in result.output
    found = inspect(gate, made["token"], status=1)
    assert (False, "token_revoked") == (found["valid"], found["code"])
    assert inspect(gate, mint(gate)["token"])["valid"]


@pytest.mark.parametrize("command", ["inspect", "revoke"])
def test_s15_a_token_on_the_command_line_is_refused(gate, command):
    """Other users of the machine can read it there, and it stays in the shell's history."""
    made = mint(gate)
    result = gate.run("token", command, made["token"])
    assert 2 == result.exit_code
    assert made["token"] not in result.output
    assert inspect(gate, made["token"])["valid"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["revoke"],
        ["revoke", "-", "--all"],
        ["revoke", "--jti", "a", "--subject", "b"],
        ["inspect", "@/nowhere"],
        ["mint", "--subject", ""],
        ["mint", "--subject", "a", "--claim", "iss=me"],
        ["mint", "--subject", "a", "--lifetime", "5"],
        ["revoke", "--issuer", "--scheme", "web"],
    ],
)
def test_what_makes_no_sense_is_status_2(gate, arguments):
    """Usage that cannot be meant changes nothing."""
    assert 2 == gate.run("token", *arguments, stdin=b"x").exit_code


@pytest.mark.parametrize("raw", [b"", b"x", b"a.b.c", b"\xff\xfe", b"." * 3, token()])
def test_a_token_that_is_none_is_status_1(gate, raw):
    """Whatever comes on standard input: an answer, not a traceback."""
    for command in ("inspect", "revoke"):
        result = gate.run("token", command, "-", "--scheme", "api", stdin=raw)
        assert 1 == result.exit_code, result.output


def add_partner(gate):
    """Add a scheme for the tokens of another issuer."""
    text = gate.file.read_text().replace(
        "  api:",
        "  partner: {type: jwt, issuer: 'https://id.example.com/', audience: shop-api,"
        f" algorithms: [HS256], keys: {{secret: {SECRET.decode()}}}}}\n  api:",
    )
    gate.write(text)


def test_times_of_a_token_are_shown_beside_the_clock_here(gate):
    """Of two clocks that differ one can see by how much; a time of no year is shown as it is."""
    add_partner(gate)
    ahead = token("HS256", key=SECRET, payload=claims(iat=1_900_000_000, exp=10**18))
    told = gate.run("token", "inspect", "-", stdin=ahead).stdout

    assert time.strftime("1900000000 (%Y-%m-%d %H:%M:%S)", time.localtime(1_900_000_000)) in told
    assert "1000000000000000000" in told
    assert "the clock here: 20" in told


def test_r7_an_expired_token_can_be_revoked_by_itself(gate, valkey):
    """R7: what it opened may have been kept open (`on_expiry: keep`), and ends with it."""
    now = int(time.time())
    add_partner(gate)
    made = token("HS256", key=SECRET, payload=claims(iat=now - 900, nbf=now - 900, exp=now - 600))
    assert "token_expired" == inspect(gate, made.decode(), status=1)["code"]
    forged = token("HS256", key=b"x" * 64, payload=claims(iat=now - 900, exp=now - 600))
    assert 1 == gate.run("token", "revoke", "-", stdin=forged).exit_code
    with valkey.client() as client:
        assert [] == client.keys("latchgate:{revoked}:jti:*")
        assert {"revoked": "token t-1"} == gate.json("token", "revoke", "-", stdin=made)
        (marker,) = client.keys("latchgate:{revoked}:jti:*")
        assert client.pttl(marker) > 0


def test_a_foreign_scheme_is_picked_by_the_tokens_issuer(gate):
    """Several schemes: `iss` picks the one that is asked."""
    now = int(time.time())
    add_partner(gate)
    made = token("HS256", key=SECRET, payload=claims(iat=now, exp=now + 300)).decode()
    found = inspect(gate, made)
    assert ("partner", True) == (found["scheme"], found["valid"])
    assert {"revoked": "token t-1"} == gate.json(
        "token", "revoke", "-", "--scheme", "partner", stdin=made.encode()
    )
    assert "token_revoked" == inspect(gate, made, status=1)["code"]
    assert 2 == gate.run("token", "revoke", "--issuer").exit_code  # which one?


def test_a_scheme_that_never_asks_is_not_pretended_to(gate):
    """`revocation: none`: a revocation would do nothing, so it is refused."""
    text = gate.file.read_text()
    gate.write(
        text.replace(
            "keys: {local: true}", "keys: {local: true}, revocation: none, max_lifetime: 10m"
        )
    )
    result = gate.run("token", "revoke", "--subject", "alice")
    assert 2 == result.exit_code
    assert "never asks for revocations" in result.stderr


def test_without_tokens_none_are_minted(latchgate, valkey):
    """A gate that issues none says so."""
    latchgate.write(f'store: {{url: "{valkey.url}"}}\nupstreams: {{}}\n')
    result = latchgate.run("token", "mint", "--subject", "a")
    assert 2 == result.exit_code
    assert "no `tokens:`" in result.stderr


def test_standard_input_is_not_read_twice(gate):
    """Configuration and token cannot both come from it."""
    from typer.testing import CliRunner  # noqa: PLC0415 - `-c -` instead of the fixture's file

    from proxy.cli.app import app  # noqa: PLC0415 - as above

    result = CliRunner().invoke(app, ["token", "inspect", "-", "-c", "-"], input="x")
    assert 2 == result.exit_code
    assert "cannot be both" in result.stderr


def test_the_keys_of_the_gate_are_those_of_every_command(gate):
    """Two mints sign with one key: it is in the store, sealed."""
    kids = {
        inspect(gate, mint(gate)["token"])["header"]["kid"],
        inspect(gate, mint(gate)["token"])["header"]["kid"],
    }
    assert 1 == len(kids)
    assert json.dumps(sorted(kids))


@pytest.fixture
def encrypting(gate):
    """Give the command line with tokens that their clients cannot read."""
    gate.write(gate.file.read_text().replace("audience: shop}", "audience: shop, encrypt: true}"))
    return gate


def test_an_encrypted_token_is_shown_with_what_is_in_it(encrypting):
    """Whoever has the configuration can read it; the header is that of the signed token."""
    token = mint(encrypting, "--role", "admin")["token"]
    found = inspect(encrypting, token)

    assert 5 == len(token.split("."))
    assert found["valid"]
    assert ("EdDSA", "alice", ["admin"]) == (
        found["header"]["alg"],
        found["claims"]["sub"],
        found["claims"]["roles"],
    )


def test_r7_an_expired_encrypted_token_can_be_revoked_by_itself(encrypting, valkey):
    """R7: its end is read behind the encryption, as everything else of it is."""
    text = encrypting.file.read_text()
    encrypting.write(text.replace("keys: {local: true}", "leeway: 0s, keys: {local: true}"))
    made = mint(encrypting, "--lifetime", "1s")
    while time.time() <= made["expires_at"]:
        time.sleep(0.05)
    told = encrypting.json("token", "revoke", "-", stdin=made["token"].encode())
    assert {"revoked": f"token {made['jti']}"} == told
    with valkey.client() as client:
        assert client.keys("latchgate:{revoked}:jti:*")


def test_a_token_that_cannot_be_decrypted_is_shown_as_it_is(encrypting):
    """Not valid, status 1; its header is all that there is to see."""
    token = mint(encrypting)["token"]
    found = inspect(encrypting, token[:-4] + "AAAA", status=1)

    assert "token_invalid" == found["code"]
    assert "A256KW" == found["header"]["alg"]
    assert found["claims"] is None


CLIENTS = """
clients:
  spa: {public: true}
  script: {secret: 0123456789abcdef0123456789abcdef, grants: password}
"""


@pytest.fixture
def with_clients(gate):
    """Give the command line with clients."""
    gate.write(gate.file.read_text() + CLIENTS)
    return gate


def test_mint_for_a_client_begins_a_family(with_clients):
    """Beside the access token there is the first refresh token, for programs and for people."""
    made = mint(with_clients, "--client", "spa", "--role", "admin")
    found = inspect(with_clients, made["access_token"])

    assert made["refresh_token"].startswith("lgr_")
    assert found["valid"]
    assert ("spa", ["admin"]) == (found["claims"]["client_id"], found["claims"]["roles"])
    printed = with_clients.run("token", "mint", "--subject", "alice", "--client", "spa").stdout
    assert "refresh:  lgr_" in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--client", "nobody"], "no client called nobody"),
        (["--client", "script"], "may not use refresh tokens"),
        (["--client", "spa", "--quiet"], "--client goes with neither"),
        (["--client", "spa", "--lifetime", "1h"], "--client goes with neither"),
    ],
)
def test_mint_for_a_client_that_cannot_have_it(with_clients, options, words):
    """Status 2 and a sentence."""
    result = with_clients.run("token", "mint", "--subject", "alice", *options)

    assert 2 == result.exit_code
    assert words in result.stderr
