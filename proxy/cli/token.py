"""`latchgate token …`: mint, inspect and revoke access tokens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Final

import typer

from proxy.adapters.store import RedisStore
from proxy.cli import report
from proxy.cli.credentials import begin_family, make_token
from proxy.cli.noting import COMMAND_LINE, noting
from proxy.cli.opening import load_or_fail, open_any_store_of, open_store_of
from proxy.cli.options import (
    DEFAULT_CONFIG,
    AsJson,
    Claims,
    ConfigFile,
    Email,
    FullName,
    Quiet,
    Roles,
    SchemeName,
    Scopes,
    Subject,
)
from proxy.config.models import Config, JwtSchemeConfig
from proxy.config.values import parse_duration
from proxy.core.compact import decode_segment
from proxy.core.credentials import unverified_issuer
from proxy.core.jose import MAX_TOKEN_BYTES
from proxy.core.revocation import RevocationKeys, marker_life_s
from proxy.core.strict_json import loads_object
from proxy.errors import TokenExpired, TokenInvalid
from proxy.model import Authenticated, Outcome
from proxy.run.providers import Providers
from proxy.services.beginning import make_watch
from proxy.services.choice import pick_jwt_scheme
from proxy.services.coherence import Coherence
from proxy.services.compile import scheme_issuer
from proxy.services.keyrings import open_signing_keys
from proxy.services.refresh import Answer
from proxy.services.revocations import Revocations
from proxy.services.schemes.build import SchemeBuilder
from proxy.services.schemes.jwt import JwtScheme
from proxy.services.schemes.port import Found, Place
from proxy.services.sessions import Login
from proxy.services.token_revocation import TokenRevocation, revocable
from proxy.services.tokens import MintedToken

_TIMES: Final = ("iat", "nbf", "exp", "auth_time")
"""Claims that are epoch seconds."""

app = typer.Typer(no_args_is_help=True, help="Mint, inspect and revoke access tokens.")

_Token = Annotated[
    str,
    typer.Argument(metavar="TOKEN", help="- (standard input) or @file: never the token itself."),
]


@app.command()
def mint(
    subject: Subject,
    role: Roles = None,
    scope: Scopes = None,
    email: Email = None,
    name: FullName = None,
    claim: Claims = None,
    lifetime: Annotated[
        str | None, typer.Option("--lifetime", metavar="D", help="5m, 1h; default tokens.access.")
    ] = None,
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="NAME", help="Begin a refresh family of this client."),
    ] = None,
    quiet: Quiet = False,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make an access token of the gate's own issuer and print it; it is a credential."""
    settings = load_or_fail(config, runs_tests=False).config
    login = Login(
        subject,
        email=email,
        name=name,
        roles=role or (),
        scopes=scope or (),
        claims=report.parse_claims(claim),
    )

    if client is not None:
        if lifetime is not None or quiet:
            report.fail("--client goes with neither --lifetime nor --quiet", report.EXIT_USAGE)
        _say_family(report.complete(begin_family(settings, login, client)), as_json=as_json)
        return

    async def work() -> MintedToken:
        life_s = None if lifetime is None else parse_duration(lifetime, None)
        return await make_token(settings, login, life_s)

    made = report.complete(work())
    if as_json:
        report.say_json({"token": made.token, "jti": made.jti, "expires_at": made.expires_at})
        return
    if quiet:
        report.say(made.token)
        return
    report.say(f"token:    {made.token}")
    report.say(f"jti:      {made.jti}")
    report.say(f"expires:  {report.when(made.expires_at)}")


def _say_family(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        report.say_json(answer.members())
        return
    report.say(f"token:    {answer.access_token}")
    report.say(f"refresh:  {answer.refresh_token}")
    report.say(f"expires:  in {answer.expires_in} s")


@app.command()
def inspect(
    token: _Token,
    scheme: SchemeName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what a token says and whether a scheme accepts it; status 1 if it does not."""
    raw = _read_token(token, config)
    settings = load_or_fail(config, runs_tests=False).config
    name, outcome, raw = report.complete(_judge(settings, raw, scheme))
    is_valid = isinstance(outcome, Authenticated)
    parts = {"header": _decoded(raw, 0), "claims": _decoded(raw, 1)}
    found = {
        "scheme": name,
        "valid": is_valid,
        "code": None if isinstance(outcome, Authenticated) else outcome.code,
        "reason": None if isinstance(outcome, Authenticated) else outcome.detail,
        **parts,
    }
    if as_json:
        report.say_json(found)
    else:
        report.say(f"scheme {name}: {'valid' if is_valid else found['code']}")
        if found["reason"]:
            report.say(f"reason: {found['reason']}")
        for part, members in parts.items():
            rows = ([key, _shown(key, value)] for key, value in (members or {}).items())
            report.say_table([part.upper(), ""], rows)
        report.say(f"the clock here: {report.when(time.time())}")
    if not is_valid:
        raise typer.Exit(report.EXIT_REFUSED)


def _shown(key: str, value: object) -> str:
    """Return a member for people; a time also as the local one, as the clock here is shown."""
    if key not in _TIMES or not isinstance(value, int | float):
        return str(value)
    try:
        return f"{value} ({report.when(value)})"
    except (OverflowError, ValueError, OSError):  # of no year that there is
        return str(value)


@app.command()
def revoke(
    token: Annotated[
        str | None, typer.Argument(metavar="[TOKEN]", help="- (standard input) or @file.")
    ] = None,
    jti: Annotated[str | None, typer.Option("--jti", metavar="J", help="The token's jti.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="S", help="All of this person's until now.")
    ] = None,
    issuer: Annotated[
        bool, typer.Option("--issuer", help="All of the scheme's issuer until now.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="All, of any issuer, until now.")] = False,
    scheme: SchemeName = None,
    config: ConfigFile = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Refuse a token, a person's, an issuer's or all tokens from now on."""
    named = [token is not None, jti is not None, subject is not None, issuer, every]
    if sum(named) != 1:
        report.fail("name one of TOKEN, --jti, --subject, --issuer or --all", report.EXIT_USAGE)
    raw = None if token is None else _read_token(token, config)
    settings = load_or_fail(config, runs_tests=False).config
    if every:
        what = report.complete(_revoke_named(settings, lambda it, now: it.revoke_all(now)))
    elif raw is not None:
        what = report.complete(_revoke_token(settings, raw, scheme))
    elif jti is not None:
        what = report.complete(
            _revoke_named(settings, lambda it, now: it.revoke_jti(jti, now, scheme=scheme))
        )
    elif subject is not None:
        what = report.complete(
            _revoke_named(
                settings, lambda it, now: it.revoke_subject(subject, now, scheme=scheme), subject
            )
        )
    else:
        what = report.complete(
            _revoke_named(settings, lambda it, now: it.revoke_issuer(now, scheme=scheme))
        )
    if as_json:
        report.say_json({"revoked": what})
    else:
        report.say(f"revoked: {what}")


@contextlib.asynccontextmanager
async def _open_scheme(
    config: Config, name: str, store: RedisStore | None
) -> AsyncIterator[JwtScheme]:
    """Give one jwt scheme as the gate has it, with its keys at hand if they can be had."""
    providers = Providers(config, lambda _scheme, _source, _document: None)
    plan = open_signing_keys(config, store)
    keys = plan.tokens
    coherence = Coherence(config)
    builder = SchemeBuilder(
        config,
        store,
        providers.sources(),
        keys,
        lambda: None,
        address=None if store is None else store.address,
        coherence=coherence,
        cipher=plan.cipher,
    )
    try:
        scheme = builder.build()[name]
        assert isinstance(scheme, JwtScheme)  # noqa: S101 - it was picked among the jwt schemes
        if keys is not None:
            await keys.refresh(time.time())
        source = providers.sources().get(name)
        if source is not None:
            source.start()
            await source.ready()
        yield scheme
    finally:
        await providers.close()
        await coherence.close()


async def _judge(config: Config, token: bytes, wanted: str | None) -> tuple[str, Outcome, bytes]:
    """Return the scheme that was asked, what it says, and the token as it was signed."""
    name = _scheme_for(config, token, wanted)
    async with open_any_store_of(config) as store, _open_scheme(config, name, store) as scheme:
        if store is not None:
            # As a gate that starts: where none has run yet, there is no epoch, and a deny-list
            # without an epoch is one that was lost (security.md, R4).
            await make_watch(config, store).look(time.time())
        outcome = await scheme.judge(Found(Place("bearer"), token), time.time())
        with contextlib.suppress(TokenInvalid):
            token = scheme.signed(token)
        return name, outcome, token


async def _revoke_token(config: Config, token: bytes, wanted: str | None) -> str:
    """Revoke one token by its own name; only a good one has a name that can be believed.

    One whose time is over as well: with `streams: {on_expiry: keep}` its connections are still open.
    """
    name = _scheme_for(config, token, wanted)
    settings = revocable(config, name)
    async with (
        open_store_of(config) as store,
        noting(config, store) as audit,
        _open_scheme(config, name, store) as scheme,
    ):
        now = time.time()
        try:
            verified = await scheme.verify(token, now)
            needed_until: float | None = verified.expires_at + settings.leeway
        except TokenExpired:  # said after its signature and everything else were found good
            verified = await scheme.verify(token, _last_good(scheme.signed(token)))
            needed_until = None
        what = f"token {verified.jti_name}"
        await Revocations(store, RevocationKeys(config.store.prefix)).revoke_token(
            scheme.verifier.issuer,
            verified.jti_name,
            now,
            keep_s=marker_life_s(settings.max_lifetime, settings.leeway),
            expires_at=needed_until,
        )
        audit.note(COMMAND_LINE.event("token_revoked", None, what), now)
    return what


async def _revoke_named(
    config: Config,
    revoke: Callable[[TokenRevocation, float], Awaitable[str]],
    subject: str | None = None,
) -> str:
    """Revoke what needs no token to name it, and note it."""
    async with open_store_of(config) as store, noting(config, store) as audit:
        now = time.time()
        what = await revoke(TokenRevocation(config, store), now)
        audit.note(COMMAND_LINE.event("token_revoked", subject, what), now)
    return what


def _scheme_for(config: Config, token: bytes, wanted: str | None) -> str:
    """Return the scheme that is asked about a token: named, the issuer's, or the only one."""
    if wanted is None:
        issuer = unverified_issuer(token)
        named = [
            name
            for name, scheme in config.schemes.items()
            if isinstance(scheme, JwtSchemeConfig) and scheme_issuer(config, scheme) == issuer
        ]
        if len(named) == 1:
            return named[0]
    return pick_jwt_scheme(config, wanted)[0]


def _last_good(token: bytes) -> float:
    """Return the last second of an expired token (epoch seconds)."""
    return float((_decoded(token, 1) or {})["exp"]) - 1


def _read_token(text: str, config: str) -> bytes:
    if text == config == "-":
        report.fail("standard input cannot be both token and configuration", report.EXIT_USAGE)
    return report.read_credential(text)


def _decoded(token: bytes, index: int) -> dict[str, Any] | None:
    """Return header or payload as it stands, unverified; `None` where there is none."""
    segments = token.split(b".")
    try:
        return loads_object(decode_segment(segments[index]), max_bytes=MAX_TOKEN_BYTES)
    except (IndexError, ValueError):
        return None
