"""A Cluster of three masters and three replicas, from the embedded server's own binary."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

import redis

from proxy.core.slots import SLOTS, slot_of
from tests.sentinel_set import RIGHTS, Server, free_ports, until

NODE_TIMEOUT_MS = 1200
MASTERS = 3


class ClusterSet:
    """Six processes. Gates and replicas sign in as users of their own.

    With `is_fronted` the nodes send clients to ports where nobody listens yet (`shown_port`).
    """

    def __init__(self, *, is_fronted=False):
        self.directory = Path(tempfile.mkdtemp(prefix="lgc-"))
        ports = free_ports(3 * 2 * MASTERS)
        ports, fronts = ports[: 2 * 2 * MASTERS], ports[2 * 2 * MASTERS :]
        lines = [
            "user default off",
            "user admin on >admin-pw ~* &* +@all",
            f"user gate on >gate-pw {RIGHTS} +cluster|nodes",
            "user replica on >replica-pw +psync +replconf +ping",
            "masteruser replica",
            "masterauth replica-pw",
            'save ""',
            "repl-diskless-sync-delay 0",
            "repl-ping-replica-period 1",
            "cluster-enabled yes",
            f"cluster-node-timeout {NODE_TIMEOUT_MS}",
            "cluster-replica-validity-factor 0",
        ]
        self.nodes = [
            Server(self.directory, port, [*lines, f"cluster-port {bus}"])
            for port, bus in zip(ports[::2], ports[1::2], strict=True)
        ]
        for node, front in zip(self.nodes, fronts if is_fronted else [], strict=False):
            node.show(front)
        self._buses = dict(zip(ports[::2], ports[1::2], strict=True))

    @property
    def masters(self):
        """The masters of the start."""
        return self.nodes[:MASTERS]

    @property
    def url(self):
        hosts = ",".join(f"127.0.0.1:{one.shown_port}" for one in self.nodes)
        return f"redis+cluster://gate:gate-pw@{hosts}"

    def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            until(lambda node=node: node.ask("PING"), "a node does not start")
        step = SLOTS // MASTERS
        for number, node in enumerate(self.masters):
            last = SLOTS - 1 if number == MASTERS - 1 else (number + 1) * step - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", number * step, last)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            first = self.nodes[0].port
            node.ask("CLUSTER", "MEET", "127.0.0.1", first, self._buses[first])
        for node in self.nodes:
            until(lambda node=node: len(lines(node)) == len(self.nodes), "the nodes do not meet")
        for number, node in enumerate(self.nodes[MASTERS:]):
            name = self.masters[number].ask("CLUSTER", "MYID")
            until(lambda n=node, name=name: n.ask("CLUSTER", "REPLICATE", name), "no replica")
        for node in self.nodes[MASTERS:]:
            until(lambda n=node: n.ask("ROLE")[3] == b"connected", "a replica does not follow")
        for node in self.nodes:
            until(lambda n=node: self._is_formed(n), "the Cluster does not form")

    def master_of(self, key):
        """Return the node that has the slot of `key`, as most nodes see it."""
        return self.master_of_slot(slot_of(key.encode()))

    def master_of_slot(self, slot):
        """Return the node that has `slot`, as most nodes see it."""

        def found():
            named = []
            for node in self.nodes:
                with contextlib.suppress(redis.exceptions.RedisError):
                    named.append(owner(node, slot))
            best = max(set(named), key=named.count)
            return best if named.count(best) > MASTERS else None

        port = until(found, "nobody has the slot")
        return next(node for node in self.nodes if node.shown_port == port)

    def wait_for_failover(self, old):
        """Wait until those that are left agree on a master in place of `old`."""
        left = [node for node in self.nodes if node is not old]
        for node in left:
            until(lambda n=node: self._is_whole(n, old), "no failover")

    def move(self, slot, source, target):
        """Move a slot with its keys, as `redis-cli --cluster reshard` does."""
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_move(slot, target)

    def begin_move(self, slot, source, target):
        source_id, target_id = (one.ask("CLUSTER", "MYID") for one in (source, target))
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)

    def move_keys(self, slot, source, target):
        login = ("AUTH2", "admin", "admin-pw")
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            where = ("127.0.0.1", target.port, "", 0, 5000)
            source.ask("MIGRATE", *where, *login, "KEYS", *keys)

    def end_move(self, slot, target):
        name = target.ask("CLUSTER", "MYID")
        for node in (target, *(one for one in self.nodes if one is not target)):
            with contextlib.suppress(redis.exceptions.RedisError):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    def remove(self):
        for server in self.nodes:
            server.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _is_formed(self, node):
        if "cluster_state:ok" not in node.raw("CLUSTER", "INFO"):
            return False
        known = lines(node)
        return sum("slave" in words[2] for words in known) == MASTERS and all(
            "fail" not in words[2] and "handshake" not in words[2] for words in known
        )

    def _is_whole(self, node, old):
        known = [words for words in lines(node) if "master" in words[2] and len(words) > 8]
        ports = {int(words[1].partition("@")[0].rpartition(":")[2]) for words in known}
        return len(ports) == MASTERS and old.shown_port not in ports


def lines(node):
    """Return the words of each line of CLUSTER NODES."""
    told = node.raw("CLUSTER", "NODES")
    return [line.split(" ") for line in told.splitlines()]


def owner(node, slot):
    for words in lines(node):
        for one in words[8:]:
            first, _, last = one.partition("-")
            if first.isdigit() and int(first) <= slot <= int(last or first):
                return int(words[1].partition("@")[0].rpartition(":")[2])
    return None


@contextlib.contextmanager
def running(*, is_fronted=False):
    """Give a Cluster that runs, and remove it afterwards."""
    made = ClusterSet(is_fronted=is_fronted)
    try:
        made.start()
        yield made
    finally:
        made.remove()
