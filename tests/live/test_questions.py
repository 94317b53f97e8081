"""`latchgate init` at a terminal: a real one, as a person sits at."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.questions import FLAGS
from proxy.run.loading import load

pytestmark = pytest.mark.slow

ASKED = ("short name for it", "Where is it?", "Which [", "Whose tokens?", "What is public?")


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, directory, *arguments):
        self.seen = ""
        self._answered = 0
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "init", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(Path.cwd()), "TERM": "dumb", "COLUMNS": "200"},
            start_new_session=True,
        )
        os.close(slave)

    def answer(self, question, text):
        """Wait for a question and type the answer."""
        self.wait(question)
        os.write(self._master, f"{text}\n".encode())

    def wait(self, question):
        """Wait for a question that has not been seen yet."""
        while question not in self.seen[self._answered :] or not self.seen.endswith("]: "):
            self._read()
        self._answered = len(self.seen)

    def press_ctrl_c(self):
        """Send SIGINT until it is heard: between a question and its read(2) Python keeps one for later."""
        while self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)

    def end(self):
        """Read the rest; return the exit status."""
        try:
            while True:
                self._read()
        except (OSError, EOFError):
            os.close(self._master)
        return self.process.wait(timeout=60)

    def _read(self):
        part = os.read(self._master, 4096)
        if not part:
            raise EOFError(self.seen)
        self.seen += part.decode()


def test_enter_takes_the_defaults(tmp_path):
    """Five times Enter is a configuration that opens to either key of the gate's own."""
    terminal = Terminal(tmp_path)
    for question in ASKED:
        terminal.answer(question, "")
    assert 0 == terminal.end()
    assert "Wrote latchgate.yaml." in terminal.seen
    loaded = load(tmp_path / "latchgate.yaml")
    assert ((), ["api", "web"]) == (loaded.warnings, loaded.config.routes[0].auth)


def test_a_bad_answer_is_told_at_once_and_asked_again(tmp_path):
    """Each question checks its own answer, by the rules of `check`."""
    terminal = Terminal(tmp_path)
    terminal.answer(ASKED[0], "a b")
    terminal.answer(ASKED[0], "shop")
    terminal.answer(ASKED[1], "ftp://a")
    terminal.answer(ASKED[1], "localhost:9001")
    terminal.answer(ASKED[2], "everybody")
    terminal.answer(ASKED[2], "token")
    terminal.answer(ASKED[3], "http://id.example.com")
    terminal.answer(ASKED[3], "https://id.example.com")
    terminal.answer("`aud` [shop]", "shop-api")
    terminal.answer(ASKED[4], "static")
    terminal.answer(ASKED[4], "/static/** /healthz")
    assert 0 == terminal.end()
    assert 5 == terminal.seen.count("Error: ")
    config = load(tmp_path / "latchgate.yaml").config
    assert "http://localhost:9001" == str(config.upstreams["shop"].servers[0])
    scheme = config.schemes["api"]
    assert ("https://id.example.com", ["shop-api"]) == (scheme.issuer, scheme.audience)
    public = [route.match.path for route in config.routes if not route.auth]
    assert ["/static/**", "/healthz"] == public


def test_what_options_say_is_not_asked(tmp_path):
    """Only the rest is; sessions alone raise no question about tokens."""
    terminal = Terminal(tmp_path, FLAGS["auth"], "session", FLAGS["name"], "shop")
    terminal.answer(ASKED[1], "")
    terminal.answer(ASKED[4], "")
    assert 0 == terminal.end()
    for question in (ASKED[0], ASKED[2], ASKED[3]):
        assert question not in terminal.seen
    assert {"web"} == set(load(tmp_path / "latchgate.yaml").config.schemes)


def test_who_breaks_off_gets_no_file(tmp_path):
    """Ctrl-C at any question: nothing half-made is left."""
    terminal = Terminal(tmp_path)
    terminal.answer(ASKED[0], "")
    terminal.wait(ASKED[1])
    terminal.press_ctrl_c()
    assert 1 == terminal.end()
    assert "nothing was written" in terminal.seen
    assert [] == list(tmp_path.iterdir())
