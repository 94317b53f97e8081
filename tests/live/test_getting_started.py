"""docs/getting-started.md: every command is run, in order, and shows what the page says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.codes import CODES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "getting-started.md").read_text()
PIECES = re.compile(
    r"<!-- (?P<note>[^>]*?) -->|^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
MARK = "=== end of the block ==="


@dataclass
class Block:
    """One fenced block, and what the page says of it where a reader does not look."""

    kind: str
    text: str
    note: str = ""


def blocks() -> list[Block]:
    """Return the page's blocks, and each `Ctrl-C` as a block of its own."""
    found, note = [], ""
    for piece in PIECES.finditer(PAGE):
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


class Reader:
    """Somebody with three terminals who does what the page says."""

    def __init__(self, directory):
        self.directory = directory
        self.ports = dict(zip(("3000", "8080", "9902"), free_ports(3), strict=True))
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
            "TMPDIR": str(directory),
        }
        self.environment.pop("LATCHGATE_CONFIG", None)
        self.running: list[subprocess.Popen[str]] = []
        self.shell = self._start(["bash"], stdin=subprocess.PIPE)

    def there(self, text):
        """Return the page's text with this test's own ports."""
        for usual, port in self.ports.items():
            text = re.sub(rf"(?<=[: ]){usual}\b", str(port), text)
        here = rf"\1 --listen 127.0.0.1:{self.ports['8080']}"
        text = re.sub(r"(latchgate (?:serve|init))(?= --upstream)", here, text)
        # `health` has no option, since one gate on a machine is usual.
        moved = f"sed -i.old s/:9902/:{self.ports['9902']}/ latchgate.yaml"
        return re.sub(r"^latchgate init .+$", rf"\g<0>; {moved}", text, flags=re.MULTILINE)

    def paste(self, text):
        """Run a block in the third terminal; return what it prints."""
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
        for process in (*reversed(self.running), self.shell):
            process.terminate()
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


@pytest.fixture
def reader(tmp_path):
    """Give a reader in an empty directory."""
    person = Reader(tmp_path)
    yield person
    person.close()


def pattern_of(text):
    """Return what a text block means: its lines in order, `…` standing for anything."""
    lines = [".*?".join(map(re.escape, line.split("…"))) for line in text.strip().splitlines()]
    return re.compile(".*?".join(lines), re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl")
def test_every_command_of_the_page_does_what_it_says(reader):
    """As a new user does it: in order, in one directory, with what the page shows as the outcome."""
    shown = ""
    compared = 0
    for block in blocks():
        if block.kind == "ctrl-c":
            reader.interrupt()
        elif block.kind == "text":
            assert pattern_of(reader.there(block.text)).search(shown), f"{block.text}\n{shown}"
            compared += 1
        elif block.kind == "sh" and block.note.startswith("runs: "):
            reader.start(block.text, block.note.removeprefix("runs: "))
        elif block.kind == "sh" and not block.note.startswith("not run here: "):
            shown = reader.paste(block.text)
    assert compared >= 8


def test_only_the_installation_is_not_run():
    """Whoever adds a command adds its proof; a browser's line is no command."""
    skipped = [block.text for block in blocks() if block.note.startswith("not run here: ")]
    assert ["python3 -m venv venv\nvenv/bin/pip install .\n"] == skipped
    assert {"sh", "text", "js", "ctrl-c"} == {block.kind for block in blocks()}


def test_the_codes_of_the_page_exist():
    """The table of refusals names codes that the gate knows."""
    table = PAGE.partition("## When it says no")[2]
    named = {code for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
             for code in re.findall(r"`(\w+)`", row)}  # fmt: skip
    assert len(named) >= 8
    assert named <= set(CODES)
