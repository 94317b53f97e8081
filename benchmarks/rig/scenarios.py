"""What is measured: who is asked by whom, with which requests, over how many connections."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.rig import contenders


@dataclass(frozen=True)
class Side:
    """A contender with one kind of credential."""

    key: str
    contender: type[contenders.Contender]
    kind: str
    """`token`, `session`, `either`, or `none`: it lets everybody in, and is sent tokens."""
    name: str = ""

    @property
    def sent(self):
        return "token" if self.kind == "none" else self.kind

    @property
    def title(self):
        return self.name or self.contender.name


SIDES = (
    Side("token", contenders.Latchgate, "token", "Latchgate, token"),
    Side("session", contenders.Latchgate, "session", "Latchgate, session"),
    Side("either", contenders.Latchgate, "either", "Latchgate, either"),
    Side("nginx", contenders.Nginx, "none", "nginx, no authentication"),
    Side("lua", contenders.NginxLua, "session", "nginx + Lua + Redis, session"),
    Side("haproxy", contenders.HAProxy, "token", "HAProxy, token"),
    Side("envoy", contenders.Envoy, "token", "Envoy, token"),
    Side("traefik", contenders.Traefik, "none", "Traefik, no authentication"),
    Side("caddy", contenders.Caddy, "none", "Caddy, no authentication"),
    Side("naive", contenders.Naive, "token", "aiohttp + PyJWT, token"),
)
OURS = ("token", "session")
"""The sides that all others are divided by."""


@dataclass(frozen=True)
class Scenario:
    """One table of the results."""

    key: str
    title: str
    place: str = "small"
    headers: str = "api"
    connections: int = 64
    workers: int = 1
    has_log: bool = False
    is_cold: bool = False
    is_half: bool = False
    """At half the rate that Latchgate manages, for how long answers take."""
    only: tuple[str, ...] = ()
    """Keys of the sides that it is about; empty: all."""
    rounds: int = 3
    seconds: int = 1
    """How long a side's turn in a round takes."""
    quick_rounds: int = 0
    """How many there are with `--quick`; 0: it is left out."""

    def sides(self, chosen):
        return [side for side in chosen if not self.only or side.key in self.only]


MAIN = {"rounds": 6, "seconds": 2}
SCENARIOS = (
    Scenario("api", "Small answers to API clients", **MAIN, quick_rounds=2),
    Scenario("api-logged", "The same with access logs", has_log=True, **MAIN, quick_rounds=1),
    Scenario(
        "browser",
        "Small answers to browsers, no two requests alike",
        headers="browser",
        quick_rounds=1,
    ),
    Scenario("browser-logged", "The same with access logs", headers="browser", has_log=True),
    Scenario("large", "Answers of 64 KiB", place="large"),
    Scenario("post", "Posts of 1 KiB", place="post"),
    Scenario("one", "One connection", connections=1),
    Scenario("thousand", "1,000 connections", connections=1_000, seconds=2),
    Scenario(
        "cold",
        "Every credential new",
        is_cold=True,
        quick_rounds=1,
        only=("token", "session", "lua", "haproxy", "envoy", "naive"),
    ),
    Scenario("workers", "Two workers", workers=2),
    Scenario(
        "half",
        "Half load",
        is_half=True,
        seconds=3,
        quick_rounds=1,
        only=("token", "session", "nginx"),
    ),
    Scenario("echo", "WebSockets that echo", place="echo", quick_rounds=1),
)

MEMORY = "memory"
"""The key of what is measured without load: memory."""
