"""A process that sends requests over kept-alive connections and writes down what became of them.

It sends at a steady rate, to every worker in turn, whatever the answers do (open loop), or as fast
as they come. All but every eighth request of a worker are *probes*: of credentials that are watched.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import itertools
import multiprocessing
import select
import socket
import time
from typing import NamedTuple

import httptools
import psutil

BACKGROUND_EVERY = 8
ENOUGH = 3
"""So many times each worker has to let a probe through, and later to refuse it."""
LINGER_S = 0.04
"""How long is watched for another one to be let through after each worker has refused."""
PATIENCE_S = 10.0
"""When a probe's end is given up: no promise is that long."""


class Record(NamedTuple):
    """What became of one probe; times are `time.monotonic`, which all processes share."""

    label: str
    worker: int
    began_at: float
    """Just before it was sent."""
    sent_at: float
    """Just after."""
    got_at: float
    """When its answer was complete; infinite if it never was."""
    status: int
    """0 without an answer."""


class _Connection:
    def __init__(self, load, port):
        self.load = load
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local_port = self.sock.getsockname()[1]
        self.worker = -1
        self.parser = httptools.HttpResponseParser(self)
        self.sent = None

    def send(self, label, raw):
        began_at = time.monotonic()
        self.sock.send(raw)
        self.sent = (label, self.worker, began_at, time.monotonic())

    def readable(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        if data:
            self.parser.feed_data(data)
        else:
            self.load.lose(self)

    def on_message_complete(self):
        self.load.answered(self, self.parser.get_status_code(), self.parser.should_keep_alive())


class _Load:
    """The process's own side."""

    def __init__(self, pipe, port, workers, connections, first):
        self.pipe = pipe
        self.epoll = select.epoll()
        self.epoll.register(pipe.fileno(), select.EPOLLIN)
        self.workers = workers
        self.by_fd = {}
        self.idle = {pid: collections.deque() for pid in workers}
        self.turn = itertools.count()
        self.background = itertools.cycle([first])
        self.probes = []
        self.probed = dict.fromkeys(workers, 0)
        self.rate = 0.0
        self.is_saturating = False
        self.next_at = 0.0
        self.records = []
        self.counts = collections.Counter()
        self.watched = None
        self._connect(port, connections)

    def _connect(self, port, connections):
        """Open so many connections that each worker has as many as are asked for."""
        wanted = connections * len(self.workers)
        while True:
            fresh = [_Connection(self, port) for _ in range(wanted)]
            for connection in fresh:  # an answer shows that a worker has taken it
                connection.send(None, next(self.background))
            for connection in fresh:
                while connection.sent:
                    connection.readable()
            owners = {
                found.raddr.port: pid
                for pid in self.workers
                for found in psutil.Process(pid).net_connections("tcp4")
                if found.raddr and found.laddr.port == port
            }
            for connection in fresh:
                pid = connection.worker = owners[connection.local_port]
                if len(self.idle[pid]) < connections:
                    self.idle[pid].append(connection)
                    self.by_fd[connection.sock.fileno()] = connection
                else:
                    connection.sock.close()
            if all(len(own) == connections for own in self.idle.values()):
                break
        for descriptor in self.by_fd:
            self.epoll.register(descriptor, select.EPOLLIN)
        self.counts.clear()

    def run(self):
        self.pipe.send("ready")
        pipe = self.pipe.fileno()
        while True:
            wait_s = 1.0
            if self.rate:
                wait_s = max(0.0, self.next_at - time.monotonic())
            for descriptor, _event in self.epoll.poll(wait_s):
                if descriptor != pipe:
                    self.by_fd[descriptor].readable()
                elif not self._obey(*self.pipe.recv()):
                    return
            if self.rate:
                self._send_due()

    def _obey(self, word, *arguments):
        match word:
            case "background":
                self.background = itertools.cycle(arguments[0])
            case "rate":
                self.rate, self.is_saturating = arguments[0], False
                self.next_at = time.monotonic()
            case "saturate":
                self.rate, self.is_saturating = 0.0, True
                for own in self.idle.values():
                    while own:
                        own.popleft().send(None, next(self.background))
            case "watch":
                self.probes = [arguments]
                self.watched = _Watched(self.workers)
            case "probes":
                self.probes, self.watched = list(arguments[0].items()), None
            case "take":
                self._end_waiting(arguments[0])
                self.pipe.send((self.records, self.counts))
                self.records, self.counts = [], collections.Counter()
            case "last":
                last = {(record.label, record.worker): record.status for record in self.records}
                self.pipe.send(last)
            case "end":
                return False
        return True

    def _end_waiting(self, is_last):
        """Write down what has no answer yet, where nothing is asked any more."""
        for connection in self.by_fd.values() if is_last else ():
            if connection.sent and connection.sent[0] is not None:
                self.records.append(Record(*connection.sent, float("inf"), 0))

    def _send_due(self):
        now = time.monotonic()
        if now - self.next_at > 0.25:  # nobody makes up for what this process has slept
            self.next_at = now
        while self.next_at <= now:
            self.next_at += 1 / self.rate
            turn = next(self.turn)
            worker = self.workers[turn % len(self.workers)]
            own = self.idle[worker]
            if not own:
                self.counts["late"] += 1
                continue
            turn //= len(self.workers)
            label, raw = None, None
            if self.probes and turn % BACKGROUND_EVERY:
                # Not the turn's remainder: each worker has to get each probe.
                self.probed[worker] += 1
                label, raw = self.probes[self.probed[worker] % len(self.probes)]
            own.popleft().send(label, raw or next(self.background))

    def answered(self, connection, status, is_kept):
        label, *times = connection.sent
        connection.sent = None
        self.counts[status] += 1
        if label is not None:
            record = Record(label, *times, time.monotonic(), status)
            self.records.append(record)
            self._tell(record)
        if connection.sock.fileno() not in self.by_fd:
            return
        if not is_kept:
            self.lose(connection)
            return
        connection.parser = httptools.HttpResponseParser(connection)
        if self.is_saturating:
            connection.send(None, next(self.background))
        else:
            self.idle[connection.worker].append(connection)

    def _tell(self, record):
        watched = self.watched
        if watched is not None and record.label == self.probes[0][0]:
            news = watched.hear(record)
            if news:
                self.pipe.send(news)

    def lose(self, connection):
        """Do without a connection that the gate has closed."""
        self.counts["lost"] += 1
        descriptor = connection.sock.fileno()
        if self.by_fd.pop(descriptor, None) is not None:
            self.epoll.unregister(descriptor)
        if connection.sent and connection.sent[0] is not None:
            self.records.append(Record(*connection.sent, time.monotonic(), 0))
        connection.sock.close()


class _Watched:
    """Whether every worker knows the probe, and later whether every worker refuses it."""

    def __init__(self, workers):
        self.passed = dict.fromkeys(workers, 0)
        self.refused = dict.fromkeys(workers, 0)
        self.is_warm = False
        self.over_at = float("inf")

    def hear(self, record):
        """Return `warm` or `over` when it is so for the first time."""
        worker = record.worker
        if record.status == 200:
            self.passed[worker] += 1
            self.refused[worker] = 0
            self.over_at = float("inf")
        else:
            self.refused[worker] += 1
        if not self.is_warm and min(self.passed.values()) >= ENOUGH:
            self.is_warm = True
            return "warm"
        if min(self.refused.values()) >= ENOUGH:
            self.over_at = min(self.over_at, record.got_at + LINGER_S)
            if record.got_at > self.over_at:
                self.refused = dict.fromkeys(self.passed, float("-inf"))
                return "over"
        return None


def _serve(pipe, *arguments):
    gc.disable()
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        _Load(pipe, *arguments).run()


class Load:
    """What the benchmark sees of it: give it work, take its records."""

    def __init__(self, gate, first, *, connections=24):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, gate.port, list(gate.workers), connections, first)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        if self._pipe.recv() != "ready":
            raise RuntimeError("the load does not start")

    def background(self, raws):
        """Send these in turn, where no probe is sent."""
        self._pipe.send(("background", list(raws)))

    def pace(self, rate):
        """Send so many requests a second; 0: none."""
        self._pipe.send(("rate", rate))

    def saturate(self, seconds):
        """Send as fast as answers come; return requests a second."""
        self._pipe.send(("saturate",))
        time.sleep(0.3)
        self.take()
        began_at = time.monotonic()
        time.sleep(seconds)
        count = self._all_let_through()
        rate = count / (time.monotonic() - began_at)
        self.settle()
        return rate

    def run(self, seconds):
        """Send as fast as answers come, to the last answer; return how many there were."""
        self._pipe.send(("saturate",))
        time.sleep(seconds)
        self.pace(0)
        time.sleep(0.2)
        return self._all_let_through()

    def settle(self):
        """Send nothing more, and wait for what is under way."""
        self.pace(0)
        time.sleep(0.2)
        self.take()

    def _all_let_through(self):
        _, counts = self.take()
        if set(counts) != {200}:
            raise RuntimeError(f"not every answer was 200: {counts}")
        return counts[200]

    def watch(self, label, raw):
        """Probe one credential; return when every worker has let it through a few times."""
        self._pipe.send(("watch", label, raw))
        if not self._pipe.poll(PATIENCE_S) or self._pipe.recv() != "warm":
            raise TimeoutError("a credential is not let through")

    def until_refused(self):
        """Wait until every worker refuses the watched one; return its records, and whether they do."""
        is_over = self._pipe.poll(PATIENCE_S) and self._pipe.recv() == "over"
        return self.take()[0], is_over

    def probes(self, raws):
        """Probe these, by label, in turn."""
        self._pipe.send(("probes", raws))

    def last(self):
        """Return the last status of each (label, worker)."""
        self._pipe.send(("last",))
        return self._pipe.recv()

    def take(self, *, is_last=False):
        """Return the records and counts since the last time."""
        self._pipe.send(("take", is_last))
        return self._pipe.recv()

    def kill(self):
        """End the process."""
        self._pipe.send(("end",))
        self._process.join(5)
        self._process.kill()
