from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from proxy.cli.opening import load_or_fail, open_store_of
from proxy.core.session_factors import person_of
from proxy.services.foreign_people import open_foreign_otp


@pytest.fixture
def shop(gate, valkey):
    """Give the command line on a gate that asks an application's people for codes."""
    gate.write(f"""
store: {{url: "{valkey.url}"}}
secrets: {{key: {{file: key}}}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes:
  shop: {{type: session, format: django, store: "{valkey.url}", identity: {{subject: u}}}}
  desk: {{type: session, format: django, cookie: d, store: "{valkey.url}", identity: {{subject: u}}}}
routes:
  - {{match: {{path: /**}}, auth: desk, upstream: app}}
  - {{match: {{path: /pay}}, auth: shop, upstream: app, require: {{mfa_within: 15m}}}}
""")
    return gate


def is_taken(gate, subject, code):
    """Tell whether the gate takes a code of somebody."""

    async def run():
        config = load_or_fail(str(gate.file)).config
        async with open_store_of(config) as store:
            otp = open_foreign_otp(config, store)
            return await otp.check(person_of("shop", subject), code, time.time())

    return asyncio.run(run())


def test_an_operator_gives_somebody_an_app(shop):
    """Its codes are good from then on, and the recovery codes; it is told once, and noted."""
    told = shop.json("user", "add-otp", "42", "--scheme", "shop")

    assert ("42", "shop", 10) == (told["subject"], told["scheme"], len(told["codes"]))
    parts = urlsplit(told["uri"])
    assert "/Latchgate:42" == parts.path
    (secret,) = parse_qs(parts.query)["secret"]
    code = pyotp.TOTP(secret).now()
    assert is_taken(shop, "42", code)
    assert not is_taken(shop, "42", code)
    assert is_taken(shop, "42", told["codes"][0])
    assert not is_taken(shop, "43", told["codes"][1])
    again = shop.run("user", "add-otp", "42", "--scheme", "shop")
    assert (1, True) == (again.exit_code, "has a one-time password already" in again.output)
    (noted,) = [shop.json("audit", "--last", "1")]
    assert ("otp_enrolled", "42", "by an operator, of scheme shop") == (
        noted["kind"], noted["subject"], noted["detail"],
    )  # fmt: skip


def test_what_an_app_takes_is_printed_line_by_line(shop):
    """Secret and recovery codes are shown once, and copied from there: each stands in a line of its own."""
    first, uri, typed, secret, codes, *rest = shop.run(
        "user", "add-otp", "eve", "--scheme", "shop"
    ).output.splitlines()

    assert ("eve, of scheme shop. Their app takes", "or, typed,") == (first, typed)
    assert uri.startswith("  otpauth://totp/")
    assert f"secret={secret.strip()}&" in uri
    assert ("Recovery codes, each good once:", 10) == (codes, len(rest))


def test_an_operator_takes_an_app_away(shop):
    """By scheme and subject; whoever has none is an error, so that a typing mistake is noticed."""
    printed = shop.run("user", "add-otp", "ada", "--scheme", "shop").output
    assert 10 == sum(line.count("-") == 3 for line in printed.splitlines())
    assert {"subject": "ada", "scheme": "shop"} == shop.json(
        "user", "remove-otp", "ada", "--scheme", "shop"
    )
    failed = shop.run("user", "remove-otp", "ada", "--scheme", "shop")
    assert (1, True) == (failed.exit_code, "has no one-time password" in failed.output)
    assert "otp_removed" == shop.json("audit", "--last", "1")["kind"]


@pytest.mark.parametrize("command", ["add-otp", "remove-otp"])
@pytest.mark.parametrize("scheme", ["desk", "no-such"])
def test_a_scheme_whose_people_are_never_asked_is_a_mistake(shop, command, scheme):
    """The command says which schemes there are."""
    result = shop.run("user", command, "ada", "--scheme", scheme)

    assert 2 == result.exit_code
    assert "those that have one: shop" in result.output
