"""The access log: one line per request, without the logging module, for it runs on every one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from proxy.adapters.telemetry.clock import Clock
from proxy.adapters.telemetry.text import clean, clean_path, clip, escape
from proxy.model import AccessRecord

MAX_WORD: Final = 256
"""Characters of one value other than path and detail."""


class AccessLog:
    """Turns each `AccessRecord` into one line: JSON for programs, or a short one for people."""

    def __init__(
        self, write: Callable[[bytes], None], clock: Clock, process: str, *, is_json: bool
    ) -> None:
        self._write = write
        self._clock = clock
        self._process = quoted(process)
        self._begun = {
            level: f'","level":"{level}","event":"request","process":{quoted(process)},"request_id":"'
            for level in ("info", "warning")
        }
        self._is_json = is_json
        self._render = self._json if is_json else self._console

    def __call__(self, record: AccessRecord) -> None:
        """Write the line of one finished request."""
        self._write(self._render(record).encode("utf-8", "backslashreplace"))

    @property
    def is_json(self) -> bool:
        """True where lines are JSON, of which `forwarded` can write some from ready parts."""
        return self._is_json

    # hot: every request of the express lane
    def forwarded(
        self, request_id: str, status: int, words: tuple[str, str, str, str], started_at: float,
        duration_s: float, upstream_s: float, bytes_in: int, bytes_out: int,
    ) -> None:  # fmt: skip
        """Write the line of a request that was forwarded and answered, as a record would give it.

        `words` are what `asked_words`, `who_words`, `client_words` and `server_words` return.
        """
        begun = self._begun["warning" if status >= 500 else "info"]
        if not request_id.isalnum():  # chosen by a trusted peer
            request_id = _quoted(request_id)[1:-1]
        asked, who, client, server = words
        took = f"{duration_s * 1000:.3f}"
        upstream = took if upstream_s == duration_s else f"{upstream_s * 1000:.3f}"
        line = (
            f'{{"time":"{self._clock.iso(started_at)}{begun}{request_id}",{asked}{status}{who}{client}{server}'
            f'{took},"upstream_ms":{upstream},"bytes_in":{bytes_in},"bytes_out":{bytes_out}}}\n'
        )
        self._write(line.encode("utf-8", "backslashreplace"))

    def _json(self, record: AccessRecord) -> str:
        upstream_ms = "null" if record.upstream_s is None else f"{record.upstream_s * 1000:.3f}"
        level = "warning" if record.status >= 500 else "info"
        return (
            f'{{"time":"{self._clock.iso(record.started_at)}","level":"{level}","event":"request",'
            f'"process":{self._process},"request_id":{_quoted(record.request_id)},'
            f'"method":{_value(record.method)},"host":{_value(record.host)},'
            f'"path":{_path(record.path)},"status":{record.status},'
            f'"decision":{_value(record.decision)},"code":{_value(record.code)},'
            f'"detail":{quoted(clean(record.detail)) if record.detail else "null"},'
            f'"route":{_value(record.route)},"scheme":{_value(record.scheme)},'
            f'"subject":{_value(record.subject)},"client":{_value(record.client)},'
            f'"upstream":{_value(record.upstream)},"server":{_value(record.server)},'
            f'"duration_ms":{record.duration_s * 1000:.3f},"upstream_ms":{upstream_ms},'
            f'"bytes_in":{record.bytes_in},"bytes_out":{record.bytes_out}'
            f"{_caller(record.caller)}{_reported(record.reported)}}}\n"
        )

    def _console(self, record: AccessRecord) -> str:
        who = ""
        if record.subject is not None:
            who = f" {_word(record.scheme)}:{_word(record.subject)}"
        target = f" -> {_word(record.upstream)}" if record.upstream is not None else ""
        code = f" {_word(record.code)}" if record.code is not None else ""
        if record.reported is not None:
            code += f" reported {_word(record.reported)}"
        detail = f" ({clean(record.detail)})" if record.detail else ""
        if record.caller is not None:
            detail = f" for {record.caller}{detail}"
        return (
            f"{self._clock.hours(record.started_at)} {record.status} {_word(record.method)} "
            f"{_word(record.host)}{clean_path(record.path)} {_word(record.decision)}{code}"
            f" [{_word(record.route)}]{who}{target} {record.duration_s * 1000:.1f}ms"
            f" {record.bytes_out}B {_word(record.request_id)}{detail}\n"
        )


def _caller(caller: str | None) -> str:
    """Return the member that says which proxy asked; nothing for requests of the gate's own."""
    return "" if caller is None else f',"caller":{_value(caller)}'


def _reported(code: str | None) -> str:
    """Return the member that says what report mode let through; nothing for all other requests."""
    return "" if code is None else f',"reported":{_value(code)}'


def asked_words(method: str, host: str, path: str) -> str:
    """Return what a JSON line says of a request line and its host."""
    return f'"method":{_value(method)},"host":{_value(host)},"path":{_path(path)},"status":'


def who_words(route: str, scheme: str | None, subject: str | None) -> str:
    """Return what a JSON line says of who was let through."""
    return (
        f',"decision":"forward","code":null,"detail":null,"route":{_value(route)},'
        f'"scheme":{_value(scheme)},"subject":{_value(subject)}'
    )


def client_words(address: str | None) -> str:
    """Return what a JSON line says of where somebody is."""
    return f',"client":{_value(address)}'


def server_words(upstream: str, server: str | None) -> str:
    """Return what a JSON line says of who has answered."""
    return f',"upstream":{_value(upstream)},"server":{_value(server)},"duration_ms":'


def _quoted(text: str) -> str:
    """Return a JSON string whose decoded form is harmless too."""
    return quoted(escape(clip(text, MAX_WORD)))


@lru_cache(maxsize=4096)  # most values of most lines were in the lines before
def _value(text: str | None) -> str:
    """Return a JSON string, or `null`."""
    return "null" if text is None else _quoted(text)


@lru_cache(maxsize=4096)  # as above
def _path(text: str) -> str:
    return quoted(clean_path(text))


def _word(text: str | None) -> str:
    return "-" if text is None else escape(clip(text, MAX_WORD))
