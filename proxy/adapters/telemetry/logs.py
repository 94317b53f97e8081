"""The log: every logger of the process, ours and the libraries', through one safe formatter.

S15: messages lose control and bidi characters and whatever looks like a credential; a foreign
library's exception is told by its kind, because its text may quote the request; a parse error of a
client is one line without a traceback.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from types import TracebackType
from typing import Final, Literal

from proxy.adapters.telemetry.access import AccessLog
from proxy.adapters.telemetry.clock import Clock
from proxy.adapters.telemetry.text import MAX_TEXT, clean, clip, escape, redact_opaque
from proxy.adapters.telemetry.writer import LineWriter
from proxy.errors import ProxyError

LogFormat = Literal["auto", "console", "json"]

OWN_LOGGERS: Final = ("latchgate", "proxy")
AUDIT_LOGGER: Final = "latchgate.audit"
"""Its records carry `fields`: names to escaped words."""
_FOREIGN_TEXT: Final = 200
_MAX_FRAMES: Final = 30
_LEVEL_NAMES: Final = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}
_COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as the log may show it."""

    kind: str
    text: str
    frames: tuple[str, ...]
    """`file:line function`, outermost first; empty for a client's errors."""


class Telemetry:
    """The log of one process: lines out, until `close`."""

    def __init__(self, writer: LineWriter, access: AccessLog | None, handler: _Handler) -> None:
        self._writer = writer
        self._handler = handler
        self.access = access
        """Takes the `AccessRecord` of each request."""

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`, and take the log out of the process again."""
        logging.getLogger().removeHandler(self._handler)
        self._writer.close(timeout_s)


def start_telemetry(
    format_: LogFormat, *, process: str, has_access: bool = True, fd: int = 2
) -> Telemetry:
    """Send every log record of this process, and the access log, to `fd` as safe lines.

    `process` says who speaks: `supervisor`, `worker 0`, …. `auto` is the console on a terminal
    and JSON otherwise.
    """
    is_terminal = os.isatty(fd)
    is_json = format_ == "json" or (format_ == "auto" and not is_terminal)
    writer = LineWriter(fd)
    clock = Clock(time.time)
    colour = is_terminal and not is_json and not os.environ.get("NO_COLOR")
    handler = _Handler(writer, clock, process, is_json=is_json, has_colour=colour)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OWN_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a record that cannot be formatted must not print its values
    sys.excepthook = _log_crash
    sys.unraisablehook = _log_unraisable
    access = AccessLog(writer.write, clock, process, is_json=is_json) if has_access else None
    return Telemetry(writer, access, handler)


class _Handler(logging.Handler):
    def __init__(
        self, writer: LineWriter, clock: Clock, process: str, *, is_json: bool, has_colour: bool
    ) -> None:
        super().__init__()
        self._writer = writer
        self._clock = clock
        self._process = process
        self._render = self._json if is_json else self._console
        self._has_colour = has_colour

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._render(record)
        except Exception as error:  # noqa: BLE001 - a bad log call must not become a failed request
            line = f"log call failed: {record.name}: {type(error).__name__}\n"
        self._writer.write(line.encode("utf-8", "backslashreplace"))

    def _json(self, record: logging.LogRecord) -> str:
        level, message, failure = read_record(record)
        fields = _fields(record)
        extra = "".join(f",{quoted(name)}:{quoted(value)}" for name, value in fields.items())
        if failure is not None:
            frames = ",".join(map(quoted, failure.frames))
            error = quoted(f"{failure.kind}: {failure.text}" if failure.text else failure.kind)
            extra += f',"error":{error},"traceback":[{frames}]'
        return (
            f'{{"time":"{self._clock.iso(record.created)}","level":"{level}",'
            f'"event":"{"audit" if fields else "log"}",'
            f'"process":{quoted(self._process)},"logger":{quoted(escape(record.name))},'
            f'"message":{quoted(message)}{extra}}}\n'
        )

    def _console(self, record: logging.LogRecord) -> str:
        level, message, failure = read_record(record)
        mark = f"{level:<7}"
        if self._has_colour:
            mark = f"\x1b[{_COLOURS[level]}m{mark}\x1b[0m"
        told = "".join(f" {name}={quoted(value)}" for name, value in _fields(record).items())
        line = f"{self._clock.hours(record.created)} {mark} {self._process}: {message}{told}\n"
        if failure is not None:
            line += f"    {failure.kind}: {failure.text}\n"
            line += "".join(f"        at {frame}\n" for frame in failure.frames)
        return line


def read_record(record: logging.LogRecord) -> tuple[str, str, Failure | None]:
    """Return level, message and failure of `record` as the log may show them."""
    level = _LEVEL_NAMES.get(record.levelno, "info" if record.levelno < 30 else "error")
    error = record.exc_info[1] if record.exc_info else None
    if record.name.partition(".")[0] in OWN_LOGGERS:
        return level, clean(record.getMessage()), _failure(error) if error else None
    if error is not None and _is_clients_fault(error):
        return "info", f"malformed request: {type(error).__name__}", None
    # asyncio quotes callbacks with their arguments, which can be bytes off the wire: only what
    # stands before the first bracket is the library's own words.
    words = record.getMessage().partition("\n")[0].partition("(")[0].partition("<")[0]
    message = escape(redact_opaque(clip(words, _FOREIGN_TEXT)))
    return level, message, _failure(error) if error else None


def _fields(record: logging.LogRecord) -> Mapping[str, str]:
    """Return what an event of the audit trail says; its words are escaped already (S15)."""
    fields = getattr(record, "fields", None)
    return fields if record.name == AUDIT_LOGGER and isinstance(fields, dict) else {}


def _is_clients_fault(error: BaseException) -> bool:
    """Tell whether aiohttp's parser speaks of the client's bytes: an exception of its own."""
    return type(error).__module__ in ("aiohttp.http_exceptions", "aiohttp.web_exceptions")


def _failure(error: BaseException) -> Failure:
    text = ""
    if isinstance(error, ProxyError):
        text = clean(error.detail)
    elif not type(error).__module__.startswith(("aiohttp", "redis", "jwt", "httptools")):
        text = escape(redact_opaque(clip(str(error), MAX_TEXT)))
    return Failure(type(error).__name__, text, _frames(error.__traceback__))


def _frames(trace: TracebackType | None) -> tuple[str, ...]:
    """Where it happened; without source lines, locals or the texts of causes."""
    frames = traceback.extract_tb(trace, limit=-_MAX_FRAMES)
    return tuple(f"{escape(f.filename)}:{f.lineno} {f.name}" for f in frames)


def _log_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("latchgate").critical("crashed", exc_info=(kind, error, trace))


def _log_unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Log what nobody can catch; else Python writes it to the descriptor of the log, in its own words.

    The object that it happened to is not shown. A client that asks in its handshake for a name with
    bytes that no name has (SNI) ends it, and that is not logged, as no handshake that fails is.
    """
    if isinstance(lost.exc_value, UnicodeDecodeError) and isinstance(lost.object, bytes):
        return
    error = lost.exc_value or lost.exc_type()
    told = (type(error), error, lost.exc_traceback)
    logging.getLogger("latchgate").error("an error that nobody could take", exc_info=told)
