"""What the tests of logins with a provider share: a small provider, a store, a browser."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl, urlsplit

from proxy.adapters.keys import StaticKeys
from proxy.adapters.oidc import ProviderClient
from proxy.adapters.secrets import SecretBox
from proxy.adapters.store import StoreAddress, open_store
from proxy.config.provider_models import ProviderConfig
from proxy.core.cookies import parse_cookies
from proxy.core.keyset import KeySet
from proxy.services.oidc_login import OidcLogin
from proxy.services.openid_provider import OpenIdProvider
from proxy.services.sessions import Login, Sessions
from tests import token_workshop as workshop
from tests.small_provider import CLIENT_ID, CLIENT_SECRET

PREFIX = "latchgate:"
BOX = SecretBox([b"k" * 32])
REDIRECT_URI = "https://shop.example.com/_auth/callback/corp"


class Browser:
    """Keeps the cookies that it is told, as the gate sees them."""

    def __init__(self):
        self.jar = {}

    def take(self, headers):
        for name, value in headers:
            assert b"Set-Cookie" == name
            pair, *attributes = value.decode().split("; ")
            key, _, text = pair.partition("=")
            if "Max-Age=0" in attributes:
                self.jar.pop(key, None)
            else:
                self.jar[key] = text

    @property
    def header(self):
        return "; ".join(f"{name}={value}" for name, value in self.jar.items())

    def cookies(self):
        return parse_cookies([self.header.encode()] if self.jar else [])


class Worker:
    """Logins as one worker has them, on a real store."""

    def __init__(self, valkey, small, *, clock=time.time, box=BOX, answer_s=20.0, **config):
        self.store = open_store(StoreAddress(socket_path=str(valkey.socket_path)), timeout_s=2)
        self.client = ProviderClient(timeout_s=answer_s)
        config = {
            "issuer": small.issuer,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        } | config
        keys = KeySet.from_jwks({"keys": [workshop.jwk("RSA", kid="k")]}, algorithms=["RS256"])
        self.provider = OpenIdProvider(
            "corp", ProviderConfig(**config), StaticKeys(keys), self.client
        )
        self.sessions = Sessions(self.store, prefix=PREFIX, idle_timeout_s=1800, lifetime_s=43_200)
        self.login = OidcLogin(
            {"corp": self.provider},
            self.client,
            self.store,
            box,
            prefix=PREFIX,
            end_session=self.sessions.revoke,
            clock=clock,
        )

    async def close(self):
        await self.login.close()
        await self.store.close()

    async def begin(self, browser, target="/orders", **options):
        begun = await self.login.begin(
            self.provider,
            target,
            redirect_uri=REDIRECT_URI,
            cookies=browser.cookies(),
            is_secure=True,
            now=options.pop("now", None) or time.time(),
            **options,
        )
        browser.take(begun.headers)
        return begun.location

    async def finish(self, browser, query, now=None, network="10.0.0.0/24"):
        finished = await self.login.finish(
            self.provider,
            query,
            cookies=browser.cookies(),
            is_secure=True,
            network=network,
            now=now or time.time(),
        )
        browser.take(finished.headers)
        return finished

    async def sign_in(self, small, browser=None):
        """Log in whoever the provider says, and return the session and what came with it."""
        browser = browser or Browser()
        finished = await self.finish(browser, small.enter(await self.begin(browser)))
        now = time.time()
        session = await self.sessions.create(Login(finished.signed_in.person.subject), now)
        is_kept = await self.login.keep(session.digest, finished, session.expires_at, now)
        return session, finished, is_kept

    async def is_alive(self, session):
        return (await self.sessions.look_up(session.cookie)).record is not None


def query_of(location):
    return dict(parse_qsl(urlsplit(location).query))
