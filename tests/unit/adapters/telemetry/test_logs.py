from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from proxy.adapters.telemetry import start_telemetry
from proxy.adapters.telemetry.logs import OWN_LOGGERS, Telemetry
from proxy.errors import StoreUnavailable


class Log:
    """A started log whose lines can be read after `lines` closed it."""

    def __init__(self, file: str, format_: str) -> None:
        self._file = file
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.telemetry: Telemetry = start_telemetry(format_, process="worker 0", fd=self._fd)

    def lines(self) -> list[str]:
        """Close the log and return what it wrote."""
        self.telemetry.close()
        return Path(self._file).read_text(encoding="utf-8").splitlines()

    def records(self) -> list[dict]:
        """Close the log and return its JSON lines."""
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def make_log(tmp_path) -> Iterator:
    """Start logs that are taken out of the process again."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, logging.raiseExceptions
    unraisable = sys.unraisablehook
    levels = {name: logging.getLogger(name).level for name in OWN_LOGGERS}
    logs = []

    def make(format_: str = "json") -> Log:
        logs.append(Log(str(tmp_path / f"log{len(logs)}"), format_))
        return logs[-1]

    yield make
    for log in logs:
        log.telemetry.close()
        os.close(log._fd)
    logging.captureWarnings(False)
    root.handlers[:], root.level, sys.excepthook, logging.raiseExceptions = before
    sys.unraisablehook = unraisable
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_a_record_becomes_one_json_line(make_log):
    """Time in UTC, level, process, logger and message stand in one line."""
    log = make_log()
    logging.getLogger("latchgate.store").warning("the store %s is gone", "redis://host:1/0")
    (record,) = log.records()
    assert record.pop("time").endswith("Z")
    assert {
        "level": "warning",
        "event": "log",
        "process": "worker 0",
        "logger": "latchgate.store",
        "message": "the store redis://host:1/0 is gone",
    } == record


def test_auto_is_json_where_there_is_no_terminal(make_log):
    """A container's log is read by programs."""
    log = make_log("auto")
    logging.getLogger("latchgate").info("hello")
    assert "hello" == log.records()[0]["message"]


def test_the_console_has_one_line_for_a_message_and_one_for_each_frame(make_log):
    """People read times, levels and words."""
    log = make_log("console")
    try:
        raise StoreUnavailable("no answer")
    except StoreUnavailable:
        logging.getLogger("latchgate").exception("probe failed")
    first, second, *frames = log.lines()
    assert first.endswith("error   worker 0: probe failed")
    assert "    StoreUnavailable: no answer" == second
    assert 1 == len(frames)
    assert "test_logs.py" in frames[0]


def test_s15_a_message_cannot_forge_a_second_line(make_log):
    """S15: a newline or an escape sequence in a message stays visible and harmless."""
    log = make_log("console")
    logging.getLogger("latchgate").warning("route %s", "a\n00:00 forged \x1b[2J\u202e")
    (line,) = log.lines()
    assert line.endswith("route a\\x0a00:00 forged \\x1b[2J\\u202e")


def test_s15_a_parse_error_of_aiohttp_is_one_line_by_its_kind(make_log):
    """S15: what the client sent is neither quoted nor traced; it is no error of the gate's."""
    log = make_log()
    try:
        raise BadHttpMessage("Invalid header: Cookie: sid=abc")
    except BadHttpMessage as error:
        logging.getLogger("aiohttp.server").exception("Error handling request", exc_info=error)
    (record,) = log.records() or [{}]
    assert "malformed request: BadHttpMessage" == record["message"]
    assert "info" == record["level"]
    assert "traceback" not in record
    assert "sid" not in json.dumps(record)


def test_s15_asyncio_quotes_no_bytes_of_a_request(make_log):
    """S15: asyncio's own report shows a callback with its arguments; only its words are kept."""
    log = make_log()

    async def fail() -> None:
        loop = asyncio.get_running_loop()
        secret = b"GET / HTTP/1.1 Cookie: sid=c2VjcmV0"
        loop.call_exception_handler(
            {
                "message": f"Exception in callback Conn.data_received({secret!r})",
                "exception": ValueError(secret.decode()),
                "handle": secret,
            }
        )

    asyncio.run(fail())
    (record,) = log.records()
    assert "Exception in callback Conn.data_received" == record["message"]
    assert "c2VjcmV0" not in json.dumps(record)
    assert record["error"].startswith("ValueError")


@pytest.mark.parametrize("format_", ["json", "console"])
def test_s15_a_crash_shows_frames_but_no_values(make_log, format_):
    """S15: a bug is told by kind and place; a session id in its text does not reach the log."""
    log = make_log(format_)
    try:
        {}["vK3xQ9pLmZ0aB7cD5eF1gH2iJ4kL6mN8"]
    except KeyError:
        logging.getLogger("latchgate.edge").exception("unexpected")
    text = "\n".join(log.lines())
    assert "KeyError" in text
    assert "test_logs.py" in text
    assert "vK3xQ9pL" not in text


def test_a_library_with_an_error_that_quotes_data_is_told_by_its_kind(make_log):
    """The text of a redis, aiohttp, jwt or httptools exception is not believed to be clean."""
    log = make_log()
    error = type("ResponseError", (Exception,), {"__module__": "redis.exceptions"})
    try:
        raise error("value was alice")
    except error:
        logging.getLogger("redis").exception("failed")
    (record,) = log.records()
    assert "ResponseError" == record["error"]


def test_a_log_call_that_cannot_be_formatted_harms_nobody(make_log):
    """A wrong format string costs a line, not a request, and shows no value."""
    log = make_log("console")
    logging.getLogger("latchgate").info("%d", "secret")
    assert ["log call failed: latchgate: TypeError"] == log.lines()


def test_an_uncaught_exception_is_one_line(make_log):
    """The last words of a process go through the same filter."""
    log = make_log()
    error = RuntimeError("Bearer c2VjcmV0c2VjcmV0")
    sys.excepthook(RuntimeError, error, None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    (record,) = log.records()
    assert ("critical", "RuntimeError: Bearer [hidden]") == (record["level"], record["error"])


class Failing:
    """Cannot be thrown away without an error."""

    def __del__(self):
        raise ValueError("no\x1b[2J use")

    def __repr__(self):
        return "secret"


def test_s15_an_error_that_nobody_can_catch_is_one_line(make_log, capfd):
    """Python would write several to the same place, with the object that it happened to."""
    log = make_log()
    Failing()
    (record,) = log.records()

    assert ("error", "an error that nobody could take") == (record["level"], record["message"])
    assert "ValueError: no\\x1b[2J use" == record["error"]
    assert "secret" not in str(record)
    assert "" == capfd.readouterr().err


def test_s15_a_name_in_a_handshake_writes_nothing(make_log, capfd):
    """SNI with bytes that no name has: such a client cannot fill the log, nor leave its lines behind."""
    log = make_log()
    hello, nothing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(nothing, hello, server_hostname="aaaa.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    forged, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
    forged.write(hello.read().replace(b"aaaa.test", b"\xff\n\xff\xff.test"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda *_: None
    server = context.wrap_bio(forged, answer, server_side=True)
    with pytest.raises(ssl.SSLError):
        server.do_handshake()

    assert [] == log.lines()
    assert "" == capfd.readouterr().err


def test_warnings_are_log_lines(make_log):
    """Python's warnings do not go around the filter."""
    log = make_log()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old\nhabit", DeprecationWarning, stacklevel=1)
    logging.captureWarnings(False)
    assert "py.warnings" == log.records()[0]["logger"]


AUDIT_FIELDS = {"kind": "login", "subject": r'a" address="10.0.0.9\x0a'}


def note() -> None:
    """Log an event as the audit trail does."""
    audit = logging.getLogger("latchgate.audit")
    audit.info("audit: %s", "login", extra={"fields": AUDIT_FIELDS})


def test_an_event_of_the_audit_trail_has_members_of_its_own(make_log):
    """A program finds kind and subject in the line without taking a text apart."""
    log = make_log()
    note()
    (record,) = log.records()

    assert {"event": "audit", "level": "info", **AUDIT_FIELDS}.items() <= record.items()


def test_s15_a_name_cannot_forge_a_member_of_an_event_on_the_console(make_log):
    """S15: for people too a quote in a name stays within the quotes around it."""
    log = make_log("console")
    note()
    (line,) = log.lines()

    assert line.endswith(r'audit: login kind="login" subject="a\" address=\"10.0.0.9\\x0a"')


def test_fields_of_other_loggers_are_passed_over(make_log):
    """Only the audit trail escapes its words itself; nobody else brings members into a line."""
    log = make_log()
    logging.getLogger("latchgate.store").info("hello", extra={"fields": {"kind": "x"}})
    (record,) = log.records()

    assert "kind" not in record
    assert "log" == record["event"]
