"""Somebody who reads a page of the documentation and does, in order, what it says.

A page's fenced blocks are its transcript: `sh` is pasted into a shell, `text` is what came of it, and
an HTML comment before a block says what a reader does not need to be told. What never belongs here:
what a single page is about.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIECES = re.compile(
    r"<!-- (?P<note>[^>]*?) -->|^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
MARK = "=== end of the block ==="
PORTS = ("3000", "6379", "8080", "9001", "9002", "9003", "9902")
"""Ports that pages name; each reader has others, because these may be taken."""
SAVED = "saved as latchgate.yaml"
RUNS = "runs: "
NOT_RUN = "not run here: "


@dataclass
class Block:
    """One fenced block, and what the page says of it where a reader does not look."""

    kind: str
    text: str
    note: str = ""


def blocks(page):
    """Return the blocks of a page's text, and each `Ctrl-C` as a block of its own."""
    found, note = [], ""
    for piece in PIECES.finditer(page):
        if piece["note"] == "Ctrl-C":
            found.append(Block("ctrl-c", ""))
        elif piece["note"]:
            note = piece["note"]
        else:
            found.append(Block(piece["kind"], piece["text"], note))
            note = ""
    return found


def free_ports(count):
    """Return ports that were free a moment ago."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def pattern_of(text):
    """Return what a text block means: its lines in order, `…` standing for anything."""
    lines = [".*?".join(map(re.escape, line.split("…"))) for line in text.strip().splitlines()]
    return re.compile(".*?".join(lines), re.DOTALL)


class Reader:
    """Somebody with as many terminals as a page wants, in an empty directory."""

    def __init__(self, directory):
        self.directory = directory
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        programs = directory / "bin"
        programs.mkdir()
        for name, arguments in (("latchgate", " -m proxy"), ("python", "")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n')
            program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(directory),
        }
        self.environment.pop("LATCHGATE_CONFIG", None)
        self.running: list[subprocess.Popen[str]] = []
        self.shell = self._start(["bash"], stdin=subprocess.PIPE)

    def follow(self, page):
        """Do what a page's text says; return how many outputs of it were compared."""
        shown = ""
        compared = 0
        for block in blocks(page):
            if block.kind == "ctrl-c":
                self.interrupt()
            elif block.kind == "text":
                assert pattern_of(self.there(block.text)).search(shown), f"{block.text}\n{shown}"
                compared += 1
            elif block.note == SAVED:
                self.save(block.text)
            elif block.kind == "sh" and block.note.startswith(RUNS):
                self.start(block.text, block.note.removeprefix(RUNS))
            elif block.kind == "sh" and not block.note.startswith(NOT_RUN):
                shown = self.paste(block.text)
        return compared

    def there(self, text):
        """Return the page's text with this reader's own ports."""
        for usual, port in self.ports.items():
            text = re.sub(rf"(?<=[: ]){usual}\b", str(port), text)
        here = rf"\1 --listen 127.0.0.1:{self.ports['8080']}"
        text = re.sub(r"(latchgate (?:serve|init))(?= --upstream)", here, text)
        # `health` has no option, since one gate on a machine is usual.
        moved = f"sed -i.old s/:9902/:{self.ports['9902']}/ latchgate.yaml"
        return re.sub(r"^latchgate init .+$", rf"\g<0>; {moved}", text, flags=re.MULTILINE)

    def save(self, text):
        """Save a configuration; where it says nothing of them, its listeners are this reader's own."""
        text = self.there(text)
        if not re.search(r"^server:", text, re.MULTILINE):
            text += f'server: {{listen: ["127.0.0.1:{self.ports["8080"]}"]}}\n'
        if not re.search(r"^health:", text, re.MULTILINE):
            text += f'health: {{listen: "127.0.0.1:{self.ports["9902"]}"}}\n'
        (self.directory / "latchgate.yaml").write_text(text)

    def paste(self, text):
        """Run a block in the reader's own terminal; return what it prints."""
        self.shell.stdin.write(f"{self.there(text)}\necho; echo '{MARK}'\n")
        self.shell.stdin.flush()
        return self._read(self.shell, MARK)

    def start(self, text, until):
        """Run a block in a terminal of its own, until it says that it is ready."""
        process = self._start(["bash", "-c", f"exec {self.there(text)}"])
        self.running.append(process)
        self._read(process, self.there(until))

    def interrupt(self):
        """Press Ctrl-C where something was started last."""
        process = self.running.pop()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert 0 == process.returncode

    def close(self):
        """End what still runs."""
        for process in reversed(self.running):
            process.send_signal(
                signal.SIGINT
            )  # as a reader would: not all end what they began on others
        self.shell.terminate()
        for process in (*reversed(self.running), self.shell):
            process.communicate(timeout=60)

    def _start(self, command, **options):
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    @staticmethod
    def _read(process, until):
        lines = []
        for line in process.stdout:
            lines.append(line)
            if until in line:
                return "".join(lines)
        raise AssertionError(f"{until!r} never came: {''.join(lines)}")
