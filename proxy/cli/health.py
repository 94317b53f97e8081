"""`latchgate health`: asks the running gate whether it is ready; for a container's HEALTHCHECK."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from proxy.cli import report
from proxy.cli.invocation import reachable
from proxy.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, config_path
from proxy.cli.source import find_running_or_warn
from proxy.config.addresses import Address
from proxy.config.loader import salvage_config
from proxy.config.server_models import HealthConfig
from proxy.errors import ConfigError, ConfigErrors

TIMEOUT_S: Final = 5.0
MAX_ANSWER: Final = 64 * 1024
"""Bytes that are read of an answer."""


def health(config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Ask the running gate whether it is ready; status 0 if it is, 1 if not."""
    found = listener(config)
    if found is None:
        report.fail("the configuration says `health: none`", report.EXIT_USAGE)
    try:
        status, _ = ask(found.listen, "/readyz")
    except OSError as error:
        if as_json:
            report.say_json({"ready": False, "reason": error.strerror or "no answer"})
        report.fail(no_answer(found.listen, error))
    is_ready = status == b"200"
    if as_json:
        report.say_json({"ready": is_ready})
    elif is_ready:
        report.say("ready")
    if not is_ready:
        report.fail("not ready; the log of the gate says why")


def listener(config: str) -> HealthConfig | None:
    """Return where the gate that runs listens, whatever has become of its file since."""
    running = find_running_or_warn(config)
    if running is not None:
        with contextlib.suppress(ConfigErrors):  # of what it read, a file has gone
            served = running.load().config.health
            if running.has_changed(Path(config)):
                report.complain(f"warning: {config} has changed since the gate read it")
            return served
    try:
        found, errors = salvage_config(config_path(config))
    except ConfigErrors as unreadable:
        report.fail_config(unreadable)
    if found is None or any(_is_about_health(error) for error in errors):
        report.fail_config(ConfigErrors(errors))
    for error in errors:
        report.complain(f"warning: {error}")
    return found.health


def no_answer(address: Address, error: OSError) -> str:
    """Return what is said of a health listener that cannot be asked."""
    return f"{address}: {error.strerror or 'no answer'}; is the gate running?"


def _is_about_health(error: ConfigError) -> bool:
    return error.path.partition(".")[0] == "health"


def ask(address: Address, path: str, *, most: int = MAX_ANSWER) -> tuple[bytes, bytes]:
    """Return status and body of a page of the health listener, of `most` bytes. Raises `OSError`."""
    with _connect(address) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: health\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("ascii"))
        answer = bytearray()
        while part := connection.recv(65536):
            answer += part
            if len(answer) > most:
                break
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    words = head.partition(b"\r\n")[0].split(b" ")
    return (words[1] if len(words) > 1 else b""), body


def _connect(address: Address) -> socket.socket:
    if address.path is None:
        return socket.create_connection((reachable(address.host), address.port), TIMEOUT_S)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT_S)
    try:
        connection.connect(os.fspath(address.path))
    except OSError:
        connection.close()
        raise
    return connection
