"""The built image, run by runc as a container engine would: read-only, without capabilities.

`LATCHGATE_IMAGE` names an image in buildah's storage, which `.ci/run` builds; without it, or where
no container can be made, these tests are skipped with the reason. The network is this machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live.processes.conftest import GateProcess, application

__all__ = ["application"]

NAME = os.environ.get("LATCHGATE_IMAGE", "")
USER = 65532
SHARED = {"network", "cgroup", "user"}
"""Namespaces that are not made: those of an engine that these tests do without."""


def command(*arguments: str) -> str:
    """Run a command of the machine and return what it prints."""
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    return subprocess.run(
        arguments, check=True, capture_output=True, text=True, env=environment
    ).stdout


@dataclass(frozen=True)
class Image:
    """What an image says about how to run it."""

    config: dict[str, Any]

    @property
    def argv(self) -> list[str]:
        """ENTRYPOINT and CMD."""
        return [*self.config["Entrypoint"], *self.config["Cmd"]]


def why_not() -> str | None:
    """Return why no image can be run here; `None` when it can."""
    if not NAME:
        return "LATCHGATE_IMAGE names no image: .ci/run builds one"
    missing = [tool for tool in ("buildah", "runc", "unshare") if shutil.which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed"
    namespaces = ("unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "true")
    if os.geteuid() != 0 or subprocess.run(namespaces, capture_output=True, check=False).returncode:
        return "no namespaces can be made here, or not by this user"
    return None


@pytest.fixture(scope="session")
def image() -> Image:
    """Give what the image says of itself."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    return Image(
        json.loads(command("buildah", "inspect", "--type", "image", NAME))["OCIv1"]["config"]
    )


@pytest.fixture
def root(image: Image) -> Iterator[Path]:
    """Give the image's files, mounted for this test alone."""
    container = command("buildah", "from", "--pull-never", NAME).strip()
    try:
        yield Path(command("buildah", "mount", container).strip())
    finally:
        command("buildah", "rm", container)


class Container(GateProcess):
    """A running container, and the log lines that its process writes."""

    def __init__(self, process: asyncio.subprocess.Process, directory: Path, name: str) -> None:
        super().__init__(process, directory)
        self.name = name

    async def exec(self, *arguments: str) -> tuple[int, str]:
        """Run a command inside; return its status and what it prints, errors included."""
        process = await asyncio.create_subprocess_exec(
            *("runc", "exec", self.name, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def terminate(self) -> None:
        """Send SIGTERM to process 1, as `docker stop` does."""
        stopping = await asyncio.create_subprocess_exec("runc", "kill", self.name, "TERM")
        await stopping.wait()

    async def processes(self) -> list[str]:
        """Return the command lines of everything that runs inside."""
        lister = await asyncio.create_subprocess_exec(
            *("runc", "ps", "--format", "json", self.name), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await lister.communicate()
        return [
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for pid in json.loads(output)
        ]


@dataclass
class Engine:
    """Makes containers of one image."""

    image: Image
    root: Path
    directory: Path
    state: Path
    numbers: Iterator[int]
    containers: list[Container]

    async def run(
        self,
        text: str | None,
        *,
        argv: list[str] | None = None,
        user: int = USER,
        has_state: bool = True,
        environment: dict[str, str] | None = None,
    ) -> Container:
        """Run a container with this configuration mounted; `argv` replaces ENTRYPOINT and CMD."""
        name = f"{self.directory.name}-{next(self.numbers)}"
        bundle = self.directory / name
        bundle.mkdir()
        mounts = {"/var/lib/latchgate": (self.state, "rw")} if has_state else {}
        if text is not None:
            file = bundle / "latchgate.yaml"
            file.write_text(text)
            mounts["/etc/latchgate/latchgate.yaml"] = (file, "ro")
        command("runc", "spec", "--bundle", str(bundle))
        file = bundle / "config.json"
        document = json.loads(file.read_text())
        self._change(document, argv or self.image.argv, user, environment or {})
        document["mounts"] += [
            {"destination": place, "type": "bind", "source": str(source), "options": ["bind", mode]}
            for place, (source, mode) in mounts.items()
        ]
        file.write_text(json.dumps(document))
        process = await asyncio.create_subprocess_exec(
            *("runc", "run", "--bundle", str(bundle), name),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self.containers.append(Container(process, self.directory, name))
        return self.containers[-1]

    def _change(
        self, document: dict[str, Any], argv: list[str], user: int, environment: dict[str, str]
    ) -> None:
        """Turn runc's example into what an engine would make of this image."""
        config = self.image.config
        document["root"] = {"path": str(self.root), "readonly": True}
        document["process"] |= {
            "terminal": False,
            "user": {"uid": user, "gid": user},
            "args": argv,
            "env": [*config["Env"], *(f"{key}={value}" for key, value in environment.items())],
            "cwd": config.get("WorkingDir") or "/",
            "capabilities": {},
            "noNewPrivileges": True,
        }
        document["mounts"] = [
            mount for mount in document["mounts"] if mount["type"] not in ("sysfs", "cgroup")
        ]
        linux = document["linux"]
        linux["namespaces"] = [kind for kind in linux["namespaces"] if kind["type"] not in SHARED]


Run = Callable[..., Awaitable[Container]]


@pytest.fixture
async def engine(image: Image, root: Path) -> AsyncIterator[Engine]:
    """Give a maker of containers, which all go at the end; they share one state directory."""
    directory = Path(tempfile.mkdtemp(prefix="lgc-"))
    state = directory / "state"
    state.mkdir(mode=0o700)
    os.chown(state, USER, USER)
    made = Engine(image, root, directory, state, itertools.count(), [])
    yield made
    for container in made.containers:
        with contextlib.suppress(subprocess.CalledProcessError):
            command("runc", "delete", "--force", container.name)
        await container.stop()
    shutil.rmtree(directory)


@pytest.fixture
def run(engine: Engine) -> Run:
    """Give the function that runs a container; see `Engine.run`."""
    return engine.run


@pytest.fixture
def free_port() -> int:
    """Give a port that is free now: the health command must know it beforehand."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
