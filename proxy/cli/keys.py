"""`latchgate keys …`: list and rotate the gate's own signing keys."""

from __future__ import annotations

import time
from typing import Any

import typer

from proxy.cli import report
from proxy.cli.opening import load_or_fail, open_store_of
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile
from proxy.config.models import Config
from proxy.core.keyring import SigningKey
from proxy.services.keyrings import SigningPlan, open_signing_keys
from proxy.services.signing import SigningKeys

app = typer.Typer(no_args_is_help=True, help="List and rotate the gate's own signing keys.")


@app.command("list")
def list_(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """List the published keys, the oldest first."""
    settings = load_or_fail(config, runs_tests=False).config
    now = time.time()

    async def work() -> list[dict[str, Any]]:
        async with open_store_of(settings) as store:
            rings = _rings(open_signing_keys(settings, store))
            for ring in rings.values():
                await ring.refresh(now)
            return [
                _told(purpose, key, ring, now)
                for purpose, ring in rings.items()
                for key in ring.published()
            ]

    found = report.complete(work())
    if as_json:
        report.say_json(found)
        return
    report.say_table(
        ["FOR", "KID", "ALGORITHM", "STATE", "MADE", "SIGNS FROM", "GONE"],
        (
            [
                item["purpose"],
                item["kid"],
                item["algorithm"],
                item["state"],
                report.when(item["made_at"]),
                report.when(item["signs_from"]),
                report.when(item["ends_at"]),
            ]
            for item in found
        ),
    )


@app.command()
def rotate(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Publish new keys now; they sign once everybody knows them, and no token is refused meanwhile."""
    settings = load_or_fail(config, runs_tests=False).config
    made = report.complete(_rotate(settings, time.time()))
    if as_json:
        report.say_json(made)
        return
    for item in made:
        when = report.when(item["signs_from"])
        report.say(f"{item['purpose']}: {item['kid']} is published, and signs from {when}")


async def _rotate(config: Config, now: float) -> list[dict[str, Any]]:
    async with open_store_of(config) as store:
        made = []
        for purpose, ring in _rings(open_signing_keys(config, store)).items():
            key = await ring.rotate(now)
            made.append(_told(purpose, key, ring, now))
        return made


def _rings(plan: SigningPlan) -> dict[str, SigningKeys]:
    rings = {"token": plan.tokens, "assertion": plan.assertions}
    found = {purpose: ring for purpose, ring in rings.items() if ring is not None}
    if not found:
        raise ValueError("nothing in this configuration is signed")
    return found


def _told(purpose: str, key: SigningKey, ring: SigningKeys, now: float) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": ring.state_of(key, now),
        "made_at": key.made_at,
        "signs_from": key.signs_from,
        "ends_at": key.ends_at,
    }
